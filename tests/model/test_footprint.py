"""What is said of memory and arithmetic from a shape agrees with real transformers and with autograd's own count."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from motion_transfer.model.block_check import BlockRun, relative_error, run_blocks
from motion_transfer.model.footprint import (
    count_parameters,
    forward_flops,
    lora_bytes,
    saved_bytes,
    step_flops,
    weight_bytes,
)
from motion_transfer.model.wan_shapes import WAN_SHAPES, WanShape, random_transformer
from motion_transfer.types import PRECISIONS

SMALL, RANK, TEXT_WIDTH = WanShape(num_blocks=2, num_heads=2, hidden=640), 8, 64


def _run(shape: WanShape, precision: str) -> BlockRun:
    return run_blocks(shape, precision, num_frames=2, side=16, rank=RANK, text_width=TEXT_WIDTH)


@pytest.mark.parametrize("name", WAN_SHAPES)
def test_every_weight_is_counted(name: str) -> None:
    with torch.device("meta"):
        transformer = random_transformer(WAN_SHAPES[name])
    counted = count_parameters(WAN_SHAPES[name])
    assert counted.total == sum(p.numel() for p in transformer.parameters())
    blocks = [m for p, m in transformer.named_modules() if p.startswith("blocks.") and isinstance(m, torch.nn.Linear)]
    assert counted.linear == sum(m.weight.numel() for m in blocks)
    kept = transformer._keep_in_fp32_modules
    assert counted.sensitive == sum(p.numel() for n, p in transformer.named_parameters() if any(k in n for k in kept))


def test_the_published_sizes_come_out() -> None:
    """Wan2.1-14B in 4 bits with double quantization is about 7.4 GB in its linear layers, 28.6 GB in bfloat16."""
    assert weight_bytes(WAN_SHAPES["14b"], "bf16") == pytest.approx(28.6e9, rel=0.02)
    assert weight_bytes(WAN_SHAPES["14b"], "nf4") == pytest.approx(7.9e9, rel=0.05)
    assert weight_bytes(WAN_SHAPES["1.3b"], "bf16") == pytest.approx(2.84e9, rel=0.02)
    assert lora_bytes(WAN_SHAPES["1.3b"], 32, 8) == pytest.approx(0.38e9, rel=0.02)


@pytest.mark.parametrize(
    ("name", "latent_frames", "forward_tera", "step_tera"),
    [("1.3b", 21, 141.2, 413.3), ("1.3b", 5, 18.3, 44.5), ("14b", 5, 148.2, 332.0), ("14b", 21, 904.1, 2390.0)],
)
def test_arithmetic_of_512_pixels(name: str, latent_frames: int, forward_tera: float, step_tera: float) -> None:
    shape, tokens = WAN_SHAPES[name], 1024 * latent_frames
    assert forward_flops(shape, tokens) / 1e12 == pytest.approx(forward_tera, rel=0.01)
    assert step_flops(shape, tokens) / 1e12 == pytest.approx(step_tera, rel=0.01)
    checkpointed = step_flops(shape, tokens, checkpointed=shape.num_blocks)
    assert checkpointed - step_flops(shape, tokens) == pytest.approx(forward_flops(shape, tokens))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("wider", [{}, {"num_heads": 4}, {"hidden": 1280}])
def test_a_block_keeps_and_weighs_what_is_said(precision: str, wider: dict[str, int]) -> None:
    shape = replace(SMALL, **wider)
    one, two = (_run(replace(shape, num_blocks=n), precision) for n in (1, 2))
    said = saved_bytes(shape, one.tokens, RANK, itemsize=one.itemsize)
    assert two.saved_bytes - one.saved_bytes == pytest.approx(said, rel=0.01)
    said = weight_bytes(shape, precision, itemsize=one.itemsize, text_width=TEXT_WIDTH)
    assert two.weight_bytes == pytest.approx(said, rel=0.01)


def test_precisions_lie_in_order() -> None:
    """Against float32, bfloat16 errs least and NF4 most, in what blocks do and in what a LoRA learns."""
    true, *others = (_run(SMALL, precision) for precision in ("fp32", "bf16", "int8", "nf4"))
    errors = [relative_error(run.changes, true.changes) for run in others]
    assert errors == sorted(errors) and errors[0] < 0.05 < errors[2] < 0.4
    errors = [relative_error(*(torch.cat([g.flatten() for g in r.gradients.values()]) for r in (run, true)))
              for run in others]  # fmt: skip
    assert errors == sorted(errors) and errors[2] < 0.5
