"""Strength tokens: a number that tells self-attention how strong a control's motion should be.

LiON-style (arXiv 2507.05678 names a controllable token in a modified self-attention; its formulas are not public, so
these are ours). In each block of a token, per head with query q before rotary embedding,

    g = sigmoid(q . k / sqrt(K) + b)        o = attention + sum over tokens of g (v0 + s v1)

outside the softmax: a token takes no attention from the video, tokens don't see each other, and what one adds is
affine in its strength s. It comes in after the norms, for a number carried into a block by its input would be divided
out again by the block's LayerNorm.

Done by hooks on the query norm and the output projection, so that it goes with whichever processor computes attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from motion_transfer.errors import BadLora
from motion_transfer.types import StrengthToken, TokenBlock

KEY_SPREAD = 0.02  # of new keys


class BlockToken(nn.Module):
    """A token's part in one block, as parameters that can learn."""

    def __init__(self, block: TokenBlock) -> None:
        super().__init__()
        self.key_D, self.rest_D, self.slope_D, self.bias_N = (
            nn.Parameter(x.float().clone()) for x in (block.key_D, block.rest_D, block.slope_D, block.bias_N)
        )

    def forward(self, q_BSD: Tensor, strength_B: Tensor) -> Tensor:
        """What the token adds to the attention of queries, `(B, S, D)`."""
        num_heads = len(self.bias_N)
        q_BSNK = q_BSD.float().unflatten(-1, (num_heads, -1))
        key_NK = self.key_D.view(num_heads, -1)
        gate_BSN = torch.sigmoid((q_BSNK * key_NK).sum(-1) / key_NK.shape[1] ** 0.5 + self.bias_N)
        value_BNK = (self.rest_D + strength_B.view(-1, 1) * self.slope_D).unflatten(-1, (num_heads, -1))
        return (gate_BSN[..., None] * value_BNK[:, None]).flatten(2)

    def taken(self) -> TokenBlock:
        """A copy of the parameters, on the CPU."""
        parts = (self.key_D, self.rest_D, self.slope_D, self.bias_N)
        key, rest, slope, bias = (x.detach().float().cpu().clone() for x in parts)
        return TokenBlock(key_D=key, rest_D=rest, slope_D=slope, bias_N=bias)


def new_token(blocks: Sequence[int], num_heads: int, width: int, generator: torch.Generator) -> StrengthToken:
    """A token that adds nothing yet: random keys, no values, gates half open."""
    zero_D = torch.zeros(width)
    return StrengthToken(blocks={
        block: TokenBlock(key_D=KEY_SPREAD * torch.randn(width, generator=generator), rest_D=zero_D, slope_D=zero_D,
                          bias_N=torch.zeros(num_heads))
        for block in blocks
    })  # fmt: skip


class ActingToken:
    """A token at work in a transformer: its parameters by block, and how strong it is, one number or one a row."""

    def __init__(self, token: StrengthToken, device: torch.device) -> None:
        self.modules = {block: BlockToken(part).to(device) for block, part in token.blocks.items()}
        self.strength_B = torch.tensor([token.strength], device=device)
        self.share = token.share

    def parameters(self) -> dict[str, nn.Parameter]:
        """By name, `3.key_D`, in a fixed order."""
        return {f"{block}.{name}": parameter for block, module in sorted(self.modules.items())
                for name, parameter in module.named_parameters()}  # fmt: skip

    def taken(self) -> StrengthToken:
        """A copy of the parameters, at strength 1."""
        return StrengthToken(blocks={block: module.taken() for block, module in self.modules.items()})


class _Branch:
    """What tokens add to one block's self-attention."""

    def __init__(self, block: int, tokens: Sequence[ActingToken]) -> None:
        self.block, self.tokens = block, tokens
        self.q_BSD: Tensor | None = None

    def see_queries(self, _: nn.Module, __: object, q_BSD: Tensor) -> None:
        self.q_BSD = q_BSD

    def add(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        attention_BSD, q_BSD = inputs[0], self.q_BSD
        self.q_BSD = None
        assert q_BSD is not None
        for token in self.tokens:
            if token.share:
                added = token.modules[self.block](q_BSD, token.strength_B)
                attention_BSD = attention_BSD + (token.share * added).to(attention_BSD.dtype)
        return (attention_BSD, *inputs[1:])


def _check_fits(transformer: WanTransformer3DModel, blocks: Mapping[int, TokenBlock]) -> None:
    num_blocks, config = len(transformer.blocks), transformer.config
    wanted = (config.num_attention_heads * config.attention_head_dim, config.num_attention_heads)
    for number, block in blocks.items():
        found = (len(block.key_D), len(block.bias_N))
        if number >= num_blocks or found != wanted:
            raise BadLora(f"the LoRA's strength token is for block {number} of {found[0]} channels and {found[1]} "
                          f"heads, but this base has {num_blocks} blocks of {wanted[0]} and {wanted[1]}; use its own "
                          "base.")  # fmt: skip


@contextmanager
def tokens_at_work(
    transformer: WanTransformer3DModel, tokens: Sequence[StrengthToken]
) -> Iterator[tuple[ActingToken, ...]]:
    """While open, every pass feels the tokens; what it gives changes how strong they are, and can learn.

    Raises:
        BadLora: they were made for another base.
    """
    for token in tokens:
        _check_fits(transformer, token.blocks)
    acting = tuple(ActingToken(token, transformer.device) for token in tokens)
    hooks = []
    for number, block in enumerate(transformer.blocks):
        if here := [token for token in acting if number in token.modules]:
            branch = _Branch(number, here)
            hooks.append(block.attn1.norm_q.register_forward_hook(branch.see_queries))
            hooks.append(block.attn1.to_out[0].register_forward_pre_hook(branch.add))
    try:
        yield acting
    finally:
        for hook in hooks:
            hook.remove()


class Acting(Protocol):
    """What acts beside adapters, with a share of its own strength that others may set."""

    share: float


@contextmanager
def letting_through(tokens: Sequence[Acting]) -> Iterator[Callable[[float], None]]:
    """While open, what it gives sets the share of their own that all tokens act with."""
    own = [token.share for token in tokens]

    def act(share: float) -> None:
        for token, whole in zip(tokens, own, strict=True):
            token.share = share * whole

    try:
        yield act
    finally:
        act(1.0)
