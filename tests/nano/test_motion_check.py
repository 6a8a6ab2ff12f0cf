"""How the bare base moves, read from paths that are known."""

import numpy as np
import pytest

from motion_transfer.nano.motion_check import Seen, compare, compare_flicker, moves_of, path_moves


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


def test_rest_counts_no_turns() -> None:
    still = np.zeros((49, 2))
    assert len(path_moves(still)[1]) == 0 and path_moves(still)[2] == 0.0
    world, base = [still, _circle(0.3, 1.0)], [still, still, _circle(0.15, 1.0)]
    figures = compare({"world": moves_of(world), "base": moves_of(base)})
    assert figures["resting"] == {"world": 0.5, "base": pytest.approx(2 / 3, abs=1e-3)}
    assert figures["curvatures to the world's"]["base"] == pytest.approx([2.0] * 3, rel=0.02)
    assert figures["speeds to the world's"]["base"][2] == pytest.approx(0.5, rel=0.02)


def _seen(path_T2: np.ndarray, flicker: float | None, *, hidden: int = 0) -> Seen:
    path_T2 = path_T2.copy()
    path_T2[:hidden] = np.nan
    return Seen(path_T2=path_T2, flicker=flicker)


def test_what_is_hardly_seen_neither_rests_nor_moves() -> None:
    still = np.zeros((49, 2))
    assert _seen(still, 1.0, hidden=10).is_static
    assert not _seen(still, 1.0, hidden=49).is_seen and not _seen(still, 1.0, hidden=40).is_static


def test_flicker_is_set_beside_the_worlds() -> None:
    still, circle = np.zeros((49, 2)), _circle(0.3, 1.0)
    world = [_seen(still, 1.0), _seen(circle, 3.0), _seen(still, None)]
    base = [_seen(still, 1.5), _seen(circle, 3.5), _seen(still, 9.0, hidden=49)]
    found = compare_flicker({"world": world, "base": base})
    assert found["static clips"]["clips"] == {"world": 1, "base": 1}
    assert found["static clips"]["to the world's"] == {"base": 1.5}
    assert found["all clips"]["mean"] == {"world": 2.0, "base": pytest.approx(14 / 3, abs=1e-3)}
    assert compare_flicker({"world": [_seen(still, None)], "base": base})["all clips"]["to the world's"]["base"] is None
