"""The controls that ship: how they are drawn, what counts as stale, and how figures follow from rows."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from motion_transfer.lora.algebra import at_strength, delta, learned_strength, stack, uncalibrated
from motion_transfer.lora.files import save_lora
from motion_transfer.model.catalog import find_base, weights_hash
from motion_transfer.nano import usual_loras as usual
from motion_transfer.nano.control_check import AFTER, AMPLITUDE, BARE, BEFORE, LOADED, crosstalk, items, summary, table
from motion_transfer.nano.control_study import CLIPS, STEPS, by_prompt_leak, variants
from motion_transfer.nano.controls import (
    LEVELS,
    NUM_CLIPS,
    PREFIX,
    ROUND,
    SHIPPED,
    cases,
    control_stale,
    examples,
    levels,
    rising,
    spec_of,
    stale_controls,
    write_example,
)
from motion_transfer.nano.mix_check import CAMERAS, USUAL
from motion_transfer.nano.mix_check import items as mix_items
from motion_transfer.nano.mix_check import summary as mix_summary
from motion_transfer.nano.mix_check import table as mix_table
from motion_transfer.types import Lora, LowRank
from motion_transfer.video.io import read_clip
from motion_transfer.video.synth.controls import CONTROLS, control_scene

PAN = CONTROLS["pan"]


def _lora(info: dict) -> Lora:
    generator = torch.Generator().manual_seed(0)
    layer = LowRank(down_RI=torch.randn(2, 8, generator=generator), up_OR=torch.randn(8, 2, generator=generator))
    return Lora(layers={"blocks.0.attn1.to_q": layer}, info=info)


def _recipe(**changes) -> dict:
    return {
        "base_hash": weights_hash(find_base("nano").folder),
        "spec": asdict(spec_of(PAN)),
        "clips": NUM_CLIPS,
        "levels": LEVELS,
        "most": PAN.most,
        **changes,
    }


def test_strengths_reach_from_the_least_to_the_whole():
    assert levels(PAN, 5) == (-1.0, -0.5, 0.0, 0.5, 1.0)
    assert levels(CONTROLS["shake"], 3) == (0.0, 0.5, 1.0)


@pytest.mark.parametrize("name", CONTROLS)
def test_a_name_gives_one_content_at_every_strength(name):
    weak, strong = (control_scene(CONTROLS[name], s, "x") for s in (0.0, 1.0))
    assert weak.caption == strong.caption and weak.background == strong.background
    assert weak.things[0].color == strong.things[0].color and weak.things[0].path[0] == strong.things[0].path[0]
    assert len(set(weak.things[0].path)) == 1 and set(weak.camera.x) == {0.0} and set(weak.camera.roll) == {0.0}


def test_cases_differ_and_none_is_round():
    found = cases(PAN, 6, "check", seeds=2)
    assert len(found) == 12 and len({case.prompt for case in found}) == 6
    assert {case.look[0] for case in found}.isdisjoint(ROUND)
    assert cases(PAN, 6, "check", seeds=2)[:4] == found[:4] and found[0].prompt == found[1].prompt
    assert {case.prompt for case in cases(PAN, 6, "calibrate")}.isdisjoint(case.prompt for case in found)


def test_a_curve_never_falls():
    assert rising([(-1.0, -0.9), (0.0, 0.1), (0.5, 0.6), (0.75, 0.5), (1.0, 1.0)]) == [
        [-1.0, -0.9], [0.0, 0.1], [0.625, 0.55], [1.0, 1.0]]  # fmt: skip


def test_a_curve_leads_to_the_strength_that_shows_so_much():
    curve = [[-1.0, -0.8], [0.0, 0.1], [1.0, 1.0]]
    assert [learned_strength(curve, share) for share in (-0.8, 0.1, 0.55, 1.0)] == pytest.approx([-1, 0, 0.5, 1])
    assert learned_strength(curve, 1.9) > 1.5 and learned_strength(curve, -1.7) < -1.5


def test_a_control_follows_its_curve_once():
    lora = _lora({"curve": [[0.0, 0.0], [0.5, 0.25], [1.0, 1.0]]})
    half = at_strength(lora, 0.25)
    assert torch.allclose(delta(half.layers["blocks.0.attn1.to_q"]), 0.5 * delta(lora.layers["blocks.0.attn1.to_q"]))
    plain = at_strength(uncalibrated(lora), 0.25)
    assert torch.allclose(delta(plain.layers["blocks.0.attn1.to_q"]), 0.25 * delta(lora.layers["blocks.0.attn1.to_q"]))
    assert "curve" not in stack([(half, 1.0)]).info


def test_what_acts_always_is_not_scaled():
    lora = _lora({"always_rank": 1})
    rest = at_strength(lora, 0.0).layers["blocks.0.attn1.to_q"]
    assert torch.equal(rest.up_OR[:, 0], lora.layers["blocks.0.attn1.to_q"].up_OR[:, 0])
    assert not rest.up_OR[:, 1].any()


def test_a_control_counts_if_it_was_learned_as_now(tmp_path):
    path = tmp_path / f"{PREFIX}pan.safetensors"
    assert control_stale(path) == "there is none"
    for changes, why in (({}, ""), ({"base_hash": "0" * 64}, "another base"), ({"clips": 3}, "other settings"),
                         ({"most": 0.3}, "other settings"), ({"levels": 5}, "other settings"),
                         ({"spec": asdict(replace(spec_of(PAN), steps=3))}, "other settings")):  # fmt: skip
        save_lora(_lora(_recipe(**changes)), path)
        assert why in control_stale(path) and bool(why) == bool(control_stale(path))
    assert set(stale_controls(tmp_path)) == set(SHIPPED)


def _rows(curve=lambda s: s, leak=0.05) -> dict:
    """Rows of a pan that moves by `curve`, and tilts a little."""
    rows = {}
    for item in items(2):
        if item.control == "pan":
            pan = 0.0 if item.way == BARE else 0.8 * (item.strength if item.way == AFTER else curve(item.strength))
            rows[item.key] = {
                "way": item.way, "control": "pan", "strength": round(item.strength, 6), "prompt": str(item.number),
                "seed": item.seed, "text match": 0.5, "flicker": 2.0,
                "camera error": 3.0 if item.way == AFTER else None,
                **{AMPLITUDE + name: None for name in CONTROLS}, AMPLITUDE + "pan": pan, AMPLITUDE + "tilt": leak * pan,
            }  # fmt: skip
    return rows


def test_figures_follow_from_rows():
    found = summary(_rows(curve=lambda s: s**3))["pan"]
    assert found[AFTER]["r2"] == pytest.approx(1) and found[AFTER]["slope"] == pytest.approx(0.8)
    assert found[BEFORE]["r2"] < 0.95 and found[BEFORE]["nonlinearity"] > 0.05
    assert found["crosstalk"]["tilt"] == pytest.approx(0.05) and found["crosstalk"]["zoom"] is None
    assert found["text match to bare"] == [1.0] * 7 and found["camera error %"] == 3.0
    assert "| pan |" in table({"pan": found}) and "+0.050 (tilt)" in table({"pan": found})


def test_cross_talk_is_told_by_the_range() -> None:
    rows = [row for row in _rows(leak=-0.1).values() if row["way"] == LOADED]
    assert {row["strength"] for row in rows} == {-1.0, 0.0, 1.0}
    for row in rows:
        row[AMPLITUDE + "shake"] = 0.2 + 0.16 * abs(row["strength"])  # the same at both ends
    found = crosstalk(rows, "pan")
    assert found["tilt"] == pytest.approx(-0.1) and found["shake"] == pytest.approx(0.1) and "speed" not in found


def test_curves_go_on_as_steeply_as_they_are() -> None:
    flat_ends = [[-1.0, -1.0], [-0.9, -0.99], [0.9, 0.99], [1.0, 1.0]]
    assert learned_strength(flat_ends, 2.0) == pytest.approx(2.0)
    assert learned_strength(flat_ends, -1.5) == pytest.approx(-1.5)
    floor = [[0.0, 0.2], [0.125, 0.23], [1.0, 1.0]]
    assert learned_strength(floor, 0.0) == 0.0 and learned_strength(floor, 0.2) == 0.0


def test_every_variant_of_the_study_can_be_learned() -> None:
    found = list(variants())
    assert len({(one.control, one.name) for one in found}) == len(found)
    assert {one.clips for one in found} == {8, 16, 32, CLIPS} and all(one.spec.blocks for one in found)
    ours = [one for one in found if one.name == "ours"]
    assert all(one.spec == replace(spec_of(CONTROLS[one.control]), steps=STEPS) for one in ours)


def _mixed_rows(off: float) -> dict:
    """Rows of cameras that go as far as asked, but for `off` of their range in ours and twice that in usual mixes."""
    rows = {}
    for item in mix_items(8):
        several = sum(map(bool, item.strengths)) > 1
        away = 2 * off * (2 if item.way == USUAL else 1) * several
        shown = {name: (s + away if s else 0.0) for name, s in zip(CAMERAS, item.strengths, strict=True)}
        rows[item.key] = {"way": item.way, "content": item.number, "text match": 0.5, "flicker": 1.0, **shown,
                          **{f"set {name}": s for name, s in zip(CAMERAS, item.strengths, strict=True)}}  # fmt: skip
    return rows


def test_what_a_mix_adds_is_told_beside_each_camera_alone() -> None:
    found = mix_summary(_mixed_rows(0.1))
    assert found["sum"]["pairs"]["error"] == pytest.approx(0.1) and found[USUAL]["triples"]["error"] == pytest.approx(
        0.2
    )
    assert found["orthogonal"]["triples"]["beside usual"] == pytest.approx(-0.1)
    assert found[USUAL]["pairs"]["beside usual"] is None
    assert "| sum | 10.0 | -10.0 (-10.0 to -10.0) |" in mix_table(found)


def test_unreadable_renders_of_a_mix_are_left_out() -> None:
    rows = _mixed_rows(0.1)
    for key, row in rows.items():
        if row["content"] == 1 and sum(bool(row[f"set {name}"]) for name in CAMERAS) == 2:
            rows[key] = {**row, **dict.fromkeys(CAMERAS)}
    found = mix_summary(rows)
    assert found["sum"]["pairs"]["error"] == pytest.approx(0.1) and found["sum"]["read"] < 1


def test_every_control_has_an_example_that_moves(tmp_path) -> None:
    for name in SHIPPED:
        write_example(CONTROLS[name], tmp_path / "example.mp4")
        clip = read_clip(tmp_path / "example.mp4")
        assert clip.num_frames == 49 and clip.frames_THWC[0].shape == (256, 256, 3)
        assert np.abs(clip.frames_THWC[0].astype(int) - clip.frames_THWC[-1]).mean() > 2


def test_usual_loras_are_learned_once_by_today_s_code(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(usual, "spec_of", lambda control: replace(spec_of(control), steps=1, batch=1))
    monkeypatch.setattr(usual, "examples", lambda base, control, **options: examples(base, control, 1, **options))
    first = usual.usual_loras(["pan"], tmp_path, num_processes=1)["pan"]
    assert first.info["arm"] == "vanilla" and set(first.layers)
    monkeypatch.setattr(usual, "learn_control", None)  # is not asked again
    again = usual.usual_loras(["pan"], tmp_path, num_processes=1)["pan"]
    assert all(torch.equal(layer.up_OR, again.layers[path].up_OR) for path, layer in first.layers.items())
    monkeypatch.setattr(usual, "usual_stamp", lambda: "other code")
    with pytest.raises(TypeError):
        usual.usual_loras(["pan"], tmp_path, num_processes=1)


def test_what_leaks_into_other_cameras_is_taken_from_end_to_end() -> None:
    rows = [{"prompt": prompt, "strength": s, "own": 0.8 * s, "pan": 0.8 * s, "tilt": 0.04 * s, "zoom": -0.08 * s,
             "roll": None, "speed": 0.3, "shake": 0.1} for prompt in ("a", "b") for s in (-1.0, 0.0, 1.0)]  # fmt: skip
    assert by_prompt_leak(rows, "pan") == pytest.approx({"a": 0.075, "b": 0.075})
