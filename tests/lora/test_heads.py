"""The sliced head-group LoRA against the paper's two-branch attention, written out in plain torch."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from motion_transfer.lora.attach import add_group_adapter, read_adapter, remove_adapters
from motion_transfer.lora.heads import COLUMN_MODULES, MODULES, ROW_MODULES, group_channels, group_masks
from tests.conftest import BLOCKS, HEAD_WIDTH, HEADS, build_transformer

WIDTH = HEADS * HEAD_WIDTH
RANK = 3
FRAMES, SIDE = 3, 2
TEMPORAL = torch.tensor([False, True, True, False])


def _angles() -> Tensor:
    """Rotary angles `(S, K / 2)` of a small clip: 8 channels for time, 4 for rows, 4 for columns."""
    f, y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (FRAMES, SIDE, SIDE)), indexing="ij")
    parts = []
    for place, channels in ((f, 8), (y, 4), (x, 4)):
        rates = 10000.0 ** (-torch.arange(0, channels, 2, dtype=torch.float64) / channels)
        parts.append(place.flatten()[:, None] * rates)
    return torch.cat(parts, 1)


def _turn(x_BSNK: Tensor) -> Tensor:
    """Rotary embedding as a product of complex numbers."""
    turned = (
        torch.view_as_complex(x_BSNK.unflatten(-1, (-1, 2)).contiguous())
        * torch.polar(torch.ones_like(_angles()), _angles())[None, :, None]
    )
    return torch.view_as_real(turned).flatten(-2)


def _dual_branch(attn: nn.Module, x_BSD: Tensor, changes: dict[str, dict[str, Tensor]], temporal_N: Tensor) -> Tensor:
    """Alg. 2 of arXiv 2506.05207: temporal heads first, two linear branches, norms permuted alike.

    `changes[group][module]` is a full `(O, I)` weight change, of which a branch uses its own rows or columns.
    """
    order = torch.cat([torch.where(temporal_N)[0], torch.where(~temporal_N)[0]])
    channels = (order[:, None] * HEAD_WIDTH + torch.arange(HEAD_WIDTH)).flatten()
    num_temporal = int(temporal_N.sum()) * HEAD_WIDTH
    branches = {"temporal": channels[:num_temporal], "spatial": channels[num_temporal:]}

    def project(module: str) -> Tensor:
        layer = attn.get_submodule(module)
        parts = []
        for group, rows in branches.items():
            weight = layer.weight + changes[group][module]
            parts.append(x_BSD @ weight[rows].T + layer.bias[rows])
        return torch.cat(parts, -1)

    def rms(x: Tensor, norm: nn.Module) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + norm.eps).sqrt() * norm.weight[channels]

    q, k, v = rms(project("to_q"), attn.norm_q), rms(project("to_k"), attn.norm_k), project("to_v")
    q, k, v = (part.unflatten(-1, (HEADS, HEAD_WIDTH)) for part in (q, k, v))
    logits = torch.einsum("bsnk,btnk->bnst", _turn(q), _turn(k)) / math.sqrt(HEAD_WIDTH)
    out = torch.einsum("bnst,btnk->bsnk", logits.softmax(-1), v).flatten(2)
    to_out = attn.get_submodule("to_out.0")
    parts = {"temporal": out[..., :num_temporal], "spatial": out[..., num_temporal:]}
    y = to_out.bias
    for group, columns in branches.items():
        y = y + parts[group] @ (to_out.weight + changes[group]["to_out.0"])[:, columns].T
    return y


@pytest.fixture
def transformer() -> nn.Module:
    return build_transformer().double()


def _changes(transformer: nn.Module, name: str) -> dict[str, Tensor]:
    layers = read_adapter(transformer, name)
    return {p.removeprefix("blocks.0.attn1."): (x.up_OR @ x.down_RI).double() for p, x in layers.items() if "s.0." in p}


def _fill(transformer: nn.Module, name: str, heads_N: Tensor, seed: int) -> None:
    """A trained-looking adapter: `up`, zero at first, gets numbers that float32 holds exactly, in its rows only."""
    masks = group_masks(heads_N.expand(BLOCKS, -1), HEAD_WIDTH)
    generator = torch.Generator().manual_seed(seed)
    add_group_adapter(transformer, name, masks, rank=RANK, generator=generator)
    with torch.no_grad():
        for path, module in transformer.named_modules():
            if path in masks:
                down, up = module.lora_A[name].weight, module.lora_B[name].weight
                fresh = torch.randint(-8, 9, up.shape, generator=generator) / 32
                up.copy_(fresh if path.endswith(COLUMN_MODULES) else fresh * masks[path][:, None])
                down.copy_((down * 16).round() / 16)


def _attend(transformer: nn.Module, x_BSD: Tensor) -> Tensor:
    cos, sin = (f(_angles()).repeat_interleave(2, 1)[None, :, None] for f in (torch.cos, torch.sin))
    with torch.no_grad():
        return transformer.blocks[0].attn1(x_BSD, None, None, (cos, sin))


def _input() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, FRAMES * SIDE**2, WIDTH, dtype=torch.float64, generator=generator)


def test_sliced_equals_dual_branch(transformer: nn.Module) -> None:
    """Both groups' LoRAs on q, k, v and o together, biases and norm weights included."""
    bare = _attend(transformer, _input())
    _fill(transformer, "spatial", ~TEMPORAL, 1)
    _fill(transformer, "temporal", TEMPORAL, 2)
    sliced = _attend(transformer, _input())
    changes = {group: _changes(transformer, group) for group in ("spatial", "temporal")}
    remove_adapters(transformer)
    dual = _dual_branch(transformer.blocks[0].attn1, _input(), changes, TEMPORAL)
    assert (sliced - dual).abs().max() < 1e-10
    assert (sliced - bare).abs().max() > 0.05


def test_dual_branch_without_lora_is_the_plain_attention(transformer: nn.Module) -> None:
    """The reference itself, against diffusers."""
    zero = {
        group: {m.removeprefix("attn1."): torch.zeros(WIDTH, WIDTH) for m in MODULES}
        for group in ("spatial", "temporal")
    }
    dual = _dual_branch(transformer.blocks[0].attn1, _input(), zero, TEMPORAL)
    assert (dual - _attend(transformer, _input())).abs().max() < 1e-12


def test_all_heads_is_plain_lora(transformer: nn.Module) -> None:
    """A group of all heads is W + BA on the four modules."""
    _fill(transformer, "motion", torch.ones(HEADS, dtype=torch.bool), 3)
    sliced = _attend(transformer, _input())
    changes = _changes(transformer, "motion")
    remove_adapters(transformer)
    with torch.no_grad():
        for module, change in changes.items():
            transformer.blocks[0].attn1.get_submodule(module).weight.add_(change)
    assert (sliced - _attend(transformer, _input())).abs().max() < 1e-10


def test_group_channels_are_whole_heads() -> None:
    mask = group_channels(torch.tensor([True, False, True]), 4)
    assert mask.tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_blocks_without_a_head_of_the_group_are_left_out() -> None:
    masks = group_masks(torch.tensor([[True, False], [False, False]]), 4)
    assert set(masks) == {f"blocks.0.{m}" for m in ROW_MODULES + COLUMN_MODULES}


def test_an_empty_group_attaches_nothing(transformer: nn.Module) -> None:
    before = _attend(transformer, _input())
    masks = group_masks(torch.zeros(BLOCKS, HEADS, dtype=torch.bool), HEAD_WIDTH)
    assert add_group_adapter(transformer, "spatial", masks, rank=RANK, generator=torch.Generator()) == {}
    assert torch.equal(before, _attend(transformer, _input()))
