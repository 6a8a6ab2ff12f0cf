"""Attention processors for Wan transformers: weighted text padding, and a look at self-attention maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from motion_transfer.model.rope import rotate

AttentionProbe = Callable[[int, Tensor, Tensor], None]


class WeightedTextProcessor:
    """Cross-attention to text whose tokens carry a logit bias; set `bias_BM` before the forward pass."""

    bias_BM: Tensor | None = None

    def __call__(
        self, attn: WanAttention, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any
    ) -> Tensor:
        """Same result as Wan's own processor on text padded to full length."""
        assert self.bias_BM is not None
        q = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        k = attn.norm_k(attn.to_k(encoder_hidden_states)).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        v = attn.to_v(encoder_hidden_states).unflatten(2, (attn.heads, -1)).transpose(1, 2)
        bias = self.bias_BM[:, None, None, :].to(q.dtype)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)  # (B, N, S, K)
        return attn.to_out[1](attn.to_out[0](out.transpose(1, 2).flatten(2)))


SMALL_TOKENS = 1024  # whose attention maps take 32 MiB for 8 heads


def small_attention(device: torch.device, num_tokens: int) -> AbstractContextManager:
    """Plain matrix-product attention for training on the CPU, of sequences whose whole maps are small.

    PyTorch's fused CPU attention spends most of its backward pass on overhead at a few hundred tokens: a training
    step on pictures takes 2.4 times as long with it, one on clips 1.1 times.
    """
    is_small = device.type == "cpu" and num_tokens <= SMALL_TOKENS
    return sdpa_kernel(SDPBackend.MATH) if is_small else nullcontext()


def same_attention() -> AbstractContextManager:
    """Attention as `small_attention` has it here and now, for a time when nobody says so any more."""
    is_small = not torch.backends.cuda.flash_sdp_enabled()
    return sdpa_kernel(SDPBackend.MATH) if is_small else nullcontext()


def weigh_text(transformer: WanTransformer3DModel) -> WeightedTextProcessor:
    """Gives all cross-attentions one shared `WeightedTextProcessor` and returns it."""
    processor = WeightedTextProcessor()
    for block in transformer.blocks:
        block.attn2.set_processor(processor)
    return processor


class _ProbingProcessor(WanAttnProcessor):
    """Self-attention that shows its rotated queries and keys to a probe, then goes on as usual."""

    def __init__(self, layer: int, probe: AttentionProbe) -> None:
        super().__init__()
        self.layer, self.probe = layer, probe

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        q_BSNK = attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1))
        k_BSNK = attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1))
        self.probe(self.layer, rotate(q_BSNK, *rotary_emb), rotate(k_BSNK, *rotary_emb))
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)


@contextmanager
def probed_self_attention(transformer: WanTransformer3DModel, probe: AttentionProbe) -> Iterator[None]:
    """While open, every forward pass shows `(layer, q_BSNK, k_BSNK)` of each self-attention to `probe`."""
    before = [block.attn1.processor for block in transformer.blocks]
    for layer, block in enumerate(transformer.blocks):
        block.attn1.set_processor(_ProbingProcessor(layer, probe))
    try:
        yield
    finally:
        for block, processor in zip(transformer.blocks, before, strict=True):
            block.attn1.set_processor(processor)
