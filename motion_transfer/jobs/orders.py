"""What a job is asked to do, as values that JSON holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from motion_transfer.errors import BadSpec
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.video.strip import ALL, WHOLE, Crop

Order = TypeVar("Order")
TUNE, RENDER = "tune", "render"
CLIP_FOLDER = "clip"  # of a job's clip, in the job's folder


@dataclass(frozen=True, kw_only=True)
class TuneOrder:
    """Learn the motion of a clip.

    `name` is what its maker calls the motion; `clip` is a file in the job's folder, and `source` what it was called
    before; `start_s` and `end_s` say which span of it, `crop` which part of the picture, and `movement` whose motion;
    an empty `preview_prompt` previews the caption; `base` is the one it was ordered for, if that is said; `expected` is
    what its maker was told that it takes.
    """

    name: str
    clip: str
    source: str
    spec: TuneSpec
    start_s: float = 0.0
    end_s: float | None = None
    preview_prompt: str = ""
    crop: Crop = WHOLE
    movement: str = ALL
    base: str = ""
    expected: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RenderOrder:
    """Render a prompt with some motions of the library, by key, each with its strength; none is the bare base.

    `sha256s` are of the motions' files, where they are said: a key may come to mean another file.
    `base` is the one it was ordered for, if that is said; `expected` is what its maker was told that it takes. Renders
    that were ordered together have the same `group`, the key of the first one's job.
    """

    spec: RenderSpec
    motions: tuple[tuple[str, float], ...] = ()
    sha256s: tuple[str, ...] = ()
    base: str = ""
    expected: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


SPEC_OF = {TuneOrder: TuneSpec, RenderOrder: RenderSpec}


def to_json(order: TuneOrder | RenderOrder) -> dict[str, Any]:
    """The order as JSON holds it."""
    return asdict(order)


def from_json(order_class: type[Order], values: Mapping[str, Any]) -> Order:
    """The order that `to_json` wrote.

    Raises:
        BadSpec: it is not such an order, or a setting is out of range.
    """
    spec_class = SPEC_OF[order_class]  # type: ignore[index]
    known = {field.name for field in dataclasses.fields(order_class)}  # type: ignore[arg-type]
    settings = values.get("spec")
    if not isinstance(settings, Mapping) or set(values) - known:
        raise BadSpec(f"an order of {', '.join(sorted(known))} is expected, but has {', '.join(map(str, values))}; "
                      "order it anew.")  # fmt: skip
    try:
        rest = {name: value for name, value in values.items() if name != "spec"}
        if "motions" in rest:
            rest["motions"] = tuple((str(key), float(strength)) for key, strength in rest["motions"])
        if "sha256s" in rest:
            rest["sha256s"] = tuple(str(sha256) for sha256 in rest["sha256s"])
        if "crop" in rest:
            rest["crop"] = Crop(**rest["crop"])
        return order_class(**rest, spec=spec_class(**settings))
    except (TypeError, ValueError) as error:
        raise BadSpec(f"an order of this version is expected, but it does not fit ({error}); order it anew.") from error
