"""Presets come back as they were from files and links."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from motion_transfer.presets import (
    MAX_LORAS,
    Preset,
    PresetLora,
    load_preset,
    preset_from_link,
    preset_link,
    preset_to_text,
    save_preset,
)
from motion_transfer.types import RenderSpec, TuneSpec
from tests.presets.samples import KNOBS, SPACE, refusal


def test_what_goes_in_comes_out(typical: Preset) -> None:
    spec, tune = RenderSpec(prompt="a cat", guidance=7), TuneSpec(rank=4, decoupled=False)
    preset = Preset.of(name="cat", base="nano", render=spec, tune=tune)
    assert (preset.render_spec(), preset.tune_spec(), preset.loras) == (spec, tune, ())
    assert Preset.of(name="cat", base="nano", render=spec).tune_spec() is None
    assert [lora.strength for lora in typical.loras] == [0.8, -0.35, 1.0]


def test_a_file_holds_what_differs_and_comes_back(tmp_path: Path, typical: Preset) -> None:
    path = tmp_path / "deep" / "star.json"
    save_preset(typical, path)
    written = json.loads(path.read_text("utf-8"))
    assert written["render"].keys() == {"prompt", "negative_prompt", "seed", "steps"}
    assert written["tune"].keys() == {"caption", "rank", "temporal_steps", "head_rule"}
    assert (written["format"], written["loras"][0]["name"]) == (1, "dancing square")
    assert load_preset(path) == typical
    before = path.read_bytes()
    assert before.startswith(b'{\n  "format": 1,\n  "name"') and before.endswith(b"}\n")
    save_preset(load_preset(path), path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_thousand_presets_come_back_from_links_and_files(
    presets: list[Preset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a disk takes its time, a thousand times
    links = set()
    for number, preset in enumerate(presets):
        link = preset_link(preset, "http://127.0.0.1:7860/")
        links.add(link)
        back = preset_from_link(link)
        assert back == preset
        assert (back.render_spec(), back.tune_spec()) == (preset.render_spec(), preset.tune_spec())
        path = tmp_path / f"{number}.json"
        save_preset(preset, path)
        assert load_preset(path) == preset
    assert len(links) == len(presets)


def test_every_number_of_loras_and_every_choice_was_tried(presets: list[Preset]) -> None:
    assert {len(preset.loras) for preset in presets} == set(range(MAX_LORAS + 1))
    for spec, field in KNOBS:
        sides = [preset.render if spec is RenderSpec else preset.tune for preset in presets]
        tried = {getattr(side, field.name) for side in sides if side is not None}
        assert tried >= set(field.metadata["choices"] or ())
        assert len(tried) > 1 and {field.metadata["low"], field.metadata["high"]} - {None} <= tried


def test_the_largest_preset_fits_a_file_but_no_link(tmp_path: Path) -> None:
    texts = dict.fromkeys(("prompt", "negative_prompt"), "🤖" * 2000)
    preset = Preset.of(
        name="🤖" * 80,
        base="nano",
        render=RenderSpec(**texts),
        tune=TuneSpec(caption="🤖" * 2000),
        loras=[PresetLora(name="🤖" * 80, sha256=f"{i:064}", strength=i / 7) for i in range(MAX_LORAS)],
        description="\n" * 500,
        credits="🤖" * 200,
    )
    save_preset(preset, tmp_path / "large.json")
    assert load_preset(tmp_path / "large.json") == preset
    for make in (preset_to_text, lambda preset: preset_link(preset, SPACE)):
        # Emoji alone press well; letters of all kinds don't.
        noisy = dataclasses.replace(preset.render_spec(), prompt="".join(map(chr, range(0x4E00, 0x4E00 + 2000))))
        large = Preset.of(name="large", base="nano", render=noisy)
        refusal(lambda make=make, large=large: make(large), "2000", "as a file")
