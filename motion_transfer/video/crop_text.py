"""A crop as people and programs write it: `zoom,left,top`."""

from __future__ import annotations

from motion_transfer.errors import BadSpec
from motion_transfer.video.strip import WHOLE, Crop


def crop_from(text: str) -> Crop:
    """The crop that three numbers with commas ask for; the whole picture for an empty text.

    Raises:
        BadSpec: they are not three numbers.
    """
    if not text:
        return WHOLE
    try:
        zoom, x, y = map(float, text.split(","))
    except ValueError:
        raise BadSpec(f"a crop is three numbers such as 2,0.5,0.5, but is {text!r:.40}; write it so.") from None
    return Crop(zoom=zoom, x=x, y=y)
