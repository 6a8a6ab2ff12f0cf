"""Sliders of learned motions: how figures follow from rows, and what is measured on true clips."""

from __future__ import annotations

from dataclasses import replace

import pytest

from motion_transfer.evaluate.motionbench import SIZE_PX
from motion_transfer.slider_check import (
    AMPLITUDE,
    FIDELITY,
    LEARNS,
    PLAIN,
    SCALED,
    SLOWER,
    STRENGTHS,
    slider_cases,
    speed_over_true,
    summary,
    table,
)
from motion_transfer.types import Clip
from motion_transfer.video.frames import slowed
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS


def _rows() -> dict:
    """A plain LoRA whose strength is bent, and one that is even; of one clip in twelve nothing can be read."""
    rows = {}
    for way, shown, fidelity in ((PLAIN, lambda s: 0.5 + 0.5 * s**2, 0.5), (SLOWER, lambda s: 0.02 + 0.9 * s, 0.6)):
        for clip in range(12):
            for place, strength in enumerate(STRENGTHS):
                row = {"way": way, "clip": str(clip), "prompt": "x", "strength": strength,
                       AMPLITUDE: shown(strength) if clip else None}  # fmt: skip
                if strength == 1.0:
                    row[FIDELITY] = fidelity + 0.01 * clip
                rows[f"{way} {clip} {place}"] = row
    return rows


def test_figures_follow_from_rows() -> None:
    found = summary(_rows())
    assert found[SLOWER]["r2"] == pytest.approx(1) and found[PLAIN]["offset"] > 0.1
    assert found[SLOWER]["shown"][4] == pytest.approx(0.92) and found[SLOWER]["read"] == pytest.approx(
        11 / 12, abs=1e-3
    )
    assert found[SLOWER]["beside the plain LoRA"] == pytest.approx(0.1) and found[PLAIN]["interval"] is None
    assert "+0.100 (+0.100 to +0.100)" in table(found)


@pytest.mark.parametrize("number", [3, 4])
def test_slowed_clips_are_read_as_slow(number: int) -> None:
    case = slider_cases()[number]
    target = case.targets[0]
    true = Clip(frames_THWC=draw([target.scene(case)], SIZE_PX)[0].numpy(), fps=FPS)
    assert speed_over_true(true, case, target) == pytest.approx(1)
    assert speed_over_true(slowed(true, 0.0), case, target) == 0
    assert 0.2 < (speed_over_true(slowed(true, 0.5), case, target) or 0) < 0.8
    blank = replace(true, frames_THWC=true.frames_THWC * 0)
    assert speed_over_true(blank, case, target) is None


def test_clips_are_twelve_and_ways_differ() -> None:
    cases = slider_cases()
    assert len(cases) == 12 and len({case.name for case in cases}) == 12
    assert len({str(spec) for spec in LEARNS.values()}) == len(LEARNS)
    assert LEARNS[SLOWER].temporal_steps <= 1.3 * LEARNS[SCALED].temporal_steps
