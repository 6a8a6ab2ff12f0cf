"""Strength tokens: idle ones change nothing, acting ones add what is affine in their strength, each by itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from motion_transfer.errors import BadLora
from motion_transfer.model.base import VideoBase
from motion_transfer.model.strength import letting_through, new_token, tokens_at_work
from motion_transfer.types import StrengthToken, TokenBlock
from tests.conftest import BLOCKS, HEAD_WIDTH, HEADS
from tests.methods.tuning import velocity

WIDTH = HEADS * HEAD_WIDTH


def _token(seed: int, blocks: tuple[int, ...] = (0, 1), strength: float = 1.0) -> StrengthToken:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return StrengthToken(strength=strength, blocks={
        block: TokenBlock(key_D=draw(WIDTH), rest_D=draw(WIDTH), slope_D=draw(WIDTH), bias_N=draw(HEADS))
        for block in blocks
    })  # fmt: skip


def _attention(base: VideoBase, *tokens: StrengthToken) -> Tensor:
    """What goes into the first block's output projection."""
    seen: list[Tensor] = []
    with tokens_at_work(base.transformer, tokens):
        out = base.transformer.blocks[0].attn1.to_out[0]
        hook = out.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].clone()))
        velocity(base)
        hook.remove()
    return seen[0]


def test_new_and_silent_tokens_change_nothing(tiny_base):
    bare = velocity(tiny_base)
    new = new_token((0, 1), HEADS, WIDTH, torch.Generator().manual_seed(0))
    with tokens_at_work(tiny_base.transformer, [new]):
        assert torch.equal(velocity(tiny_base), bare)
    with tokens_at_work(tiny_base.transformer, [_token(1)]) as tokens:
        assert not torch.equal(velocity(tiny_base), bare)
        strong = velocity(tiny_base)
        with letting_through(tokens) as act:
            act(0.0)
            assert torch.equal(velocity(tiny_base), bare)
        assert torch.equal(velocity(tiny_base), strong)
    assert torch.equal(velocity(tiny_base), bare)


def test_what_a_token_adds_is_affine_in_its_strength(tiny_base):
    ends = [_attention(tiny_base, _token(1, strength=s)) for s in (0.0, 0.5, 1.0)]
    assert (ends[2] - ends[0]).abs().max() > 0.1
    torch.testing.assert_close(ends[1], (ends[0] + ends[2]) / 2, atol=1e-6, rtol=0)


def test_what_a_token_adds_does_not_hang_on_the_others(tiny_base):
    def change(other: float) -> Tensor:
        a, b = (_attention(tiny_base, _token(1, strength=s), _token(2, strength=other)) for s in (0.0, 1.0))
        return b - a

    torch.testing.assert_close(change(-1.0), change(1.0), atol=1e-5, rtol=0)


def test_the_formula(tiny_base):
    token, block = _token(3, blocks=(0,), strength=0.7), tiny_base.transformer.blocks[0].attn1
    queries: list[Tensor] = []
    hook = block.norm_q.register_forward_hook(lambda _, __, q: queries.append(q))
    added = _attention(tiny_base, token) - _attention(tiny_base)
    hook.remove()
    part = token.blocks[0]
    for head in range(HEADS):
        own = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
        gate = torch.sigmoid(queries[0][..., own] @ part.key_D[own] / HEAD_WIDTH**0.5 + part.bias_N[head])
        value = part.rest_D[own] + 0.7 * part.slope_D[own]
        torch.testing.assert_close(added[..., own], gate[..., None] * value, atol=1e-5, rtol=0)


def test_each_row_can_have_its_own_strength(tiny_base):
    z = torch.randn(2, 4, 5, 4, 4, generator=torch.Generator().manual_seed(1))
    sigma, text = torch.full((2,), 0.6), tiny_base.text.encode(["a red square"])
    with torch.no_grad(), tokens_at_work(tiny_base.transformer, [_token(1)]) as (token,):
        token.strength_B = torch.tensor([0.2, -0.8])
        together = tiny_base.velocity(z, sigma, text)
        for row, strength in enumerate((0.2, -0.8)):
            token.strength_B = torch.tensor([strength])
            alone = tiny_base.velocity(z[row : row + 1], sigma[:1], text)
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=0)


def test_a_token_of_another_base_is_refused(tiny_base):
    for token in (_token(0, blocks=(BLOCKS,)), new_token((0,), HEADS, 2 * WIDTH, torch.Generator())):
        with pytest.raises(BadLora, match="use its own base"), tokens_at_work(tiny_base.transformer, [token]):
            pass
