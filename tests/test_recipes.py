"""Renders explain themselves: the recipe in a file makes the same render again, and what differs is named."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motion_transfer.errors import BadClip, BadLora, WrongBase
from motion_transfer.lora.algebra import scaled
from motion_transfer.lora.files import file_hash, load_lora, save_lora
from motion_transfer.pipeline import Studio
from motion_transfer.recipes import Recipe, UsedLora, base_name, pixels_hash, read_recipe, recipe_of, verify
from motion_transfer.types import Clip, Lora, LowRank, RenderSpec
from motion_transfer.version import VERSION
from motion_transfer.video.io import write_clip
from motion_transfer.work import drive
from tests.conftest import HEAD_WIDTH, HEADS

SPEC = RenderSpec(prompt="a blue circle", seed=3, steps=2, strength=0.5)
WIDTH = HEADS * HEAD_WIDTH


@pytest.fixture(scope="module")
def studio(tiny_base_folder: Path) -> Studio:
    return Studio(base=str(tiny_base_folder), precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def lora_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    generator = torch.Generator().manual_seed(0)
    layer = LowRank(
        down_RI=torch.randn(2, WIDTH, generator=generator), up_OR=torch.randn(WIDTH, 2, generator=generator) / 9
    )
    path = tmp_path_factory.mktemp("lora") / "wave.safetensors"
    save_lora(Lora(layers={"blocks.0.attn1.to_q": layer}, info={"clip_fps": 7.0}), path)
    return path


@pytest.fixture(scope="module")
def rendered(studio: Studio, lora_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    clip = studio.render(load_lora(lora_path), SPEC)
    used = [UsedLora(name="wave", sha256=file_hash(lora_path), strength=1.0)]
    path = tmp_path_factory.mktemp("renders") / "render.mp4"
    write_clip(clip, path, comment=json.dumps(recipe_of(studio, SPEC, used, clip).as_values()))
    return path


def _rewritten(path: Path, recipe: Recipe, clip: Clip, tmp_path: Path) -> Path:
    write_clip(clip, tmp_path / path.name, comment=json.dumps(recipe.as_values()))
    return tmp_path / path.name


def test_a_render_comes_out_the_same_again(studio: Studio, rendered: Path, lora_path: Path) -> None:
    found = drive(verify(studio, rendered, {file_hash(lora_path): lora_path}.get))
    assert found.same and found.mean_levels == 0.0 and found.changed == ()


def test_the_recipe_holds_strengths_once_and_no_path(rendered: Path) -> None:
    recipe = read_recipe(rendered)
    assert recipe.loras[0].strength == 0.5 and recipe.render == replace(SPEC, strength=1.0)
    assert str(rendered.parent) not in json.dumps(recipe.as_values())
    assert {"motion_transfer", "torch", "diffusers"} <= set(recipe.versions)


def test_a_changed_recipe_or_picture_does_not_come_out_the_same(
    studio: Studio, rendered: Path, lora_path: Path, tmp_path: Path
) -> None:
    recipe, find = read_recipe(rendered), {file_hash(lora_path): lora_path}.get
    clip = studio.render(None, SPEC)
    versions = {**recipe.versions, "torch": "0.1", "attention": "_native_cudnn"}
    other = replace(recipe, render=replace(recipe.render, seed=4), versions=versions)
    found = drive(verify(studio, _rewritten(rendered, other, clip, tmp_path), find))
    assert not found.same and found.mean_levels > 0
    assert found.changed == (
        "attention was _native_cudnn, is native",
        f"torch was 0.1, is {recipe.versions['torch']}",
    )


def test_what_is_missing_or_wrong_is_one_sentence(
    studio: Studio, rendered: Path, lora_path: Path, square_clip: Clip, tmp_path: Path
) -> None:
    with pytest.raises(BadLora, match="wave"):
        drive(verify(studio, rendered, lambda _: None))
    save_lora(scaled(load_lora(lora_path), 2.0), tmp_path / "other.safetensors")
    with pytest.raises(BadLora, match="wave"):
        drive(verify(studio, rendered, lambda _: tmp_path / "other.safetensors"))
    recipe = read_recipe(rendered)
    elsewhere = _rewritten(rendered, replace(recipe, base_hash="0" * 64), square_clip, tmp_path)
    with pytest.raises(WrongBase, match="00000000"):
        drive(verify(studio, elsewhere, lambda _: lora_path))


@pytest.mark.parametrize(
    "comment", [None, "", "no json", "[]", "{}", '{"recipe": 1}', '{"recipe": 9}', '{"recipe": 1, "loras": 3}', "[" * 9]
)
def test_a_file_that_says_nothing_of_itself_is_refused(square_clip: Clip, tmp_path: Path, comment: str | None) -> None:
    write_clip(square_clip, tmp_path / "plain.mp4", comment=comment)
    with pytest.raises(BadClip, match="expected"):
        read_recipe(tmp_path / "plain.mp4")


@pytest.mark.parametrize(
    "changes",
    [
        {"loras": [{"name": "x", "sha256": "0" * 63, "strength": 1.0}]},
        {"loras": [{"name": "x", "sha256": "<b>", "strength": 1.0}]},
        {"loras": [{"name": 3, "sha256": "0" * 64, "strength": 1.0}]},
        {"loras": [{"name": "x", "sha256": "0" * 64, "strength": "1"}]},
        {"loras": [{"name": "x", "sha256": "0" * 64, "strength": 1e9}]},
        {"loras": [[]]},
        {"versions": ["torch"]},
        {"versions": {"torch": 2}},
        {"base": None},
        {"device": {}},
    ],
)
def test_a_recipe_of_other_hands_is_checked(
    rendered: Path, square_clip: Clip, tmp_path: Path, changes: dict[str, Any]
) -> None:
    values = {**read_recipe(rendered).as_values(), **changes}
    write_clip(square_clip, tmp_path / "forged.mp4", comment=json.dumps(values))
    with pytest.raises(BadClip, match="expected"):
        read_recipe(tmp_path / "forged.mp4")


@pytest.mark.parametrize("base", ["/somewhere", "../other", "..", ".", "", "C:\\base", "\\\\host\\base", "a/b"])
def test_a_recipe_leads_to_no_folder(rendered: Path, base: str) -> None:
    recipe = read_recipe(rendered)
    assert base_name(replace(recipe, base="my wan 2.1")) == "my wan 2.1"
    with pytest.raises(WrongBase, match="--base"):
        base_name(replace(recipe, base=base))


def test_equal_pixels_have_equal_hashes() -> None:
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    clip = Clip(frames_THWC=frames, fps=5)
    assert pixels_hash(clip) == pixels_hash(Clip(frames_THWC=frames[:, ::-1], fps=9))
    assert pixels_hash(clip) != pixels_hash(Clip(frames_THWC=frames.reshape(4, 2, 4, 3), fps=5))


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
