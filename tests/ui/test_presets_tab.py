"""The Presets tab's functions: what ships and what is one's own, saved, used, taken in and deleted."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.lora.files import file_hash, save_lora
from motion_transfer.pipeline import Studio
from motion_transfer.presets import BadPreset, Preset, PresetLora, load_preset, save_preset
from motion_transfer.types import Lora, LowRank, RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place
from motion_transfer.ui.presets import delete_preset, import_preset, keep_order, look_at_preset, preset_choices
from motion_transfer.ui.render import MixOrder, in_places
from motion_transfer.ui.tab_learn import _LearnPage
from motion_transfer.ui.tab_presets import _PresetsPage


@pytest.fixture
def shipped(studio: Studio, tmp_path: Path) -> Path:
    folder = tmp_path / "shipped"
    spec = RenderSpec(prompt="a red star", seed=2, steps=9)
    save_preset(Preset.of(name="First", base=studio.spec.name, render=spec, description="Well"), folder / "first.json")
    (folder / "broken.json").write_text("{")
    return folder


def _order(**changes: Any) -> MixOrder:
    values: dict[str, Any] = {**in_places([]), "prompt": "a green star", "seed": 7, "knobs": {"steps": 4}}
    return MixOrder(**values | changes)


def test_what_was_set_comes_back(place: Place, studio: Studio, shipped: Path) -> None:
    key = keep_order(place, studio, _order(), "Mine", "Just so")
    choices = [("Mine", key), ("First (comes with the program)", "shipped/first")]
    assert preset_choices(place, studio.spec.name, shipped) == choices
    assert preset_choices(place, "other", shipped) == choices[:1]
    found = look_at_preset(place, studio, key, shipped)
    assert (found.order.prompt, found.order.seed, found.order.knobs["steps"]) == ("a green star", 7, 4)
    assert "Just so" in found.facts
    assert look_at_preset(place, studio, "shipped/first", shipped).order.knobs["steps"] == 9


def test_how_to_learn_comes_back_too(place: Place, studio: Studio, shipped: Path) -> None:
    tune = TuneSpec(rank=4, temporal_steps=77)
    found = look_at_preset(place, studio, keep_order(place, studio, _order(), "Mine", "", tune), shipped)
    assert found.tune == tune and "Rank: 4" in found.facts and "77" in found.facts and "Caption" not in found.facts
    assert look_at_preset(place, studio, "shipped/first", shipped).tune is None
    parts = {"rank": object(), "temporal_steps": object()}
    page = SimpleNamespace(settings=parts)
    assert _LearnPage.set_up(page, found.tune) == {parts["rank"]: 4, parts["temporal_steps"]: 77}  # type: ignore[arg-type]
    assert _LearnPage.set_up(page, None) == {parts["rank"]: gr.skip()}  # type: ignore[arg-type]


def test_equal_names_do_not_overwrite(place: Place, studio: Studio, shipped: Path) -> None:
    keys = [keep_order(place, studio, _order(seed=seed), "", "") for seed in (1, 2)]
    assert len(set(keys)) == 2
    assert {look_at_preset(place, studio, key, shipped).order.seed for key in keys} == {1, 2}


def test_one_page_s_file_is_another_s_preset(place: Place, studio: Studio, shipped: Path, tmp_path: Path) -> None:
    key = import_preset(place, shipped / "first.json")
    kept = place.workspace.library("").presets / f"{key}.json"
    assert load_preset(kept) == load_preset(shipped / "first.json")
    ticket, name = delete_preset(place, key, shipped)
    assert [key for _, key in preset_choices(place, studio.spec.name, shipped)] == ["shipped/first"]
    place.workspace.library("").restore(ticket)
    assert load_preset(kept) == load_preset(shipped / "first.json") and name == load_preset(kept).name
    with pytest.raises(BadPreset):
        import_preset(place, shipped / "broken.json")


@pytest.mark.parametrize("key", [None, "", "gone", "../first", "shipped/gone"])
def test_a_preset_that_is_not_there_is_said(place: Place, studio: Studio, shipped: Path, key: str | None) -> None:
    with pytest.raises(BadSpec, match="none is chosen"):
        look_at_preset(place, studio, key, shipped)


def test_what_ships_stays(place: Place, shipped: Path) -> None:
    with pytest.raises(BadSpec, match="comes with the program"):
        delete_preset(place, "shipped/first", shipped)
    assert (shipped / "first.json").is_file()


def test_a_missing_motion_is_fetched(
    place: Place, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a yes, from where the preset says it lies."""
    path = tmp_path / "wave.safetensors"
    layer = LowRank(down_RI=torch.ones(1, 4), up_OR=torch.ones(4, 1))
    save_lora(Lora(layers={"blocks.0.attn1.to_q": layer}, info={"name": "wave", "base": "tiny"}), path)
    lora = PresetLora(name="wave", sha256=file_hash(path), strength=1.0, hub=f"owner/wave@{'0' * 40}")
    preset = Preset.of(name="x", base=studio.spec.name, render=RenderSpec(prompt="x"), loras=[lora])
    save_preset(preset, tmp_path / "x.json")
    key = import_preset(place, tmp_path / "x.json")
    page = _PresetsPage(studio, lambda _: place, None, {})  # type: ignore[arg-type]
    assert page.look(None, key)[3].visible
    monkeypatch.setattr("motion_transfer.ui.tab_presets.tell", lambda _: None)
    monkeypatch.setattr("motion_transfer.hub.fetch", lambda *_, **__: path)
    facts, *_, fetch, delete = page.fetch(None, key, None)
    assert not fetch.visible and delete.interactive and words.en.MOTION_FOUND.partition("{")[0] in facts
    assert look_at_preset(place, studio, key).order.motions[0] == "wave"
