"""Names from anyone make safe files; nothing is overwritten; broken files are passed over."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from motion_transfer import library as library_module
from motion_transfer.errors import BadClip, BadLora, BadSpec, StorageFailed
from motion_transfer.library import Library
from motion_transfer.library_files import MAX_NAME_LETTERS, Motion, safe_stem
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.types import Clip, Lora, LowRank, RenderSpec
from motion_transfer.video.io import clip_comment, probe, write_clip


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "work")


@pytest.fixture
def lora() -> Lora:
    layer = LowRank(down_RI=torch.ones(1, 4), up_OR=torch.ones(4, 1))
    return Lora(layers={"blocks.0.attn1.to_q": layer}, info={"base": "tiny", "caption": "a red square"})


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("A Red  Square!", "a-red-square"),
        ("../../etc/passwd", "etc-passwd"),
        ("Hélène's jump", "helene-s-jump"),
        ("танец", "motion"),
        ("", "motion"),
        ("\0\n.", "motion"),
        ("x" * 500, "x" * 40),
    ],
)
def test_names_become_plain_file_names(text: str, stem: str) -> None:
    assert safe_stem(text, "motion") == stem


def test_a_workspace_appears_only_when_written_to(tmp_path: Path) -> None:
    library = Library(tmp_path / "work")
    assert library.motions() == []
    assert not (tmp_path / "work").exists()


def test_a_motion_is_saved_with_its_reference_and_found_again(library: Library, lora: Lora, square_clip: Clip) -> None:
    saved = library.save_motion(lora, " Dance \n of <b>squares</b> ", square_clip, comment='{"scene": 1}')
    assert saved.path.parent == library.loras
    assert library.motions() == [saved] == [library.motion(saved.key)]
    assert (saved.name, saved.caption, saved.base) == ("Dance of <b>squares</b>", "a red square", "tiny")
    assert load_lora(saved.path).info["name"] == saved.name and "made" not in load_lora(saved.path).info
    assert saved.reference is not None and clip_comment(saved.reference) == '{"scene": 1}'
    assert min(probe(saved.reference).width, probe(saved.reference).height) >= library_module.SHOWN_SIDE_PX


def test_equal_names_get_different_files(library: Library, lora: Lora, square_clip: Clip) -> None:
    keys = {library.save_motion(lora, "same", square_clip).key for _ in range(3)}
    assert keys == {"same", "same-2", "same-3"}
    assert len(library.motions()) == 3


def test_a_failed_save_leaves_nothing(library: Library, lora: Lora, square_clip: Clip) -> None:
    with pytest.raises(UnicodeEncodeError):
        library.save_motion(lora, "dance", square_clip, comment="half a character: \ud83d")
    assert list(library.loras.iterdir()) == []


def test_files_that_are_no_loras_are_passed_over(library: Library, lora: Lora, square_clip: Clip) -> None:
    saved = library.save_motion(lora, "good", square_clip)
    (library.loras / "empty.safetensors").touch()
    (library.loras / "text.safetensors").write_text("not a header at all")
    assert library.motions() == [saved]


def test_a_foreign_lora_is_listed_by_its_file_name(library: Library, lora: Lora, square_clip: Clip) -> None:
    saved = library.save_motion(lora, "good", square_clip)
    os.replace(saved.path, library.loras / "From Elsewhere.safetensors")
    assert library.motion("From Elsewhere").reference is None


@pytest.mark.parametrize("key", ["missing", "../good", ""])
def test_an_unknown_key_is_an_error(library: Library, key: str) -> None:
    with pytest.raises(BadLora, match="none called"):
        library.motion(key)


def test_renders_never_overwrite_and_carry_their_settings(library: Library, square_clip: Clip) -> None:
    spec = RenderSpec(prompt="a red / square", seed=7)
    recipe = {"render": {"seed": 7}, "motion": "good"}
    paths = {library.save_render(square_clip, spec, recipe) for _ in range(3)}
    assert len(paths) == 3
    for path in paths:
        assert path.parent == library.renders and "-7-a-red-square" in path.name
        comment = json.loads(clip_comment(path) or "")
        assert comment == json.loads(path.with_suffix(".json").read_text()) == recipe


def test_copies_for_looking_at_are_enlarged_and_do_not_pile_up(library: Library, square_clip: Clip) -> None:
    first = library.show(square_clip)
    assert probe(first).height >= library_module.SHOWN_SIDE_PX
    second = library.show_file(first)
    assert second.read_bytes() == first.read_bytes() and first != second
    for path in (first, second):
        os.utime(path, (0, 0))
    library.show(square_clip)
    assert not first.exists() and not second.exists()


def test_a_workspace_that_takes_nothing_is_said_at_the_start(tmp_path: Path) -> None:
    Library(tmp_path / "good").prepare()
    assert sorted(p.name for p in (tmp_path / "good").rglob("*")) == ["loras", "renders", "uploads"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageFailed, match="--workspace"):
        Library(tmp_path / "file").prepare()


def _saved(library: Library, clip: Clip, name: str = "wave") -> Motion:
    layer = LowRank(down_RI=torch.ones(1, 4), up_OR=torch.ones(4, 1))
    return library.save_motion(Lora(layers={"blocks.0.attn1.to_q": layer}, info={"caption": "x"}), name, clip)


def test_a_new_name_leaves_the_file_as_it_is(library: Library, square_clip: Clip) -> None:
    motion = _saved(library, square_clip)
    before = library.sha256(motion)
    library.rename(motion, "  Big \n wave ")
    assert library.motion(motion.key).name == "Big wave" and library.sha256(library.motion(motion.key)) == before
    library.save_render(square_clip, RenderSpec(prompt="a star"), {"render": {"prompt": "a star"}})
    (render,) = library.made_renders()
    assert render.name == render.prompt == "a star"
    library.rename(render, "Best")
    assert library.render(render.key).name == "Best"
    with pytest.raises(BadSpec, match="name"):
        library.rename(motion, "  ")
    with pytest.raises(BadClip, match="none called"):
        library.render("missing")


def test_what_is_deleted_can_come_back_for_a_day(library: Library, square_clip: Clip) -> None:
    motion, other = _saved(library, square_clip), _saved(library, square_clip, "wave.2")
    library.rename(motion, "Big wave")
    files = {path.name: path.read_bytes() for path in library.loras.iterdir()}
    ticket = library.discard(library.motion(motion.key))
    assert [m.key for m in library.motions()] == [other.key]
    library.restore(ticket)
    assert {path.name: path.read_bytes() for path in library.loras.iterdir()} == files
    assert library.motion(motion.key).name == "Big wave"
    with pytest.raises(BadSpec, match="come back"):
        library.restore(ticket)
    old = library.discard(library.motion(motion.key))
    os.utime(library.bin / old, (0, 0))
    library.discard(library.motion(other.key))
    with pytest.raises(BadSpec, match="come back"):
        library.restore(old)


def test_what_lies_in_the_bin_is_known_after_a_reload(library: Library, lora: Lora, square_clip: Clip) -> None:
    motion = library.save_motion(lora, "first", square_clip)
    render = library.render(library.save_render(square_clip, RenderSpec(prompt="second"), {}).stem)
    library.rename(render, "renamed")
    tickets = [library.discard(one) for one in (motion, render)]
    assert library.discarded() == [(tickets[0], "first"), (tickets[1], "renamed")]
    library.restore(tickets[1])
    assert [name for _, name in library.discarded()] == ["first"]


def test_what_comes_back_overwrites_nothing(library: Library, square_clip: Clip) -> None:
    first = library.save_render(square_clip, RenderSpec(), {"render": {"prompt": "first"}})
    ticket = library.discard(library.render(first.stem))
    first.write_bytes(b"another one of that name")
    library.restore(ticket)
    assert first.read_bytes() == b"another one of that name"
    assert {render.name for render in library.made_renders()} == {"first", first.stem}


def test_a_render_under_way_is_not_listed(library: Library, square_clip: Clip) -> None:
    done = library.save_render(square_clip, RenderSpec(prompt="x"), {})
    (library.renders / "claimed.mp4").touch()
    assert [render.path for render in library.made_renders()] == [done]


def test_a_name_in_a_file_is_one_short_line(library: Library, lora: Lora, square_clip: Clip, tmp_path: Path) -> None:
    save_lora(replace(lora, info={**lora.info, "name": "a\n" + 500 * "b "}), tmp_path / "x.safetensors")
    name = library.import_motion(tmp_path / "x.safetensors", "x").name
    assert name.startswith("a b b") and len(name) <= MAX_NAME_LETTERS


def test_motions_of_the_program_are_found_but_stay_as_they_are(tmp_path: Path, lora: Lora, square_clip: Clip) -> None:
    shipped = tmp_path / "assets" / "loras"
    for name, base in (("spin", "tiny"), ("hop", "tiny"), ("walk", "other")):
        info = {**lora.info, "base": base, "name": name}
        save_lora(Lora(layers=lora.layers, info=info), shipped / f"{name}.safetensors")
    (tmp_path / "assets" / "clips").mkdir()
    write_clip(square_clip, tmp_path / "assets" / "clips" / "hop.mp4")
    library = Library(tmp_path / "work", shipped=shipped)
    hop, spin = library.shipped_motions("tiny")
    assert library.motions() == [] and len(library.shipped_motions()) == 3
    assert hop.shipped and library.motion(hop.key) == hop and library.of_sha256(library.sha256(spin)) == spin
    assert hop.reference == tmp_path / "assets" / "clips" / "hop.mp4" and spin.reference is None
    assert library.import_motion(hop.path, "hop.safetensors") == hop and not (tmp_path / "work").exists()
    for change in (lambda: library.rename(hop, "skip"), lambda: library.discard(hop)):
        with pytest.raises(BadSpec, match="comes with the program"):
            change()
    with pytest.raises(BadLora, match="none called"):
        library.motion("shipped/../hop")
