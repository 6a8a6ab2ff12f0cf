"""What a LoRA file holds, and who will misread it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from motion_transfer.lora.algebra import ALWAYS_RANK, CURVE, norm
from motion_transfer.lora.files import LoraFile
from motion_transfer.lora.heads import COLUMN_MODULES, ROW_MODULES
from motion_transfer.lora.layouts import COMFYUI, DIFFSYNTH, DIFFUSERS, KOHYA, LYCORIS, PEFT, VIDEOX_FUN
from motion_transfer.types import Lora, LowRank

# By the transformer's width: which model, and how wide a self-attention head of it is.
KNOWN = {256: ("nano", 32), 1536: ("Wan2.1-T2V-1.3B", 128), 3072: ("Wan2.2-TI2V-5B", 128),
         5120: ("Wan2.1-T2V-14B or another 14B", 128)}  # fmt: skip
_OF_EVERY_BLOCK = (*(f"attn{i}.to_{x}" for i in (1, 2) for x in ("q", "k", "v", "out.0")), "ffn.net.0.proj",
                   "ffn.net.2")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Checkup:
    """Facts of a LoRA file.

    Attributes:
        layout: whose key names it has.
        base: what it was made for, as its recipe says or its shapes suggest; empty if neither does.
        is_guess: whether the base was read off the shapes.
        ranks: of its layers, rising, each once.
        num_blocks: how many transformer blocks it changes.
        modules: by the module's name in a block, in how many blocks it is changed.
        heads: self-attention heads that it changes, and all there are in its blocks; None if it changes none.
        norms: Frobenius norm of each layer's change.
        unread: keys that nothing was made of.
        misread_by: sentences about tools that will read it wrongly or not at all.
    """

    layout: str
    base: str
    is_guess: bool
    ranks: tuple[int, ...]
    num_blocks: int
    modules: Mapping[str, int]
    heads: tuple[int, int] | None
    norms: Mapping[str, float]
    unread: tuple[str, ...]
    misread_by: tuple[str, ...]

    def block_norms(self) -> dict[int, float]:
        """Frobenius norm of all changes of each transformer block, by its number, in order."""
        squares: dict[int, float] = {}
        for name, size in self.norms.items():
            block = _split(name)[0]
            if block.isdigit():
                squares[int(block)] = squares.get(int(block), 0.0) + size**2
        return {block: math.sqrt(square) for block, square in sorted(squares.items())}


def _split(name: str) -> tuple[str, str]:
    """A module's block, empty outside of the blocks, and its name there."""
    first, _, rest = name.partition(".")
    if first != "blocks":
        return "", name
    block, _, module = rest.partition(".")
    return block, module


def _width(lora: Lora) -> int | None:
    """Channels of the transformer, as the self-attention's shapes say."""
    for name, layer in lora.layers.items():
        module = _split(name)[1]
        if module.startswith(("attn1.", "attn2.to_q", "attn2.to_out")):
            return int(layer.down_RI.shape[1])
        if module == "ffn.net.2":
            return int(layer.up_OR.shape[0])
    return None


def _base(lora: Lora) -> tuple[str, bool]:
    """What a LoRA was made for, and whether that is a guess."""
    if lora.info.get("base"):
        return str(lora.info["base"]), False
    return KNOWN.get(_width(lora) or 0, ("", 0))[0], True


def _heads(lora: Lora) -> tuple[int, int] | None:
    """Self-attention heads that any of a block's layers changes, and all in those blocks."""
    touched: dict[str, set[int]] = {}
    width = _width(lora) or 0
    head_width = KNOWN.get(width, ("", 0))[1]
    if not head_width:
        return None
    for name, layer in lora.layers.items():
        block, module = _split(name)
        if module not in ROW_MODULES + COLUMN_MODULES:
            continue
        changed = layer.up_OR.ne(0).any(1) if module in ROW_MODULES else layer.down_RI.ne(0).any(0)
        touched.setdefault(block, set()).update((changed.nonzero().flatten() // head_width).tolist())
    return (sum(map(len, touched.values())), len(touched) * (width // head_width)) if touched else None


def _is_partial(layers: Mapping[str, LowRank]) -> bool:
    """Whether a block lacks an attention or feed-forward layer."""
    blocks = {block for block, _ in map(_split, layers) if block}
    return any(f"blocks.{block}.{module}" not in layers for block in blocks for module in _OF_EVERY_BLOCK)


def _warnings(file: LoraFile) -> Iterator[str]:
    layers, info = file.lora.layers, file.lora.info
    if file.lora.tokens:
        yield "Other tools don't read its strength token, and show its motion at a strength of their own."
    if CURVE in info:
        yield "Other tools don't read its curve: their weight of it is less even in motion than the slider here."
    if info.get(ALWAYS_RANK):
        yield "Other tools scale all of it by their weight, also the part that should act at any strength."
    if file.layout == DIFFUSERS and any(".attn1." in name for name in layers):
        yield "ComfyUI-WanVideoWrapper takes its self-attention layers for cross-attention; give it the ComfyUI layout."
    if file.layout == KOHYA and _is_partial(layers):
        yield "diffusers refuses this layout unless every attention and feed-forward layer is there."
    if file.layout == VIDEOX_FUN:
        yield "diffusers takes this layout for kohya's and misreads it."
    if file.layout in (DIFFSYNTH, PEFT, LYCORIS):
        yield f"diffusers does not read the {file.layout} layout."
    if file.layout not in (COMFYUI, DIFFUSERS, KOHYA, LYCORIS):
        yield f"ComfyUI may not read the {file.layout} layout; convert it to the ComfyUI one."


def examine(file: LoraFile) -> Checkup:
    """Facts of a LoRA file, as it was read."""
    lora, (base, is_guess) = file.lora, _base(file.lora)
    split = [_split(name) for name in lora.layers]
    modules: dict[str, int] = {}
    for _, module in split:
        modules[module] = modules.get(module, 0) + 1
    return Checkup(
        layout=file.layout,
        base=base,
        is_guess=is_guess,
        ranks=tuple(sorted({layer.down_RI.shape[0] for layer in lora.layers.values()})),
        num_blocks=len({block for block, _ in split if block}),
        modules=modules,
        heads=_heads(lora),
        norms={name: norm(layer) for name, layer in lora.layers.items()},
        unread=file.unread,
        misread_by=tuple(_warnings(file)),
    )
