"""Transformers of Wan2.1's shapes with random weights, to measure time and memory where no weights are at hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import WanTransformer3DModel

LATENT_CHANNELS = 16


@dataclass(frozen=True, kw_only=True)
class WanShape:
    """What differs between Wan2.1's sizes (arXiv 2503.20314, table 2)."""

    num_blocks: int
    num_heads: int
    hidden: int  # of the feed-forward layers
    head_width: int = 128

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.num_heads * self.head_width


WAN_SHAPES = {
    "1.3b": WanShape(num_blocks=30, num_heads=12, hidden=8960),
    "14b": WanShape(num_blocks=40, num_heads=40, hidden=13824),
}


def shape_of(transformer: WanTransformer3DModel) -> WanShape:
    """The shape of a transformer."""
    config = transformer.config
    return WanShape(num_blocks=config.num_layers, num_heads=config.num_attention_heads, hidden=config.ffn_dim,
                    head_width=config.attention_head_dim)  # fmt: skip


def random_transformer(
    shape: WanShape, *, text_width: int = 4096, num_blocks: int | None = None, seed: int = 0
) -> WanTransformer3DModel:
    """A transformer that learns nothing of its own, in float32.

    Args:
        shape: one of `WAN_SHAPES`.
        text_width: of the text states; Wan's own by default.
        num_blocks: fewer than the shape has, where a part tells enough.
        seed: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer = WanTransformer3DModel(
            num_layers=shape.num_blocks if num_blocks is None else num_blocks,
            num_attention_heads=shape.num_heads,
            attention_head_dim=shape.head_width,
            ffn_dim=shape.hidden,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            text_dim=text_width,
            qk_norm="rms_norm_across_heads",
            cross_attn_norm=True,
        )
    return transformer.eval().requires_grad_(False)
