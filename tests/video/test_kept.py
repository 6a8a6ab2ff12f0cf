"""Renders that are kept."""

from pathlib import Path

import numpy as np
import pytest

from motion_transfer.types import Clip
from motion_transfer.video.kept import kept


def test_a_render_is_made_once_and_kept_to_the_last_bit(tmp_path: Path) -> None:
    frames_THWC = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), dtype=np.uint8)
    made: list[int] = []

    def render() -> Clip:
        made.append(1)
        return Clip(frames_THWC=frames_THWC, fps=12.0)

    for _ in range(2):
        clip = kept(tmp_path / "new" / "0.npz", render)
        assert np.array_equal(clip.frames_THWC, frames_THWC) and clip.fps == 12.0
    assert len(made) == 1


def test_a_render_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> Clip:
        raise ValueError("no render")

    with pytest.raises(ValueError, match="no render"):
        kept(tmp_path / "0.npz", fail)
    assert not list(tmp_path.iterdir())
