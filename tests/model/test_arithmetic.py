"""Operations from shapes are those that PyTorch counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from motion_transfer.lora.attach import add_group_adapter
from motion_transfer.lora.heads import MODULES, ROW_MODULES, group_masks
from motion_transfer.model.arithmetic import Arithmetic
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.checkpointing import checkpointed, now_checkpointed
from motion_transfer.model.wan_shapes import WanShape, random_transformer

SMALL = WanShape(num_blocks=4, num_heads=4, hidden=256, head_width=32)
FRAMES, SIDE, TEXT_WIDTH = 3, 16, 64
TOKENS = FRAMES * SIDE * SIDE // 4
# PyTorch counts its fused attention on GPUs; the CPU's is the same by other names.
ON_THE_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(q, k, v),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda out, q, k, v, *_, **__: sdpa_backward_flop_count(out, q, k, v)
    ),
}


def _network(text_tokens: int) -> tuple[torch.nn.Module, Callable[[], torch.Tensor]]:
    transformer = random_transformer(SMALL, text_width=TEXT_WIDTH)
    weigh_text(transformer).bias_BM = torch.zeros(1, text_tokens)
    latents, text = torch.randn(1, 16, FRAMES, SIDE, SIDE), torch.randn(1, text_tokens, TEXT_WIDTH)
    return transformer, lambda: transformer(latents, torch.tensor([800.0]), text, return_dict=False)[0]


def _counted(work: Callable[[], object]) -> int:
    with FlopCounterMode(display=False, custom_mapping=ON_THE_CPU) as counter:
        work()
    return counter.get_total_flops()


@pytest.mark.parametrize("text_tokens", [25, 512])
def test_a_forward_pass_takes_what_is_counted(text_tokens: int) -> None:
    _, forward = _network(text_tokens)
    arithmetic = Arithmetic(shape=SMALL, text_tokens=text_tokens, text_width=TEXT_WIDTH)
    with torch.no_grad():
        assert _counted(forward) == pytest.approx(arithmetic.forward(TOKENS), rel=0.02)


@pytest.mark.parametrize("rung", ["none", "alternate", "all"])
@pytest.mark.parametrize(("rank", "modules"), [(4, MODULES), (16, ROW_MODULES)])
def test_a_tuning_step_takes_what_is_counted(rank: int, modules: tuple[str, ...], rung: str) -> None:
    transformer, forward = _network(25)
    masks = group_masks((torch.arange(16) % 2 == 0).view(4, 4), SMALL.head_width, modules)
    add_group_adapter(transformer, "temporal", masks, rank=rank, generator=torch.Generator().manual_seed(0))
    arithmetic = Arithmetic(shape=SMALL, text_tokens=25, text_width=TEXT_WIDTH)
    with checkpointed(transformer, rung):
        again = now_checkpointed(transformer)
        counted = _counted(lambda: forward().square().mean().backward())
    expected = arithmetic.step(TOKENS, rank=rank, num_modules=len(modules), checkpointed=again)
    assert again == {"none": 0, "alternate": 2, "all": 3}[rung] and now_checkpointed(transformer) == 0
    assert counted == pytest.approx(expected, rel=0.02)
