"""Strength tokens as text, for a LoRA file's header: safetensors in base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import torch
from safetensors.torch import load, save

from motion_transfer.types import StrengthToken, TokenBlock

_PARTS = ("key_D", "rest_D", "slope_D", "bias_N")
_LAST_BLOCK = 4096


def write_tokens(tokens: Sequence[StrengthToken]) -> str:
    """The tokens as text; `read_tokens` brings them back to the bit."""
    tensors = {}
    for number, token in enumerate(tokens):
        tensors[f"{number}.set"] = torch.tensor([token.strength, token.share])
        for block, parts in token.blocks.items():
            for part in _PARTS:
                tensors[f"{number}.{block}.{part}"] = getattr(parts, part).float().contiguous().clone()
    return base64.b64encode(save(tensors)).decode()


def read_tokens(text: str) -> tuple[StrengthToken, ...]:
    """The tokens in a text.

    Raises:
        ValueError, SafetensorError: there are none in it, parts are missing, or numbers are not finite.
    """
    tensors = {name: tensor.float() for name, tensor in load(base64.b64decode(text, validate=True)).items()}
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise ValueError("a strength token holds infinite or undefined numbers")
    found: dict[int, dict[int, dict[str, torch.Tensor]]] = {}
    for name, tensor in tensors.items():
        number, _, place = name.partition(".")
        blocks = found.setdefault(int(number), {})
        if place != "set":
            block, _, part = place.partition(".")
            blocks.setdefault(int(block), {})[part] = tensor
    tokens = []
    for number, blocks in sorted(found.items()):
        whole = all(set(parts) == set(_PARTS) for parts in blocks.values())
        if f"{number}.set" not in tensors or not whole or any(not 0 <= block < _LAST_BLOCK for block in blocks):
            raise ValueError("a strength token lacks some of its parts")
        if any(not _is_token(parts) for parts in blocks.values()):
            raise ValueError("a strength token's parts don't fit together")
        strength, share = tensors[f"{number}.set"].tolist()
        tokens.append(StrengthToken(blocks={block: TokenBlock(**parts) for block, parts in sorted(blocks.items())},
                                    strength=strength, share=share))  # fmt: skip
    return tuple(tokens)


def _is_token(parts: dict[str, torch.Tensor]) -> bool:
    shapes = {parts[name].shape for name in _PARTS[:3]}
    flat = all(part.ndim == 1 for part in parts.values())
    return flat and len(shapes) == 1 and len(parts["bias_N"]) > 0 and len(parts["key_D"]) % len(parts["bias_N"]) == 0
