"""A group of attention heads as channels of its block's weights.

A low-rank change confined to one group touches only the group's output rows of `to_q`, `to_k`, `to_v` and only
its input columns of `to_out.0`. That equals the paper's reordered two-branch block (arXiv 2506.05207, Alg. 2)
without permuting anything: RMSNorm, rotary embedding and softmax commute with a permutation of whole heads.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

ROW_MODULES = ("attn1.to_q", "attn1.to_k", "attn1.to_v")
COLUMN_MODULES = ("attn1.to_out.0",)
MODULES = ROW_MODULES + COLUMN_MODULES


def group_channels(heads_N: Tensor, head_width: int) -> Tensor:
    """Boolean channel mask `(N * K,)` of the heads set in `heads_N`."""
    return heads_N.bool().repeat_interleave(head_width)


def group_masks(heads_LN: Tensor, head_width: int, modules: Sequence[str] = MODULES) -> dict[str, Tensor]:
    """Channel masks by path of the given modules; blocks without a head in the group are left out."""
    masks = {}
    for layer, heads_N in enumerate(heads_LN):
        if heads_N.any():
            for module in modules:
                masks[f"blocks.{layer}.{module}"] = group_channels(heads_N, head_width)
    return masks
