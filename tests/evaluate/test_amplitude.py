"""Amplitudes of controls are read off true clips as they were drawn."""

from __future__ import annotations

import pytest

from motion_transfer.evaluate.amplitude import amplitudes
from motion_transfer.evaluate.linearity import Reading, linearity
from motion_transfer.types import Clip
from motion_transfer.video.synth.controls import CONTROLS, control_scene
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS

NAMES = ("a", "b")


def _read(name: str, strength: float, scene_name: str) -> dict[str, float | None]:
    scene = control_scene(CONTROLS[name], strength, scene_name)
    clip = Clip(frames_THWC=draw([scene], 64)[0].numpy(), fps=FPS)
    return amplitudes(clip, (scene.things[0].kind, scene.things[0].color))


@pytest.mark.parametrize("name", CONTROLS)
def test_true_clips_are_read_within_two_percent_of_the_range(name):
    control = CONTROLS[name]
    for scene_name in NAMES:
        for strength in (0.4, 1.0) if not control.reversible else (-1.0, 0.4):
            found = _read(name, strength, scene_name)[name]
            assert found is not None
            assert found / control.most == pytest.approx(strength, abs=0.04 if control.reversible else 0.02)


@pytest.mark.parametrize("name", CONTROLS)
def test_rest_is_read_as_rest(name):
    assert _read(name, 0.0, "a")[name] == pytest.approx(0.0, abs=0.005 * 2 * CONTROLS[name].most)


def _readings(curve, slopes=(1.0, 2.0)):
    stops = [i / 3 - 1 for i in range(7)]
    return [
        Reading(prompt=str(n), strength=s, amplitude=slope * curve(s)) for n, slope in enumerate(slopes) for s in stops
    ]


def test_a_line_is_linear_whatever_its_slope():
    found = linearity(_readings(lambda s: s))
    assert (found.r2, found.rank, found.slope) == pytest.approx((1.0, 1.0, 1.5))
    assert (found.nonlinearity, found.offset, found.worst) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    assert found.slope_spread == pytest.approx(1 / 3)


def test_a_bent_curve_and_one_beside_zero_are_not():
    bent, beside = linearity(_readings(lambda s: s**3)), linearity(_readings(lambda s: s + 0.2))
    assert bent.nonlinearity > 0.05 and bent.r2 < 0.95 and bent.rank == pytest.approx(1.0)
    assert beside.offset == pytest.approx(0.1) and beside.r2 == pytest.approx(1.0)
