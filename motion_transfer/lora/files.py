"""LoRA files: safetensors in the layouts that Wan tools use.

Written in diffusers layout (`transformer.blocks.N.attn1.to_q.lora_A.weight`), which stock
`WanPipeline.load_lora_weights` reads; ComfyUI's layout (`diffusion_model.blocks.N.self_attn.q…`) is read too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from motion_transfer.atomic import replacing
from motion_transfer.errors import BadLora
from motion_transfer.types import FPS_RANGE, Lora, LowRank

RECIPE = "motion_transfer"
_COMFY = {"self_attn.q": "attn1.to_q", "self_attn.k": "attn1.to_k", "self_attn.v": "attn1.to_v",
          "self_attn.o": "attn1.to_out.0", "cross_attn.q": "attn2.to_q", "cross_attn.k": "attn2.to_k",
          "cross_attn.v": "attn2.to_v", "cross_attn.o": "attn2.to_out.0", "ffn.0": "ffn.net.0.proj",
          "ffn.2": "ffn.net.2"}  # fmt: skip
_KEY = re.compile(
    r"^(?:transformer\.|diffusion_model\.)?(blocks\.\d+\.[\w.]+?)"
    r"\.(lora_A|lora_B|lora_down|lora_up|alpha)(?:\.weight)?$"
)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file.

    Raises:
        OSError: the disk does not take it; the library's own error is none.
    """
    try:
        save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error


def save_lora(lora: Lora, path: Path) -> None:
    """Writes a LoRA with its recipe in the header; the old file, if any, is replaced in one step.

    Raises:
        OSError: the disk does not take it.
    """
    tensors = {}
    for name in sorted(lora.layers):
        tensors[f"transformer.{name}.lora_A.weight"] = lora.layers[name].down_RI.float().contiguous()
        tensors[f"transformer.{name}.lora_B.weight"] = lora.layers[name].up_OR.float().contiguous()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        # One key only: safetensors writes several in random order, and the same LoRA must give the same bytes.
        write_tensors(tensors, partial, {RECIPE: json.dumps(dict(lora.info), sort_keys=True)})


def _module_path(name: str) -> str:
    block, _, rest = name.partition(".")[2].partition(".")
    return f"blocks.{block}.{_COMFY.get(rest, rest)}"


def _collect(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    parts: dict[str, dict[str, Tensor]] = {}
    with safe_open(str(path), framework="pt") as handle:
        recipe = json.loads((handle.metadata() or {}).get(RECIPE, "{}"))
        if not isinstance(recipe, dict):
            raise BadLora(f"expected a recipe of named facts, but {path.name} holds {recipe!r:.80}; export it again.")
        for key in handle.keys():  # noqa: SIM118 - safe_open is no mapping
            match = _KEY.match(key)
            if match is None:
                raise BadLora(f"expected Wan LoRA keys such as blocks.0.attn1.to_q.lora_A.weight, but {path.name} "
                              f"holds {key[:80]}; convert it to diffusers or ComfyUI layout.")  # fmt: skip
            kind = {"lora_down": "lora_A", "lora_up": "lora_B"}.get(match[2], match[2])
            parts.setdefault(_module_path(match[1]), {})[kind] = handle.get_tensor(key).float()
    return parts, recipe


def _unpaired(name: str, path: Path) -> BadLora:
    return BadLora(f"{name} in {path.name} has no matching pair of matrices; export the LoRA again.")


def load_lora(path: Path) -> Lora:
    """Reads a LoRA file; `alpha` is folded into `up`.

    Raises:
        BadLora: not a safetensors file, unknown keys, missing halves, wrong shapes or non-finite numbers.
    """
    if not path.is_file():
        raise BadLora(f"expected a LoRA file, but there is none at {path}; check the name.")
    try:
        parts, recipe = _collect(path)
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise BadLora(
            f"expected a safetensors LoRA, but {path.name} can't be read ({error}); export it again."
        ) from error
    layers = {}
    for name, found in parts.items():
        down, up = found.get("lora_A"), found.get("lora_B")
        if down is None or up is None or down.ndim != 2 or up.ndim != 2:
            raise _unpaired(name, path)
        if down.shape[0] != up.shape[1] or 0 in (*down.shape, *up.shape):
            raise _unpaired(name, path)
        alpha = found.get("alpha", torch.tensor(float(down.shape[0]))).reshape(-1)
        if not all(torch.isfinite(x).all() for x in (down, up, alpha)) or len(alpha) != 1:
            raise BadLora(f"{name} in {path.name} holds infinite or undefined numbers; the file is broken, tune again.")
        layers[name] = LowRank(down_RI=down, up_OR=up * (float(alpha) / down.shape[0]))
    if not layers:
        raise BadLora(f"expected LoRA weights, but {path.name} holds none; choose another file.")
    fps = recipe.get("clip_fps", 1.0)
    if not isinstance(fps, int | float) or not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        raise BadLora(f"expected a frame rate in the recipe of {path.name}, but got {fps!r}; tune the clip again.")
    return Lora(layers=layers, info=recipe)
