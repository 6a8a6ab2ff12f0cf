"""The tokens of one clip, shared over processes: each has a part of them, and in self-attention a part of the heads.

DeepSpeed-Ulysses (arXiv 2309.14509, section 3.1): before self-attention an all-to-all trades parts of the tokens of
all heads for all tokens of a part of the heads, and another one trades them back; the rest of a block looks at each
token alone. PyTorch's `DTensor` does the trading, its gradient, and parts of unequal size. diffusers' own context
parallelism has no gradient where tokens or heads don't divide, needs a GPU, and doesn't know rotary tables or attention
processors that are exchanged while it is open, which learning does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import WanTransformer3DModel
from diffusers.models.transformers.transformer_wan import WanAttention, WanAttnProcessor
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Replicate, Shard

from motion_transfer.model.rope import rotate

TOKENS, HEADS = 1, 2  # axes of (B, S, N, K)


def _part(x: Tensor, mesh: DeviceMesh) -> Tensor:
    """This process's tokens of `(B, S, …)`; like `torch.chunk`, the last processes may have fewer, or none."""
    size = -(-x.shape[TOKENS] // mesh.size())
    first = min(mesh.get_local_rank() * size, x.shape[TOKENS])
    return x[:, first : first + size]


def _whole(part: Tensor, shape: tuple[int, ...], axis: int, mesh: DeviceMesh) -> DTensor:
    """All processes' parts along an axis as one tensor of this shape."""
    stride = torch.empty(shape, device="meta").stride()
    return DTensor.from_local(part.contiguous(), mesh, [Shard(axis)], run_check=False, shape=torch.Size(shape),
                              stride=stride)  # fmt: skip


def _traded(part: Tensor, shape: tuple[int, ...], axes: tuple[int, int], mesh: DeviceMesh) -> Tensor:
    """This process's part along the second axis, for its part along the first one."""
    before, after = axes
    return _whole(part, shape, before, mesh).redistribute(placements=[Shard(after)]).to_local()


class _SharedTokensProcessor(WanAttnProcessor):
    """Self-attention of this process's tokens to the tokens of all."""

    def __init__(self, mesh: DeviceMesh) -> None:
        super().__init__()
        self.mesh = mesh

    def __call__(
        self, attn: WanAttention, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None, rotary_emb: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Same result as Wan's own processor has for these tokens; the rotary tables are of all tokens."""
        assert rotary_emb is not None
        places = [_part(table, self.mesh) for table in rotary_emb]
        q_BSNK = rotate(attn.norm_q(attn.to_q(hidden_states)).unflatten(2, (attn.heads, -1)), *places)
        k_BSNK = rotate(attn.norm_k(attn.to_k(hidden_states)).unflatten(2, (attn.heads, -1)), *places)
        v_BSNK = attn.to_v(hidden_states).unflatten(2, (attn.heads, -1))
        batch, _, heads, width = q_BSNK.shape
        shape = (batch, rotary_emb[0].shape[TOKENS], heads, width)
        qkv = torch.cat([q_BSNK, k_BSNK, v_BSNK], -1)  # that they travel together
        qkv = _traded(qkv, (*shape[:-1], 3 * width), (TOKENS, HEADS), self.mesh)
        q, k, v = (x.transpose(1, 2) for x in qkv.chunk(3, -1))
        out = F.scaled_dot_product_attention(q, k, v) if q.shape[1] else v  # heads may be fewer than processes
        out = _traded(out.transpose(1, 2), shape, (HEADS, TOKENS), self.mesh)
        return attn.to_out[1](attn.to_out[0](out.flatten(2)))


class _Sharing:
    """Divides the tokens before the first block, brings them together after the last, and adds up gradients."""

    def __init__(self, transformer: WanTransformer3DModel, mesh: DeviceMesh) -> None:
        self.transformer, self.mesh = transformer, mesh
        self.processor = _SharedTokensProcessor(mesh)
        self.summed: dict[nn.Parameter, Any] = {}  # hooks

    @property
    def is_on(self) -> bool:
        """Whether tokens are shared; where somebody looks at self-attention, every process does it all."""
        return self.transformer.blocks[0].attn1.processor is self.processor

    def begin(self, *_: Any) -> None:
        """Before a pass: what learns in the blocks has its gradients added up, for each process sees its tokens'."""
        if not torch.is_grad_enabled():
            return
        assert self.is_on, "nothing learns while self-attention is looked at"
        for parameter in self.transformer.blocks.parameters():
            if parameter.requires_grad and parameter not in self.summed:
                self.summed[parameter] = parameter.register_hook(self.total)

    def total(self, gradient: Tensor) -> Tensor:
        """The sum over all processes."""
        gradient = gradient.clone()
        distributed.all_reduce(gradient, group=self.mesh.get_group())
        return gradient

    def divide(self, _: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Before the first block."""
        return (_part(args[0], self.mesh), *args[1:]) if self.is_on else None

    def gather(self, _: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor | None:
        """After the last block: everybody has all tokens, and goes on with the same loss."""
        if not self.is_on:
            return None
        num_tokens = args[3][0].shape[TOKENS]  # of the rotary tables
        shape = (out.shape[0], num_tokens, out.shape[2])
        return _whole(out, shape, TOKENS, self.mesh).full_tensor(grad_placements=[Replicate()])


@contextmanager
def shared_tokens(transformer: WanTransformer3DModel, mesh: DeviceMesh) -> Iterator[None]:
    """While open, every pass is shared by the processes of a mesh, which must all make it with the same inputs.

    Each gets the whole output, and after the backward pass the whole gradients of what learns in the blocks. Passes
    whose self-attention somebody else looks at are made whole by each.

    Args:
        transformer: the same weights in every process.
        mesh: of one axis.
    """
    if mesh.device_type == "cpu":  # where everything is sent to everybody, and each process says so
        logging.getLogger("torch.distributed.tensor._collective_utils").setLevel(logging.ERROR)
    sharing = _Sharing(transformer, mesh)
    before = [block.attn1.processor for block in transformer.blocks]
    hooks = [
        transformer.register_forward_pre_hook(sharing.begin),
        transformer.blocks[0].register_forward_pre_hook(sharing.divide),
        transformer.blocks[-1].register_forward_hook(sharing.gather),
    ]
    for block in transformer.blocks:
        block.attn1.set_processor(sharing.processor)
    try:
        yield
    finally:
        for block, processor in zip(transformer.blocks, before, strict=True):
            block.attn1.set_processor(processor)
        for hook in (*hooks, *sharing.summed.values()):
            hook.remove()
