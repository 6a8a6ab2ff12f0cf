"""The motions and presets that ship: what counts as stale, what is written, and that one hangs on the other."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from motion_transfer.lora.files import file_hash, load_lora, save_lora
from motion_transfer.nano import motions, showcase
from motion_transfer.nano.motions import motion_stale, stale_motions, write_motions
from motion_transfer.nano.showcase import Showpiece, check_showcase, showcase_stale, write_showcase
from motion_transfer.presets import load_preset
from motion_transfer.types import Lora, RenderSpec, TuneSpec

STEM = "single-line"


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one motion, hardly learned."""
    folder = tmp_path_factory.mktemp("assets") / "loras"
    with pytest.MonkeyPatch.context() as patch:
        _shorten(patch)
        write_motions(folder, num_processes=1)
    return folder


def _shorten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(motions, "EXAMPLES", {STEM: motions.EXAMPLES[STEM]})
    patch.setattr(motions, "TuneSpec", partial(TuneSpec, spatial_steps=1, temporal_steps=2))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    _shorten(monkeypatch)
    piece = Showpiece(name="Line", motions=((STEM, 1.5),), prompt="a red star on a white background", seed=3)
    monkeypatch.setattr(showcase, "SHOWCASE", {"line": piece})
    monkeypatch.setattr(showcase, "RenderSpec", partial(RenderSpec, steps=2))


def test_a_motion_says_where_it_comes_from(learned: Path, short: None) -> None:
    info = load_lora(learned / f"{STEM}.safetensors").info
    assert (info["name"], info["base"], info["clip"]) == ("Single: line", "nano", f"{STEM}.mp4")
    assert stale_motions(learned) == {}
    card = (learned / "README.md").read_text()
    assert STEM in card and info["base_hash"][:16] in card


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"base_hash": "0" * 64}, "another base"),
        ({"clip_sha256": "0" * 64}, "another clip"),
        ({"spec": {"rank": 3}}, "other settings"),
    ],
)
def test_what_was_made_otherwise_is_stale(
    learned: Path, short: None, tmp_path: Path, changes: dict[str, object], why: str
) -> None:
    path = tmp_path / f"{STEM}.safetensors"
    assert motion_stale(path) == "there is none"
    lora = load_lora(learned / path.name)
    save_lora(replace(lora, info={**lora.info, **changes}), path)
    assert why in motion_stale(path)


def test_presets_name_the_motions_files(learned: Path, short: None, tmp_path: Path) -> None:
    assert "there is no line" in showcase_stale(learned, tmp_path)
    write_showcase(learned, tmp_path)
    assert showcase_stale(learned, tmp_path) == ""
    (used,) = load_preset(tmp_path / "line.json").loras
    assert (used.sha256, used.strength) == (file_hash(learned / f"{STEM}.safetensors"), 1.5)
    other = tmp_path / "loras"
    save_lora(Lora(layers=load_lora(learned / f"{STEM}.safetensors").layers), other / f"{STEM}.safetensors")
    assert "something else" in showcase_stale(other, tmp_path)


def test_every_preset_is_rendered_and_measured(learned: Path, short: None, tmp_path: Path) -> None:
    (row,) = check_showcase(learned, tmp_path, num_processes=1)
    assert row["preset"] == "line" and row["motion_fidelity"] is not None
    assert (tmp_path / "presets.json").is_file() and (tmp_path / "presets.png").is_file()


def test_a_preset_with_a_camera_says_so() -> None:
    piece = showcase.SHOWCASE["wave-in-a-pan"]
    assert piece.clips == ("single-wave",)
    assert "learned from a clip of" in piece.description and "“Control: pan” at 0.5." in piece.description
