"""Recipes as tables, whatever a file says."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from motion_transfer.errors import BadLora
from motion_transfer.library import Library
from motion_transfer.library_files import motion_at
from motion_transfer.lora.files import RECIPE, load_lora
from motion_transfer.recipes import Recipe, UsedLora, pixels_hash
from motion_transfer.types import Clip, RenderSpec
from motion_transfer.ui.recipe_facts import MOST_LETTERS, MOST_ROWS, recipe_facts


def test_facts_are_named_and_safe() -> None:
    shown = recipe_facts({"name": "<b>wave</b>", "spec": {"rank": 16, "deep": {"deeper": {"x": 1}}},
                          "heads": ["st", "ts"], "masses": [[0.1, 0.2]], "none": []})  # fmt: skip
    assert "&lt;b&gt;wave" in shown and "<th>spec.rank</th><td>16</td>" in shown and "st, ts" in shown
    assert "masses" not in shown and "deeper" not in shown and "none" not in shown
    assert recipe_facts({}) == "" == recipe_facts({"masses": [[1]]})


def test_facts_have_bounds() -> None:
    shown = recipe_facts({f"{i}" * 500: "x" * 10_000 for i in range(500)})
    assert shown.count("<tr>") == MOST_ROWS and len(shown) < MOST_ROWS * (2 * MOST_LETTERS + 100) + 200


def test_a_recipe_of_too_many_levels_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    path = folder / "deep.safetensors"
    tensors = {f"transformer.blocks.0.attn1.to_q.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
    save_file(tensors, path, metadata={RECIPE: '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"})
    assert motion_at(path) is None and Library(tmp_path).motions() == []
    with pytest.raises(BadLora, match="can't be read"):
        load_lora(path)
    save_file(tensors, path, metadata={RECIPE: json.dumps({"name": "Wave"})})
    motion = Library(tmp_path).motions()[0]
    assert motion.name == "Wave" and Library(tmp_path).recipe(motion) == {"name": "Wave"}


def test_a_render_s_motions_are_told() -> None:
    spec, clip = RenderSpec(prompt="a star"), Clip(frames_THWC=np.zeros((1, 2, 2, 3), np.uint8), fps=12.0)
    used = (UsedLora(name="wave", sha256="a" * 64, strength=0.5),) * 2
    recipe = Recipe(base="nano", base_hash="b", precision="nf4", device="cpu", render=spec, loras=used,
                    versions={"torch": "2"}, pixels=pixels_hash(clip))  # fmt: skip
    shown = recipe_facts(recipe.as_values())
    assert "loras 2.strength</th><td>0.5" in shown and "render.prompt</th><td>a star" in shown


def test_half_letters_do_no_harm(tmp_path: Path) -> None:
    folder = tmp_path / "loras"
    folder.mkdir()
    tensors = {f"transformer.blocks.0.attn1.to_q.lora_{half}.weight": torch.ones(2, 2) for half in "AB"}
    save_file(tensors, folder / "half.safetensors", metadata={RECIPE: '{"name": "a\\ud800b", "note": "\\ud800"}'})
    library = Library(tmp_path)
    motion = library.motions()[0]
    assert motion.name == "a?b" and recipe_facts(library.recipe(motion)).encode()
