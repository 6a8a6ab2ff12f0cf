"""The Library tab's functions: what is found, what is shown of it, and what its buttons do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import gradio as gr
import pytest
import torch
from safetensors.torch import save_file

from motion_transfer.errors import BadClip, BadLora, BadSpec, HubFailed
from motion_transfer.hub import Published
from motion_transfer.library import Library
from motion_transfer.library_files import Motion
from motion_transfer.lora.files import read_lora
from motion_transfer.lora.layouts import COMFYUI
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, Lora, LowRank, RenderSpec
from motion_transfer.ui import tab_library
from motion_transfer.ui.desk import Place
from motion_transfer.ui.shelf import MOTIONS, RENDERS, item, item_choices, look_at_item, publish_item
from motion_transfer.ui.tab_library import _LibraryPage
from motion_transfer.workspace import Workspace


@pytest.fixture
def motion(library: Library, square_clip: Clip) -> Motion:
    layer = LowRank(down_RI=torch.ones(1, 4), up_OR=torch.ones(4, 1))
    lora = Lora(layers={"blocks.0.attn1.to_q": layer}, info={"caption": "a <red> square", "base": "tiny"})
    return library.save_motion(lora, "Big wave", square_clip)


@pytest.fixture
def renders(library: Library, square_clip: Clip) -> list[Path]:
    return [library.save_render(square_clip, RenderSpec(prompt=prompt), {"render": {"prompt": prompt}})
            for prompt in ("a green star", "a blue Star on white")]  # fmt: skip


def test_the_search_finds_every_word_in_name_caption_and_prompt(
    library: Library, motion: Motion, renders: list[Path]
) -> None:
    assert [key for _, key in item_choices(library, "tiny", MOTIONS, "WAVE square")] == [motion.key]
    assert item_choices(library, "tiny", MOTIONS, "wave circle") == []
    assert len(item_choices(library, "tiny", RENDERS)) == len(item_choices(library, "tiny", RENDERS, "star a")) == 2
    assert [key for _, key in item_choices(library, "tiny", RENDERS, "blue star")] == [renders[1].stem]


def test_an_item_is_shown_by_copies_and_plain_text(library: Library, motion: Motion, renders: list[Path]) -> None:
    view = look_at_item(library, MOTIONS, motion.key)
    assert "&lt;red&gt;" in view.facts and library.sha256(motion) in view.facts and view.name == "Big wave"
    assert view.video is not None and view.file.read_bytes() == motion.path.read_bytes()
    assert library.uploads in view.file.parents and library.uploads in view.video.parents
    view = look_at_item(library, RENDERS, renders[0].stem)
    assert view.name == "a green star" and view.file.name == renders[0].name


@pytest.mark.parametrize(
    ("kind", "key", "error"), [(MOTIONS, None, BadSpec), (MOTIONS, "gone", BadLora), (RENDERS, "gone", BadClip)]
)
def test_what_is_not_there_is_said(library: Library, kind: str, key: str | None, error: type) -> None:
    with pytest.raises(error):
        item(library, kind, key)


def test_rename_delete_and_bring_back(
    studio: Studio, place: Place, library: Library, motion: Motion, renders: list[Path]
) -> None:
    page = _LibraryPage(studio, lambda _: place)
    found, others = page.find(None, MOTIONS, "", None)
    assert found.value == motion.key and len(others.choices) == 3
    page.rename(None, MOTIONS, motion.key, "Small wave")
    assert page.look(None, MOTIONS, motion.key)[2] == "Small wave"
    deleted, undo = page.delete(None, RENDERS, renders[0].stem, [])
    deleted, undo = page.delete(None, MOTIONS, motion.key, deleted)
    assert undo.visible and "Small wave" in undo.value and library.motions() == []
    assert page.find(None, MOTIONS, "", motion.key)[0].value is None
    deleted, undo = page.undo(None, deleted)
    assert undo.visible and [m.name for m in library.motions()] == ["Small wave"]
    assert len(library.made_renders()) == len(renders) - 1
    assert page.undo(None, deleted)[1].visible is False and len(library.made_renders()) == len(renders)
    assert page.compare(None, renders[0].stem) is not None and page.compare(None, "") is None


def test_what_ships_is_not_offered_for_changes(studio: Studio, place: Place, library: Library, motion: Motion) -> None:
    page = _LibraryPage(studio, lambda _: place)
    rename, delete, publishing = page.look(None, MOTIONS, motion.key)[-3:]
    assert rename.interactive and delete.interactive and publishing.visible
    assert not page.look(None, RENDERS, None)[-1].visible
    assert not _LibraryPage(studio, lambda _: place, can_publish=False).look(None, MOTIONS, motion.key)[-1].visible
    shipped = library.shipped_motions()[0]
    for key in (shipped.key, None, "gone"):
        rename, delete = page.look(None, MOTIONS, key)[-3:-1]
        assert not rename.interactive and not delete.interactive


def test_titles_and_recipes_of_others_do_no_harm(library: Library, motion: Motion, renders: list[Path]) -> None:
    motion.path.with_suffix(".title").write_bytes(b"\xff\xfe")
    renders[0].with_suffix(".json").write_text(json.dumps([1]))
    assert item_choices(library, "tiny", MOTIONS)[0][1] == motion.key
    assert len(item_choices(library, "tiny", RENDERS)) == 2


def test_only_motions_are_published(
    library: Library, motion: Motion, renders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | bool]] = []

    def publish(motion: Motion, repository: str, *, private: bool, token: str | bool) -> Published:
        asked.append((repository, token))
        return Published(address="https://hub.example/owner/wave", hub="owner/wave@0")

    monkeypatch.setattr("motion_transfer.ui.shelf.publish", publish)
    place = Place(workspace=Workspace(library.loras.parent), owner="")
    assert publish_item(place, MOTIONS, motion.key, " owner/wave ", True, None).hub == "owner/wave@0"
    assert library.motion(motion.key).hub == "owner/wave@0"
    publish_item(place, MOTIONS, motion.key, "owner/wave", True, "a visitor's")
    assert asked == [("owner/wave", True), ("owner/wave", "a visitor's")]
    with pytest.raises(BadSpec, match="render is chosen"):
        publish_item(place, RENDERS, library.made_renders()[0].key, "owner/wave", False, None)
    visitor = Place(workspace=Workspace(tmp_path / "many", isolated=True), owner="0" * 32)
    with pytest.raises(HubFailed, match="not logged in"):  # never with the machine's own account
        publish_item(visitor, MOTIONS, motion.key, "owner/wave", False, None)


def _imported(library: Library, path: Path, tensors: dict[str, torch.Tensor]) -> Motion:
    save_file(tensors, path)
    return library.import_motion(path, path.name)


def test_the_card_says_what_a_file_holds_and_who_misreads_it(library: Library, tmp_path: Path) -> None:
    """A file of a trainer: two blocks, the second changed more, and a key that is no Wan LoRA's."""
    tensors = {f"lora_unet_blocks_{block}_self_attn_q.{part}.weight": torch.full(shape, float(block + 1))
               for block in (0, 1) for part, shape in (("lora_down", (2, 1536)), ("lora_up", (1536, 2)))}  # fmt: skip
    tensors["lora_te_<b>.lora_down.weight"] = torch.ones(1, 4)
    motion = _imported(library, tmp_path / "their.safetensors", tensors)
    facts = look_at_item(library, MOTIONS, motion.key).facts
    for words in ("<details open>", "kohya", "Wan2.1-T2V-1.3B, by its shapes", "attn1.to_q × 2", "24 of 24",
                  "lora_te_&lt;b&gt;", "diffusers refuses this layout"):  # fmt: skip
        assert words in facts, words
    assert [int(height) for height in re.findall(r"height:(\d+)%", facts)] == [25, 100]


def test_what_was_not_read_is_told_on_import(
    place: Place, studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(tab_library, "tell", said.append)
    path, page = tmp_path / "their.safetensors", _LibraryPage(studio, lambda _: place)
    tensors = {
        "blocks.0.attn1.to_q.lora_A.weight": torch.ones(1, 4),
        "blocks.0.attn1.to_q.lora_B.weight": torch.ones(4, 1),
    }
    save_file(tensors, path)
    page.take_in(None, str(path))
    assert said == []
    save_file({**tensors, "text_model.lora_A.weight": torch.ones(1, 4)}, path)
    page.take_in(None, str(path))
    assert len(said) == 1 and "1 of the keys of their.safetensors" in said[0] and "text_model" in said[0]


def test_a_motion_is_taken_away_for_comfyui(
    library: Library, place: Place, studio: Studio, motion: Motion, renders: list[Path]
) -> None:
    page = _LibraryPage(studio, lambda _: place)
    button, download = page.convert(None, MOTIONS, motion.key)
    assert not button.visible and download.visible
    path = library.for_comfyui(motion)
    assert Path(download.value["path"]).name == path.name == f"{motion.path.stem}-comfyui.safetensors"
    assert library.uploads in path.parents
    found, own = read_lora(path), library.load(motion)
    assert found.layout == COMFYUI and found.lora.info == own.info and not found.unread
    for name, layer in own.layers.items():
        assert torch.equal(found.lora.layers[name].down_RI, layer.down_RI)
    assert library.for_comfyui(motion) == path  # made once
    assert page.convert(None, RENDERS, renders[0].stem) == (gr.skip(), gr.skip())


def test_an_imported_motion_is_chosen(
    place: Place, studio: Studio, motion: Motion, tmp_path: Path, library: Library
) -> None:
    (tmp_path / "other.safetensors").write_bytes(motion.path.read_bytes())
    library.discard(motion)
    kind, search, chosen, _ = _LibraryPage(studio, lambda _: place).take_in(None, str(tmp_path / "other.safetensors"))
    assert (kind, search) == (MOTIONS, "") and chosen.value == library.motions()[0].key
    (tmp_path / "broken.safetensors").write_bytes(b"no LoRA")
    page = _LibraryPage(studio, lambda _: place)
    assert page.take_in(None, str(tmp_path / "broken.safetensors")) == (gr.skip(),) * 4
    assert len(library.motions()) == 1
