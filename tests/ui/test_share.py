"""Share links on the page: what is set becomes a link, and a link says what it asks for before anything changes."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motion_transfer.errors import BadClip, BadLora, BadSpec
from motion_transfer.lora.files import file_hash, save_lora
from motion_transfer.pipeline import Studio
from motion_transfer.presets import BadPreset, Preset, PresetLora, preset_from_link, preset_to_text
from motion_transfer.recipes import UsedLora, recipe_of
from motion_transfer.types import Lora, LowRank, RenderSpec
from motion_transfer.ui.desk import Place
from motion_transfer.ui.render import RANDOM_SEED, MixOrder, in_places, order_rendering
from motion_transfer.ui.share import fetch_missing, page_address, preset_of_order, receive, restore, share
from motion_transfer.video.io import write_clip
from motion_transfer.workspace import Workspace
from tests.presets.samples import mutated

ADDRESS = "http://127.0.0.1:7860/"
KNOBS = {"steps": 7, "guidance": 3.5}


def _lora(name: str = "wave") -> Lora:
    layer = LowRank(down_RI=torch.ones(1, 4), up_OR=torch.ones(4, 1))
    return Lora(layers={"blocks.0.attn1.to_q": layer}, info={"name": name, "base": "tiny"})


@pytest.fixture
def motion(place: Place, tmp_path: Path) -> str:
    save_lora(_lora(), tmp_path / "file.safetensors")
    return place.workspace.library(place.owner).import_motion(tmp_path / "file.safetensors", "file").key


def _order(motion: str = "", **changes: Any) -> MixOrder:
    places = in_places([(motion, 0.75)])
    values: dict[str, Any] = {**places, "prompt": "a <b>green</b> star", "seed": 5, "knobs": KNOBS}
    return MixOrder(**values | changes)


def _text(link: str) -> str:
    return link.split("preset=")[1]


def test_what_is_shared_arrives(place: Place, studio: Studio, motion: str) -> None:
    """With the same file in another library the order is the same; a name and a key are nobody else's business."""
    shared = share(place, studio, _order(motion), ADDRESS)
    assert shared.link.startswith(f"{ADDRESS}?preset=") and "<svg" in shared.code and len(shared.link) < 2000
    received = receive(place, studio, _text(shared.link))
    assert (received.order.motions[0], received.order.strengths[0]) == (motion, 0.75)
    assert (received.order.prompt, received.order.seed) == ("a <b>green</b> star", 5)
    assert {name: received.order.knobs[name] for name in KNOBS} == KNOBS
    assert "&lt;b&gt;green" in received.facts and "<b>" not in received.facts and "in your library" in received.facts


def test_a_missing_motion_is_named_with_how_to_get_it(
    place: Place, studio: Studio, motion: str, tmp_path: Path
) -> None:
    text = _text(share(place, studio, _order(motion), ADDRESS).link)
    other = Place(workspace=Workspace(tmp_path / "other"), owner="")
    received = receive(other, studio, text)
    sha256 = preset_from_link(text).loras[0].sha256
    assert received.order.motions[0] is None and "wave" in received.facts and sha256[:12] in received.facts
    with pytest.raises(BadSpec, match="motion"):
        order_rendering(other, received.order)
    assert "ask who shared" in received.facts
    published = PresetLora(name="wave", sha256=sha256, strength=1.0, hub=f"owner/wave@{'0' * 40}")
    preset = Preset.of(name="x", base=studio.spec.name, render=RenderSpec(prompt="x"), loras=[published])
    assert "owner/wave@" in receive(other, studio, preset_to_text(preset)).facts
    file = place.workspace.library("").motion(motion).path
    other.workspace.library("").import_motion(file, "whatever.safetensors")
    assert receive(other, studio, text).order.motions[0] == "wave"


def test_the_bare_base_can_be_shared(place: Place, studio: Studio) -> None:
    received = receive(place, studio, _text(share(place, studio, _order(), ADDRESS).link))
    assert set(received.order.motions) == {""} and "bare base" in received.facts


def test_the_strengths_of_preset_and_motion_multiply(place: Place, studio: Studio, motion: str) -> None:
    file = place.workspace.library("").motion(motion).path
    lora = PresetLora(name="wave", sha256=file_hash(file), strength=0.5)
    spec = RenderSpec(prompt="x", strength=0.5)
    preset = Preset.of(name="x", base=studio.spec.name, render=spec, loras=[lora])
    assert receive(place, studio, preset_to_text(preset)).order.strengths[0] == 0.25


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"prompt": " "}, "prompt"), ({"prompt": "x\ny"}, "one prompt"), ({"seed": RANDOM_SEED}, "seed")],
)
def test_what_cannot_be_shared_is_said(place: Place, studio: Studio, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(BadSpec, match=word):
        share(place, studio, _order(**changes), ADDRESS)


def test_links_that_do_not_fit_this_page_are_refused(place: Place, studio: Studio) -> None:
    preset = Preset.of(name="x", base="elsewhere", render=RenderSpec(prompt="x"))
    with pytest.raises(BadPreset, match="elsewhere"):
        receive(place, studio, preset_to_text(preset))
    with pytest.raises(BadPreset):
        receive(place, studio, "AcrG6gB")


def test_the_address_is_the_one_that_others_can_open(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"referer": "https://example.org/app/?preset=old#x", "host": "127.0.0.1:7860"}
    assert page_address(seen) == "https://example.org/app/"
    assert page_address({"host": "127.0.0.1:7860"}) == "http://127.0.0.1:7860/"
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert page_address(seen) == "https://huggingface.co/spaces/owner/name"


def test_a_file_is_taken_in_once_and_unchanged(place: Place, motion: str, tmp_path: Path) -> None:
    library, path = place.workspace.library(""), tmp_path / "file.safetensors"
    kept = library.motion(motion)
    assert file_hash(kept.path) == file_hash(path) == library.sha256(kept)
    assert library.import_motion(path, "again.safetensors").key == motion and len(library.motions()) == 1
    save_lora(_lora("other"), path)
    assert library.import_motion(path, "again.safetensors").key == "other" and len(library.motions()) == 2
    path.write_bytes(b"no lora")
    with pytest.raises(BadLora):
        library.import_motion(path, "broken.safetensors")
    assert len(list(library.loras.iterdir())) == 2


def test_a_render_gives_its_settings_back(place: Place, studio: Studio, motion: str, tmp_path: Path) -> None:
    sha256 = place.workspace.library("").sha256(place.workspace.library("").motion(motion))
    spec, clip = RenderSpec(prompt="a star", seed=9, steps=3, strength=0.5), studio.render(None, RenderSpec(steps=1))
    path = tmp_path / "render.mp4"
    used = [UsedLora(name="wave", sha256=sha256, strength=1.0)]
    write_clip(clip, path, comment=json.dumps(recipe_of(studio, spec, used, clip).as_values()))
    order, note = restore(place, studio, path)
    assert (order.motions[0], order.prompt, order.seed) == (motion, "a star", 9)
    assert (order.knobs["steps"], order.strengths[0]) == (3, 0.5) and "wave" not in note
    order, note = restore(Place(workspace=Workspace(tmp_path / "other"), owner=""), studio, path)
    assert order.motions[0] is None and "wave" in note
    write_clip(clip, path, comment=json.dumps(recipe_of(studio, spec, used * 5, clip).as_values()))
    with pytest.raises(BadPreset, match="5 are mixed"):
        restore(place, studio, path)
    write_clip(clip, path)
    with pytest.raises(BadClip):
        restore(place, studio, path)


def test_a_missing_motion_is_fetched_only_when_told_to(
    place: Place, studio: Studio, motion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, fetched = place.workspace.library("").motion(motion).path, []

    def fetch(hub: str, sha256: str, folder: Path, *, token: bool | None) -> Path:
        fetched.append(hub)
        assert token is None
        return Path(shutil.copy(file, folder / "motion.safetensors"))

    monkeypatch.setattr("motion_transfer.hub.fetch", fetch)
    lora = PresetLora(name="wave", sha256=file_hash(file), strength=1.0, hub=f"owner/wave@{'0' * 40}")
    preset = Preset.of(name="x", base=studio.spec.name, render=RenderSpec(prompt="x"), loras=[lora])
    other, text = Place(workspace=Workspace(tmp_path / "other"), owner=""), preset_to_text(preset)
    assert receive(other, studio, text).fetchable == (lora,) and fetched == []
    received = fetch_missing(other, studio, text)
    assert fetched == [lora.hub] and not received.fetchable and received.order.motions[0] == "wave"
    assert preset_of_order(other, studio, replace(received.order, prompt="x")).loras == (lora,)  # and can be passed on
    assert receive(place, studio, text).fetchable == ()


def test_a_thousand_changed_links_leave_no_trace(
    place: Place, studio: Studio, motion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is written, nothing is fetched, and each is refused in one sentence."""
    asked: list[object] = []
    monkeypatch.setattr("motion_transfer.hub.fetch", lambda *args, **_: asked.append(args))
    text, rng = _text(share(place, studio, _order(motion), ADDRESS).link), random.Random(2)

    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in place.workspace.root.rglob("*")}

    before = kept()
    for number in range(1000):
        harmed = mutated(rng, text)
        with pytest.raises(BadPreset) as refused:
            (fetch_missing if number % 2 else receive)(place, studio, harmed)
        assert len(str(refused.value).splitlines()) == 1
    assert kept() == before and not asked
