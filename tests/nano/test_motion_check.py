"""How the bare base moves, read from paths that are known."""

import numpy as np
import pytest

from motion_transfer.nano.motion_check import compare, moves_of, path_moves


def _circle(radius: float, turns: float, frames: int = 49) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi * turns, frames)
    return radius * np.stack([np.cos(angle), np.sin(angle)], 1)


def test_a_line_has_one_speed_and_no_curvature() -> None:
    path = np.stack([np.linspace(-0.24, 0.24, 49), np.zeros(49)], 1)
    speeds, curvatures, span = path_moves(path)
    assert speeds == pytest.approx(0.01 * 12) and span == pytest.approx(0.48)
    assert curvatures == pytest.approx(0.0, abs=1e-9) and len(curvatures) == 15


def test_a_circle_turns_by_one_over_its_radius() -> None:
    speeds, curvatures, span = path_moves(_circle(0.3, 0.5))
    assert curvatures == pytest.approx(1 / 0.3, rel=0.02)
    assert speeds == pytest.approx(np.pi * 0.3 / 4, rel=0.02) and span == pytest.approx(0.6)


def test_rest_and_absence_count_no_turns() -> None:
    still, unseen = np.zeros((49, 2)), np.full((49, 2), np.nan)
    assert len(path_moves(still)[1]) == 0 and path_moves(still)[2] == 0.0
    assert len(path_moves(unseen)[0]) == 0 and path_moves(unseen)[2] == 0.0
    world, base = [still, _circle(0.3, 1.0)], [still, still, _circle(0.15, 1.0)]
    figures = compare({"world": moves_of(world), "base": moves_of(base)})
    assert figures["resting"] == {"world": 0.5, "base": pytest.approx(2 / 3, abs=1e-3)}
    assert figures["curvatures to the world's"]["base"] == pytest.approx([2.0] * 3, rel=0.02)
    assert figures["speeds to the world's"]["base"][2] == pytest.approx(0.5, rel=0.02)
