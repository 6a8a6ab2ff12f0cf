"""Checkpointing changes memory and time, never a result."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from motion_transfer.lora.attach import remove_adapters
from motion_transfer.methods.fym_tune import tune_temporal
from motion_transfer.model.base import VideoBase
from motion_transfer.model.checkpointing import RUNGS, checkpointed, num_checkpointed
from motion_transfer.work import drive
from tests.methods.tuning import SPEC, full_latents, heads


def _learned(base: VideoBase, rung: str) -> tuple[dict[str, torch.Tensor], Counter[int]]:
    """What is learned, and how often each block ran."""
    runs: Counter[int] = Counter()
    hooks = [block.register_forward_pre_hook(lambda *_, number=i: runs.update([number]))
             for i, block in enumerate(base.transformer.blocks)]  # fmt: skip
    try:
        with checkpointed(base.transformer, rung):
            layers = drive(tune_temporal(base, full_latents(), full_latents(), heads(), SPEC))
    finally:
        remove_adapters(base.transformer)
        for hook in hooks:
            hook.remove()
    return {name: layer.up_OR @ layer.down_RI for name, layer in layers.items()}, runs


@pytest.mark.parametrize("rung", RUNGS)
def test_the_same_is_learned_to_the_bit(tiny_base: VideoBase, rung: str) -> None:
    plain, once = _learned(tiny_base, "none")
    found, runs = _learned(tiny_base, rung)
    assert all(torch.equal(found[name], change) for name, change in plain.items())
    again = {number for number in runs if runs[number] == 2 * once[number]}
    num_blocks = len(tiny_base.transformer.blocks)
    assert len(again) == num_checkpointed(num_blocks, rung) and num_blocks - 1 not in again
    assert all(runs[number] == once[number] for number in set(runs) - again)
    assert not tiny_base.transformer.is_gradient_checkpointing


def test_rungs_of_many_blocks() -> None:
    assert [num_checkpointed(30, rung) for rung in RUNGS] == [0, 15, 29]
    assert [num_checkpointed(1, rung) for rung in RUNGS] == [0, 0, 0]
