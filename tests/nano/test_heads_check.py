"""The check of heads' labels: silenced heads, the two losses, and the whole on a toy base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from motion_transfer.model.base import VideoBase
from motion_transfer.nano import heads_check
from motion_transfer.nano.heads_check import check_heads, frame_order, picture_quality, without_heads
from motion_transfer.types import Clip


def _velocity(base: VideoBase) -> torch.Tensor:
    z = torch.randn((1, *base.latent_shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return base.velocity(z, torch.tensor([0.9]), base.text.encode(["a red star"]))


def test_silenced_heads_are_as_if_their_output_columns_were_zero(tiny_base: VideoBase) -> None:
    whole = _velocity(tiny_base)
    group = torch.zeros(len(tiny_base.transformer.blocks), tiny_base.num_heads, dtype=torch.bool)
    with without_heads(tiny_base, group):
        assert torch.equal(_velocity(tiny_base), whole)
    group[0, 1] = True
    with without_heads(tiny_base, group):
        silenced = _velocity(tiny_base)
    layer, width = tiny_base.transformer.blocks[0].attn1.to_out[0], tiny_base.head_width
    kept = layer.weight.detach().clone()
    try:
        layer.weight.data[:, width : 2 * width] = 0
        assert torch.allclose(_velocity(tiny_base), silenced, atol=1e-5)
    finally:
        layer.weight.data.copy_(kept)
    assert torch.equal(_velocity(tiny_base), whole) and not torch.allclose(silenced, whole, atol=1e-4)


def test_frames_in_order_score_more_than_frames_at_random(square_clip: Clip) -> None:
    other = Clip(frames_THWC=np.random.default_rng(0).integers(0, 255, square_clip.frames_THWC.shape, np.uint8), fps=12)
    mixed = square_clip.frames_THWC.copy()
    mixed[::2] = other.frames_THWC[::2]
    in_order, at_random = (frame_order(clip, [other]) for clip in (square_clip, Clip(frames_THWC=mixed, fps=12)))
    assert in_order > 0.8 > 0.2 > at_random


class _Eyes:
    """Sees one thing in every frame, and knows one text for it."""

    def embed_frames(self, frames: np.ndarray) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0]] * len(frames))

    def embed_texts(self, texts: list[str]) -> torch.Tensor:
        return torch.tensor([[1.0, 0.0] if text == "right" else [0.0, 1.0] for text in texts])


def test_quality_is_what_the_own_prompt_fits_better(square_clip: Clip) -> None:
    assert picture_quality(square_clip, "right", ["wrong", "wrong too"], _Eyes()) == 1.0  # type: ignore[arg-type]
    assert picture_quality(square_clip, "wrong", ["right"], _Eyes()) == -1.0  # type: ignore[arg-type]


def test_the_whole_check(tiny_base_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads_check, "NUM_CLIPS", 2)
    found = check_heads(tiny_base_folder, 2, tmp_path, tmp_path / "renders")
    assert json.loads((tmp_path / "heads.json").read_text()) == found
    assert set(found["agreement"]) >= {"query rows", "noise", "clips", "noise level of the released code"}
    assert all(0 <= share <= 1 for share in found["agreement"].values())
    assert {"order_lost", "quality_lost", "order_more", "interval"} <= set(found["function"]["without temporal"])
