"""Pictures inside a page's own text, for small ones that need no file."""

from __future__ import annotations

from base64 import b64encode

import cv2
import numpy as np


def data_address(picture_HWC: np.ndarray) -> str:
    """A picture `(H, W, 3)` uint8 RGB as a `data:` address of a PNG."""
    encoded, png = cv2.imencode(".png", cv2.cvtColor(picture_HWC, cv2.COLOR_RGB2BGR))
    assert encoded
    return f"data:image/png;base64,{b64encode(png.tobytes()).decode()}"
