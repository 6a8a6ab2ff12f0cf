"""The whole way on a small random `WanPipeline` with Wan's module names: transfer, files of every layout, render."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from motion_transfer.lora.algebra import delta
from motion_transfer.lora.files import WRITTEN, load_lora, read_lora, save_lora
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, Lora, RenderSpec, TuneSpec
from tests.lora.test_layouts import KEYS

PRECISIONS = ("nf4", "int8", "bf16")
SPEC = TuneSpec(caption="a red square", spatial_steps=2, temporal_steps=6, rank=2, spatial_batch=2, sparse_latents=3,
                temporal_rate=0.05, gradient_draws=1)  # fmt: skip
RENDER = RenderSpec(prompt="a blue circle", steps=2, seed=1, motion_until=0.0)
# The words in which layouts name the parts of self-attention, by ours.
PARTS = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o"}


@pytest.fixture(scope="module", params=PRECISIONS)
def studio(request: pytest.FixtureRequest, tiny_base_folder: Path) -> Iterator[Studio]:
    yield Studio(base=str(tiny_base_folder), precision=request.param)


@pytest.fixture(scope="module")
def learned(studio: Studio, square_clip: Clip) -> Lora:
    tuned = studio.tune(square_clip, SPEC)
    assert any(layer.up_OR.abs().max() > 1e-3 for layer in tuned.lora.layers.values())
    return tuned.lora


def _keys(layout: str, path: str) -> tuple[str, str]:
    """A layout's keys for one of our paths, after those that were written by hand for a query of block 0."""
    _, block, _, part = path.split(".", 3)
    found = []
    for key in KEYS[layout][0]:
        if "to_q" in key:
            key = key.replace("to_q", part)
        elif "attn_q" in key:
            key = key.replace("attn_q", f"attn_{PARTS[part]}")
        else:
            key = key.replace("attn.q", f"attn.{PARTS[part]}")
        found.append(key.replace("blocks.0", f"blocks.{block}").replace("blocks_0", f"blocks_{block}"))
    return found[0], found[1]


@pytest.mark.parametrize("layout", KEYS)
def test_a_motion_that_another_tool_wrote_renders_the_same(
    studio: Studio, learned: Lora, layout: str, tmp_path: Path
) -> None:
    tensors = {}
    for path, layer in learned.layers.items():
        down, up = _keys(layout, path)
        tensors |= {down: layer.down_RI.contiguous(), up: layer.up_OR.contiguous()}
    save_file(tensors, tmp_path / "theirs.safetensors")
    found = read_lora(tmp_path / "theirs.safetensors")
    assert found.layout == layout and not found.unread
    assert np.array_equal(studio.render(found.lora, RENDER).frames_THWC, studio.render(learned, RENDER).frames_THWC)


@pytest.mark.parametrize("layout", WRITTEN)
def test_a_motion_that_was_written_and_read_again_renders_the_same(
    studio: Studio, learned: Lora, layout: str, tmp_path: Path
) -> None:
    save_lora(learned, tmp_path / "ours.safetensors", layout)
    again = load_lora(tmp_path / "ours.safetensors")
    for path, layer in learned.layers.items():
        assert torch.allclose(delta(again.layers[path]), delta(layer), atol=1e-6)
    assert np.array_equal(studio.render(again, RENDER).frames_THWC, studio.render(learned, RENDER).frames_THWC)


def test_the_motion_is_seen(studio: Studio, learned: Lora) -> None:
    with_it, without = (studio.render(lora, RENDER).frames_THWC.astype(int) for lora in (learned, None))
    assert abs(with_it - without).max() > 1
