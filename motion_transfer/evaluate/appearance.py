"""How much of the reference's look came along with its motion, where only the motion was wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from motion_transfer.evaluate.checker import find_main_object, find_object
from motion_transfer.evaluate.colors import background_color, to_grid
from motion_transfer.evaluate.prompt import PromptContent, named_words, read_prompt
from motion_transfer.evaluate.retarget import Look

SAMPLED_FRAMES = 12
_THUMBNAIL_PX = 16
_BINS = (8, 6, 6)  # of lightness and the two color axes


@dataclass(frozen=True, kw_only=True)
class Unwanted:
    """What of a reference's look a render should not show, because its prompt names others of the kind.

    `colors` and `shapes` are of objects, `background` is a color; each empty where nothing is unwanted.
    """

    colors: frozenset[str] = frozenset()
    shapes: frozenset[str] = frozenset()
    background: str = ""

    def __bool__(self) -> bool:
        return bool(self.colors or self.shapes or self.background)


def unwanted(reference: Sequence[Look], background: str | None, prompt: str) -> Unwanted:
    """What a prompt does not ask for of a reference's look.

    Args:
        reference: shape or figure, and color, of the reference's objects; either may be empty.
        background: its background's color; None if not known.
        prompt: in the world's words.
    """
    asked, named = read_prompt(prompt), named_words(prompt)
    colors, shapes = ({look[i] for look in reference if look[i]} for i in (1, 0))
    return Unwanted(
        colors=frozenset(colors - named if asked.color else ()),
        shapes=frozenset(shapes - named if asked.shape else ()),
        background=background if background and asked.background_color not in (None, background) else "",
    )


def leakage(frames_THWC: np.ndarray, unwanted: Unwanted, prompt: PromptContent) -> float | None:
    """Share of frames in which the procedural world's checker finds the reference's look though others were asked.

    A frame leaks if it shows an object of one of the reference's colors, or the object that stands for the asked one
    in one of the reference's shapes, or the reference's background color. Shapes are voted over the whole clip, and
    now and then misread: a true render of other content, or the bare base, tells how often.

    Args:
        frames_THWC: the generated clip, uint8.
        unwanted: what counts.
        prompt: what the generated clip was asked to show.

    Returns:
        A share in 0..1, or None if the prompt names nothing that differs from the reference.

    Raises:
        BadSpec: for a color or shape the world doesn't know.
    """
    if not unwanted:
        return None
    leaks_T = np.zeros(len(frames_THWC), dtype=bool)
    for color in sorted(unwanted.colors):
        leaks_T |= find_object(frames_THWC, color).present_T
    if unwanted.shapes:
        seen = find_main_object(frames_THWC, color=prompt.color, shape=prompt.shape)
        leaks_T |= seen.present_T & (seen.shape in unwanted.shapes)
    if unwanted.background:
        pixels_THWC = to_grid(frames_THWC)
        leaks_T |= [background_color(pixels_THWC[t : t + 1]) == unwanted.background for t in range(len(pixels_THWC))]
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
