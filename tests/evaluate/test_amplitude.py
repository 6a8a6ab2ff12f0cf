"""Amplitudes of controls are read off true clips as they were drawn."""

from __future__ import annotations

from dataclasses import replace

import pytest

from motion_transfer.evaluate.amplitude import amplitudes
from motion_transfer.evaluate.linearity import Reading, linearity
from motion_transfer.types import Clip
from motion_transfer.video.synth.controls import CONTROLS, control_scene
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import COLORS
from motion_transfer.video.synth.scene import FPS


def _drawn(name: str, strength: float, scene_name: str) -> tuple[Clip, tuple[str, str]]:
    scene = control_scene(CONTROLS[name], strength, scene_name)
    thing = scene.things[0]
    return Clip(frames_THWC=draw([scene], 64)[0].numpy(), fps=FPS), (thing.kind, thing.color)


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("strength", [-1.0, 0.4, 1.0])
def test_things_tell_true_motion_within_two_percent_of_the_range(name, strength):
    control = CONTROLS[name]
    if strength < control.lowest:
        return
    clip, look = _drawn(name, strength, "a")
    found = amplitudes(clip, look)
    assert found[name] / control.most == pytest.approx(strength, abs=0.02 * (1 - control.lowest))
    if name not in ("shake", "speed"):
        others = {other: found[other] / CONTROLS[other].most for other in ("pan", "tilt", "zoom", "roll")}
        assert all(abs(value) < 0.04 for other, value in others.items() if other != name)


@pytest.mark.parametrize("name", ["pan", "tilt", "zoom", "roll", "shake"])
def test_textured_backgrounds_tell_it_too(name):
    for strength in (0.4, 1.0):
        scene = control_scene(CONTROLS[name], strength, "a")
        scene = replace(scene, background=replace(scene.background, pattern="dotted"))
        found = amplitudes(Clip(frames_THWC=draw([scene], 64)[0].numpy(), fps=FPS))[name]
        assert found / CONTROLS[name].most == pytest.approx(strength, abs=0.02)


@pytest.mark.parametrize("name", CONTROLS)
def test_rest_is_read_as_rest(name):
    assert amplitudes(*_drawn(name, 0.0, "a"))[name] == pytest.approx(0.0, abs=0.01 * CONTROLS[name].most)


def test_what_is_not_there_is_not_read():
    clip, (shape, color) = _drawn("pan", 1.0, "a")
    other = next(one for one in COLORS if one not in (color, control_scene(CONTROLS["pan"], 1.0, "a").background.color))
    assert set(amplitudes(clip, (shape, other)).values()) == {None}


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
