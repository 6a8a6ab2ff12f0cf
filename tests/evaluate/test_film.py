"""Clips that look filmed, and the folder that holds them."""

from pathlib import Path

import numpy as np
import pytest

from motion_transfer.evaluate.clip_folder import folder_cases
from motion_transfer.evaluate.film import FILMED, MARGIN_PX, REAL, film_like, main
from motion_transfer.evaluate.prompt import named_words
from motion_transfer.types import Clip
from motion_transfer.video.synth.palette import COLORS


@pytest.fixture(scope="module")
def still() -> Clip:
    frames = np.full((12, 120, 160, 3), 40, dtype=np.uint8)
    frames[:, 50:70, 70:90] = (200, 180, 60)
    return Clip(frames_THWC=frames, fps=12.0, caption="a square")


def _center(frame_HWC: np.ndarray) -> np.ndarray:
    return np.argwhere(frame_HWC[..., 0] > 120).mean(0)


def test_film_shakes_grains_and_flickers(still: Clip) -> None:
    filmed = film_like(still, 0)
    assert filmed.frames_THWC.shape == (12, 120 - 2 * MARGIN_PX, 160 - 2 * MARGIN_PX, 3)
    assert filmed.caption == "a square" and filmed.fps == 12.0
    centers = np.array([_center(frame) for frame in filmed.frames_THWC])
    steps = np.hypot(*np.diff(centers, axis=0).T)
    assert 0.5 < steps.max() < MARGIN_PX and np.abs(centers - (40, 60)).max() <= MARGIN_PX
    corner = filmed.frames_THWC[:, :20, :20].astype(float)
    assert corner.std((1, 2)).mean() > 2 and corner.mean((1, 2, 3)).std() > 0.3


def test_film_follows_from_its_seed(still: Clip) -> None:
    assert np.array_equal(film_like(still, 3).frames_THWC, film_like(still, 3).frames_THWC)
    assert not np.array_equal(film_like(still, 3).frames_THWC, film_like(still, 4).frames_THWC)


def test_the_folder_is_a_bench(tmp_path: Path) -> None:
    main([str(tmp_path / "film")])
    cases = folder_cases(tmp_path / "film")
    assert len(cases) == len(FILMED) + len(REAL)
    assert cases[0].caption and cases[-1].caption == ""
    for case in cases[: len(FILMED)]:
        for prompt in case.prompts:
            assert not named_words(case.caption) & named_words(prompt) & set(COLORS), (case.caption, prompt)
    assert cases[0].reference().num_frames == 49 and cases[-1].reference().num_frames > 49
