"""Bases opened by several processes: whole in each, or with every process holding its part of the weights.

FSDP (arXiv 2304.11277) brings a block's weights together where it is their turn and lets go of them again. Adapters
that are attached later are none of its business: every process has them whole.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from motion_transfer.errors import BadSpec
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.base import VideoBase, check_precision, open_base
from motion_transfer.model.catalog import BaseSpec
from motion_transfer.model.first_rank import FirstRankCodec, FirstRankText, Same
from motion_transfer.model.text import VisitingTextEncoder

WHOLE_NUMBERS = ("bf16", "fp32")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outline:
    """A base without its weights, as the first process tells the others."""

    spec: BaseSpec
    transformer: dict[str, Any]
    weights: dict[str, Tensor]
    vae: dict[str, Any]
    tokenizer: Any
    scheduler: UniPCMultistepScheduler
    dtype: torch.dtype
    hash: str


def _outline(base: VideoBase) -> _Outline:
    return _Outline(
        spec=base.spec,
        transformer=dict(base.transformer.config),
        weights={name: weight.to("meta") for name, weight in base.transformer.state_dict().items()},
        vae=dict(base.codec.vae.config),
        tokenizer=base.text.tokenizer,
        scheduler=base.scheduler,
        dtype=base.dtype,
        hash=base.hash,
    )


def by_first_rank(base: VideoBase, device: torch.device, same: Same) -> VideoBase:
    """The base with a codec and a text encoder that compute in the first process, on its device."""
    codec = FirstRankCodec(base.codec.vae, device, cache=base.codec._cache, name=base.hash, same=same)
    text = FirstRankText(base.text, tokenizer=base.text.tokenizer, device=device, same=same)
    return replace(base, codec=codec, text=text, device=device)


def _sharded(outline: _Outline, weights: dict[str, Any], mesh: DeviceMesh) -> WanTransformer3DModel:
    """A transformer of which each process holds its part.

    Args:
        outline: of the base.
        weights: all of them in the first process, none in the others.
        mesh: the processes.
    """
    with init_empty_weights(include_buffers=False):
        transformer = WanTransformer3DModel.from_config(outline.transformer)
    transformer.load_state_dict(outline.weights, assign=True)  # for their types; they are empty still
    transformer.eval().requires_grad_(False)
    tables = {name: table.clone() for name, table in transformer.named_buffers()}
    # velocity() changes nothing in place, which is what FSDP warns of at every pass.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    for block in transformer.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(transformer, mesh=mesh)
    transformer.to_empty(device=mesh.device_type)
    whole_from_first = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_model_state_dict(transformer, weights, options=whole_from_first)
    for name, table in transformer.named_buffers():
        table.copy_(tables[name])
    return transformer


def open_sharded(name: str, *, precision: str, device: torch.device, mesh: DeviceMesh, same: Same) -> VideoBase:
    """Opens a base in the first process, which gives every process its part of the transformer's weights.

    No more than one whole transformer is in memory at any time, on the first process's machine; the others need no
    files of the base.

    Args:
        name: see `open_base`.
        precision: "bf16" or "fp32".
        device: where this process computes.
        mesh: the processes.
        same: tells the others what the first one knows.

    Raises:
        BadSpec: the weights are to be in few bits.
        MissingWeights: no such base, or its folder is incomplete.
    """
    check_precision(precision)
    if precision not in WHOLE_NUMBERS:
        raise BadSpec(f"weights are divided among processes as bf16 or fp32, but {precision} is asked for, whose "
                      "numbers don't come one by one; choose bf16.")  # fmt: skip
    is_first = mesh.get_rank() == 0
    base = open_base(name, precision=precision, device="cpu") if is_first else None
    outline = same(lambda: _outline(base))  # type: ignore[arg-type]
    transformer = _sharded(outline, base.transformer.state_dict() if base else {}, mesh)
    if base is not None and isinstance(base.text, VisitingTextEncoder):
        base.text.device = device  # where it runs if there is room
    parts: dict[str, Any] = {"transformer": transformer, "text_attention": weigh_text(transformer), "device": device}
    if base is not None:
        return replace(by_first_rank(base, device, same), **parts)
    with torch.device("meta"):
        vae = AutoencoderKLWan.from_config(outline.vae)
    return VideoBase(
        spec=outline.spec,
        codec=FirstRankCodec(vae, device, cache=None, name=outline.hash, same=same),
        text=FirstRankText(None, tokenizer=outline.tokenizer, device=device, same=same),
        scheduler=outline.scheduler,
        dtype=outline.dtype,
        precision=precision,
        hash=outline.hash,
        **parts,
    )
