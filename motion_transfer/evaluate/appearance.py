"""How much of the reference's look came along with its motion, where only the motion was wanted."""

from __future__ import annotations

import cv2
import numpy as np

from motion_transfer.evaluate.checker import find_object
from motion_transfer.evaluate.colors import background_color, to_grid
from motion_transfer.evaluate.prompt import PromptContent

SAMPLED_FRAMES = 12
_THUMBNAIL_PX = 16
_BINS = (8, 6, 6)  # of lightness and the two color axes


def _differs(asked: str | None, reference: str | None) -> bool:
    return asked is not None and reference is not None and asked != reference


def leakage(
    frames_THWC: np.ndarray,
    *,
    reference_color: str | None,
    reference_shape: str | None,
    reference_background: str | None,
    prompt: PromptContent,
) -> float | None:
    """Share of frames in which the procedural world's checker finds the reference's look though others were asked.

    A frame leaks if it shows the reference's object (its color and its shape together) while the prompt names
    another color or shape, or the reference's background color while the prompt names another. The shape is
    voted over the whole clip; a leak of the shape alone or the color alone shows in the checker's verdict.

    Args:
        frames_THWC: the generated clip, uint8.
        reference_color: the color of the reference's object, with `reference_shape`; None if not known.
        reference_shape: its shape or figure.
        reference_background: the reference's background color; None if not known.
        prompt: what the generated clip was asked to show.

    Returns:
        A share in 0..1, or None if the prompt names nothing that differs from the reference.

    Raises:
        BadSpec: for a color or shape the world doesn't know.
    """
    other_object = _differs(prompt.color, reference_color) or _differs(prompt.shape, reference_shape)
    other_background = _differs(prompt.background_color, reference_background)
    leaks_T = np.zeros(len(frames_THWC), dtype=bool)
    if other_object and reference_color and reference_shape:
        sighting = find_object(frames_THWC, reference_color, reference_shape)
        leaks_T |= sighting.present_T & (sighting.shape == reference_shape)
    elif not other_background:
        return None
    if other_background:
        pixels_THWC = to_grid(frames_THWC)
        leaks_T |= [background_color(pixels_THWC[t : t + 1]) == reference_background for t in range(len(pixels_THWC))]
    return float(leaks_T.mean())


def _histogram(lab_HWC: np.ndarray) -> np.ndarray:
    counts = cv2.calcHist([lab_HWC], [0, 1, 2], None, list(_BINS), [0, 256] * 3).ravel()
    return counts / counts.sum()


def _structure(lab_HWC: np.ndarray) -> np.ndarray:
    """The thumbnail's deviations from its mean color, of unit length; zero for a picture of one color."""
    small = cv2.resize(lab_HWC, (_THUMBNAIL_PX, _THUMBNAIL_PX), interpolation=cv2.INTER_AREA).astype(np.float32)
    small -= small.mean((0, 1))
    length = float(np.linalg.norm(small))
    return small / length if length > 1.0 else np.zeros_like(small)


def _looks(frames_THWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = frames_THWC[np.linspace(0, len(frames_THWC) - 1, SAMPLED_FRAMES).round().astype(int)]
    labs = [cv2.cvtColor(cv2.GaussianBlur(frame, (0, 0), 0.8), cv2.COLOR_RGB2LAB) for frame in chosen]
    return np.stack([_histogram(lab) for lab in labs]), np.stack([_structure(lab) for lab in labs])


def reference_similarity(reference_THWC: np.ndarray, generated_THWC: np.ndarray) -> float:
    """How much two clips look alike, 0..1: a plain picture comparison, not a learned perceptual one.

    The mean of two figures over frames at equal shares of the clips: the overlap of their color histograms in
    CIELAB, and the correlation (0 if negative) of thumbnails without their mean color. It can't tell what is
    shown: another object on the same backdrop scores high, the same object in another color low. It stands
    where the papers use CLIP-I or LPIPS, and its figures can't be compared with theirs.
    """
    (colors_a, structure_a), (colors_b, structure_b) = _looks(reference_THWC), _looks(generated_THWC)
    color = np.minimum(colors_a, colors_b).sum(1)
    flat = [~structure.any((1, 2, 3)) for structure in (structure_a, structure_b)]
    structure = np.where(flat[0] & flat[1], 1.0, (structure_a * structure_b).sum((1, 2, 3)).clip(0, 1))
    return float((color.mean() + structure.mean()) / 2)
