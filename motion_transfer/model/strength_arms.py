"""Other ways for a strength to reach the network, to be compared with: they can't be kept in a file.

- "sequence": a control's token is one more key and value of its blocks' self-attention, in the softmax with the
  video's; its value is affine in the strength. Conditions that never query are EasyControl's idea (arXiv 2503.07027).
- "modulation": a small network of the strength adds to what the time step tells every block, as motion buckets do
  (Stable Video Diffusion, arXiv 2311.15127, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor, nn

from motion_transfer.model.rope import rotate
from motion_transfer.model.strength import KEY_SPREAD


class SequenceProcessor(WanAttnProcessor):
    """Self-attention of the video to itself and to one token more, whose value is affine in the strength.

    The key is not rotated, so that it lies nowhere in space and time.
    """

    def __init__(
        self, num_heads: int, head_width: int, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        shape = (num_heads, head_width)
        self.key_NK = nn.Parameter((KEY_SPREAD * torch.randn(shape, generator=generator)).to(device))
        self.rest_NK, self.slope_NK = (nn.Parameter(torch.zeros(shape, device=device)) for _ in range(2))
        self.strength_B, self.share = torch.ones(1), 1.0

    def parameters(self) -> list[nn.Parameter]:
        """All that learns."""
        return [self.key_NK, self.rest_NK, self.slope_NK]

    def __call__(
        self, attn: WanAttention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """As Wan's own processor, with the token behind the keys and values."""
        assert rotary_emb is not None
        batch = hidden_states.shape[0]
        q_BSNK = rotate(attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1)), *rotary_emb)
        k_BSNK = rotate(attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1)), *rotary_emb)
        v_BSNK = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        value_BNK = self.rest_NK + self.strength_B.view(-1, 1, 1) * self.slope_NK
        key_B1NK = self.key_NK.expand(batch, 1, -1, -1).to(k_BSNK.dtype)
        value_B1NK = value_BNK[:, None].expand(batch, -1, -1, -1).to(v_BSNK.dtype)
        k, v = k_BSNK, v_BSNK
        if self.share:
            k, v = torch.cat([k, key_B1NK], 1), torch.cat([v, value_B1NK], 1)
        out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q_BSNK, k, v)))
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))


class Modulation(nn.Module):
    """What a strength adds to the time step's projection, `(B, 6 D)`; nothing at first."""

    def __init__(self, width: int, generator: torch.Generator, hidden: int = 32) -> None:
        super().__init__()
        self.into = nn.Parameter(torch.randn(1, hidden, generator=generator))
        self.bend = nn.Parameter(torch.randn(hidden, generator=generator))
        self.out = nn.Parameter(torch.zeros(hidden, 6 * width))
        self.strength_B, self.share = torch.ones(1), 1.0

    def forward(self, projection_BD: Tensor) -> Tensor:
        """The projection with the strength's share added."""
        added = F.silu(self.strength_B.view(-1, 1) * self.into + self.bend) @ self.out
        return projection_BD + (self.share * added).to(projection_BD.dtype)


class OtherArm:
    """An arm at work: what learns in it, and how strong it is."""

    def __init__(self, parts: Sequence[SequenceProcessor | Modulation]) -> None:
        self.parts = list(parts)

    @property
    def share(self) -> float:
        """How much of its effect is let through; a token in the sequence is there or it is not."""
        return self.parts[0].share

    @share.setter
    def share(self, share: float) -> None:
        for part in self.parts:
            part.share = share

    def parameters(self) -> list[nn.Parameter]:
        """All that learns."""
        return [parameter for part in self.parts for parameter in part.parameters()]

    def feel(self, strength_B: Tensor) -> None:
        """Lets the next pass feel a strength, one number or one a row."""
        for part in self.parts:
            part.strength_B = strength_B


@contextmanager
def sequence_arm(
    transformer: WanTransformer3DModel, blocks: Sequence[int], generator: torch.Generator
) -> Iterator[OtherArm]:
    """While open, these blocks' self-attention has a token in its sequence."""
    config, before = transformer.config, {block: transformer.blocks[block].attn1.processor for block in blocks}
    parts = [
        SequenceProcessor(config.num_attention_heads, config.attention_head_dim, generator, transformer.device)
        for _ in blocks
    ]
    for block, part in zip(blocks, parts, strict=True):
        transformer.blocks[block].attn1.set_processor(part)
    try:
        yield OtherArm(parts)
    finally:
        for block, processor in before.items():
            transformer.blocks[block].attn1.set_processor(processor)


@contextmanager
def modulation_arm(transformer: WanTransformer3DModel, generator: torch.Generator) -> Iterator[OtherArm]:
    """While open, the time step's projection carries the strength to every block."""
    config = transformer.config
    part = Modulation(config.num_attention_heads * config.attention_head_dim, generator).to(transformer.device)

    def add(_: nn.Module, __: object, out: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (out[0], part(out[1]), *out[2:])

    hook = transformer.condition_embedder.register_forward_hook(add)
    try:
        yield OtherArm([part])
    finally:
        hook.remove()
