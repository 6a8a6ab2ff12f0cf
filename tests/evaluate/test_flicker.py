from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from motion_transfer.evaluate.flicker import flicker, temporal_consistency
from motion_transfer.types import Clip
from tests.evaluate.worlds import as_clip, frames_of, scene_of

KINDS = ("camera", "single", "articulated")


@cache
def _frames(kind: str) -> np.ndarray:
    return frames_of(scene_of("test-flicker", kind=kind))[:12]


def _shaken(frames_THWC: np.ndarray, std: float, *, whole_frames: bool) -> Clip:
    """Frame-independent noise of pixels, or of the brightness of whole frames."""
    shape = (len(frames_THWC), 1, 1, 1) if whole_frames else frames_THWC.shape
    noise = np.random.default_rng(0).normal(0, std, shape)
    return as_clip(np.clip(frames_THWC + noise, 0, 255).round().astype(np.uint8))


def test_a_still_clip_does_not_flicker():
    frozen = as_clip(np.repeat(_frames("single")[:1], 5, 0))
    assert flicker(frozen) == 0 and temporal_consistency(frozen) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_true_renders_hardly_flicker(kind):
    clip = as_clip(_frames(kind))
    assert flicker(clip) < 0.1 and temporal_consistency(clip) > 0.9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whole_frames", [False, True])
def test_flicker_rises_with_noise(kind, whole_frames):
    levels = [flicker(_shaken(_frames(kind), std, whole_frames=whole_frames)) for std in (0, 2, 5, 10)]
    assert np.all(np.diff(levels) > 1)
    assert levels[2] == pytest.approx(5, rel=0.5)


def test_noise_and_disorder_are_less_consistent():
    frames_THWC = np.concatenate([_frames("single")[:6], _frames("articulated")[:6]])
    mixed_THWC = frames_THWC[[0, 6, 1, 7, 2, 8, 3, 9]]
    assert temporal_consistency(as_clip(mixed_THWC)) < 0.8 < temporal_consistency(as_clip(frames_THWC))
    noisy = _shaken(_frames("single"), 20, whole_frames=False)
    assert temporal_consistency(noisy) < temporal_consistency(as_clip(_frames("single"))) - 0.05


def test_a_single_frame_has_neither():
    clip = as_clip(_frames("single")[:1])
    assert flicker(clip) is None and temporal_consistency(clip) is None
