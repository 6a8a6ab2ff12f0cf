"""LoRA files: safetensors in the layouts that Wan tools use.

All of `layouts` are read. Written are diffusers' own, which stock `WanPipeline.load_lora_weights` reads, and ComfyUI's,
which most other tools read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from motion_transfer.atomic import replacing
from motion_transfer.errors import BadLora
from motion_transfer.lora.algebra import ALWAYS_RANK, CURVE, is_curve
from motion_transfer.lora.layouts import ALPHA, COMFYUI, DIFFUSERS, DORA, PEFT, Key, layout_of, read_key
from motion_transfer.lora.names import first_name
from motion_transfer.lora.parts import Scaling, combined
from motion_transfer.lora.token_text import read_tokens, write_tokens
from motion_transfer.types import FPS_RANGE, Lora, LowRank

RECIPE = "motion_transfer"
TOKENS = "motion_transfer_tokens"
ADAPTER_METADATA = "lora_adapter_metadata"  # diffusers'
ADAPTER_CONFIG = "adapter_config.json"  # peft's, beside its file
WRITTEN = (DIFFUSERS, COMFYUI)
_WHOLE_CHANGES = {"diff": "weight", "diff_b": "bias"}


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """What was found in a file: the LoRA, whose layout it has, and the keys that no part of it came from.

    `whole` are whole changes of weights and biases by the parameter's path, where they were asked for.
    """

    lora: Lora
    layout: str
    unread: tuple[str, ...] = ()
    whole: Mapping[str, Tensor] = field(default_factory=dict)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes a safetensors file; the same content gives the same bytes, however many facts the metadata has.

    Raises:
        OSError: the disk does not take it; the library's own error is none.
    """
    try:
        save_file(dict(tensors), path, metadata=dict(metadata))
    except SafetensorError as error:
        raise OSError(str(error)) from error
    if len(metadata) > 1:
        _sort_metadata(path)


def _sort_metadata(path: Path) -> None:
    """Puts the facts of a header in order, which the library writes in a random one; their length stays."""
    with open(path, "r+b") as handle:
        size = int.from_bytes(handle.read(8), "little")
        header = json.loads(handle.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= size, "the same facts take the same room"
        handle.seek(8)
        handle.write(text.ljust(size))


def _peft_facts(lora: Lora) -> str:
    """Ranks as diffusers keeps them in a header; alpha equals them, for there is no other scale."""
    ranks = {name: layer.down_RI.shape[0] for name, layer in sorted(lora.layers.items())}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    others = {name: rank for name, rank in ranks.items() if rank != usual}
    facts = {"r": usual, "lora_alpha": usual, "rank_pattern": others, "alpha_pattern": others,
             "target_modules": list(ranks), "bias": "none"}  # fmt: skip
    return json.dumps({f"transformer.{name}": value for name, value in facts.items()}, sort_keys=True)


def _trainers_facts(lora: Lora) -> dict[str, str]:
    """Facts under the names that trainers and model sites look for (kohya's `ss_`, `modelspec`); what is not known is
    left out.
    """
    info, spec = lora.info, lora.info.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    rank = max(layer.down_RI.shape[0] for layer in lora.layers.values())
    steps = [spec[name] for name in ("spatial_steps", "temporal_steps") if name in spec]
    facts = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "wan2.1",
        "modelspec.implementation": "diffusers",
        "modelspec.title": info.get("name"),
        "modelspec.description": info.get("caption"),
        "ss_base_model_version": info.get("base"),
        "ss_sd_model_hash": info.get("base_hash"),
        "ss_output_name": info.get("name"),
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_seed": spec.get("seed"),
        "ss_steps": sum(steps) if steps else None,
        "ss_learning_rate": spec.get("temporal_rate"),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def save_lora(lora: Lora, path: Path, layout: str = DIFFUSERS) -> None:
    """Writes a LoRA with its recipe in the header; the old file, if any, is replaced in one step.

    Args:
        lora: not empty.
        path: safetensors file.
        layout: diffusers' or ComfyUI's; in either the rank stands as alpha too, so that no reader scales it.

    Raises:
        OSError: the disk does not take it.
    """
    assert layout in WRITTEN and lora.layers
    tensors = {}
    for name, layer in sorted(lora.layers.items()):
        prefix = f"transformer.{name}" if layout == DIFFUSERS else f"diffusion_model.{first_name(name)}"
        tensors[f"{prefix}.lora_A.weight"] = layer.down_RI.float().clone(memory_format=torch.contiguous_format)
        tensors[f"{prefix}.lora_B.weight"] = layer.up_OR.float().clone(memory_format=torch.contiguous_format)
        if layout == COMFYUI:
            tensors[f"{prefix}.alpha"] = torch.tensor(float(layer.down_RI.shape[0]))
    facts = {RECIPE: json.dumps(dict(lora.info), sort_keys=True), **_trainers_facts(lora)}
    if lora.tokens:  # in the header, for other tools refuse files with tensors that they don't know
        facts[TOKENS] = write_tokens(lora.tokens)
    if layout == DIFFUSERS:
        facts[ADAPTER_METADATA] = _peft_facts(lora)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        write_tensors(tensors, partial, facts)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """A file's tensors by module and part, the facts of its header, and the keys that are none of a Wan LoRA."""

    parts: Mapping[str, Mapping[str, Tensor]]
    layout: str
    metadata: Mapping[str, str]
    unread: tuple[str, ...]
    whole: Mapping[str, Tensor]


def _is_idle(key: str, tensor: Tensor) -> bool:
    """Whether a whole change changes nothing, as those of norms that some extractors write."""
    return key.endswith(tuple(f".{part}" for part in _WHOLE_CHANGES)) and not tensor.any()


def _find(path: Path, whole: bool) -> _Found:
    """Reads a file's tensors; whole changes count as unread where they are not wanted.

    Raises:
        BadLora: nothing in it is a Wan LoRA's.
        SafetensorError, OSError: it can't be read.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    known: list[Key] = []
    unread: list[str] = []
    changes: dict[str, Tensor] = {}
    with safe_open(str(path), framework="pt") as handle:
        keys = sorted(handle.keys())
        for name in keys:
            key, tensor = read_key(name), handle.get_tensor(name)
            if key is not None and key.part not in _WHOLE_CHANGES and tensor.ndim <= 2:
                known.append(key)
                parts.setdefault(key.module, {})[key.part] = tensor.float()
            elif _is_idle(name, tensor):
                continue
            elif whole and key is not None and key.part in _WHOLE_CHANGES:
                changes[f"{key.module}.{_WHOLE_CHANGES[key.part]}"] = tensor.float()
            else:
                unread.append(name)
        metadata = handle.metadata() or {}
    if unread and not parts:
        raise BadLora(f"expected Wan LoRA keys such as blocks.0.attn1.to_q.lora_A.weight, but {path.name} holds "
                      f"{unread[0][:80]}; choose a LoRA for Wan.")  # fmt: skip
    return _Found(parts=parts, layout=layout_of(known), metadata=metadata, unread=tuple(unread),
                  whole=changes)  # fmt: skip


def _config(found: _Found, path: Path) -> Mapping[str, Any]:
    """Peft's settings of the LoRA, from the header or the file beside it; empty if there are none."""
    if ADAPTER_METADATA in found.metadata:
        config = json.loads(found.metadata[ADAPTER_METADATA])
        config = {name.removeprefix("transformer."): value for name, value in dict(config).items()}
    elif found.layout == PEFT and (beside := path.with_name(ADAPTER_CONFIG)).is_file():
        config = json.loads(beside.read_text(encoding="utf-8"))
    else:
        return {}
    return dict(config)


def _scalings(found: _Found, config: Mapping[str, Any]) -> Iterator[tuple[str, Scaling]]:
    """The scaling of every module; peft's patterns name modules by the end of their path.

    They may be regular expressions; taken from a stranger's file, they are read as plain names.
    """
    patterns = dict(config.get("alpha_pattern") or {})
    for module in found.parts:
        spellings = (f".{module}", f".{first_name(module)}")
        own = [alpha for pattern, alpha in patterns.items()
               if any(spelled.endswith(f".{pattern}") for spelled in spellings)]  # fmt: skip
        alpha = own[0] if own else config.get("lora_alpha")
        if alpha is not None and type(alpha) not in (int, float):
            raise ValueError(f"alpha is {alpha!r:.40}")
        yield module, Scaling(alpha=alpha, by_root=bool(config.get("use_rslora")))


def _layer(parts: Mapping[str, Tensor], scaling: Scaling, name: str, path: Path) -> LowRank:
    alpha = parts.get(ALPHA, torch.ones(()))
    if not all(torch.isfinite(part).all() for part in parts.values()) or alpha.numel() != 1:
        raise BadLora(f"{name} in {path.name} holds infinite or undefined numbers; the file is broken, tune again.")
    try:
        return combined(parts, scaling)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BadLora(f"{name} in {path.name} has no matching pair of matrices; export the LoRA again.") from error


def _recipe(found: _Found, path: Path) -> dict[str, Any]:
    recipe = json.loads(found.metadata.get(RECIPE, "{}"))
    if not isinstance(recipe, dict):
        raise BadLora(f"expected a recipe of named facts, but {path.name} holds {recipe!r:.80}; export it again.")
    fps = recipe.get("clip_fps", 1.0)
    if not isinstance(fps, int | float) or not FPS_RANGE[0] <= fps <= FPS_RANGE[1]:
        raise BadLora(f"expected a frame rate in the recipe of {path.name}, but got {fps!r}; tune the clip again.")
    if not is_curve(recipe.get(CURVE, [[0, 0], [1, 1]])):
        raise BadLora(f"expected rising pairs of strength and motion in the recipe of {path.name}, but got "
                      f"{recipe[CURVE]!r:.80}; export the LoRA again.")  # fmt: skip
    always = recipe.get(ALWAYS_RANK, 0)
    if type(always) is not int or always < 0:
        raise BadLora(f"expected a number of ranks in the recipe of {path.name}, but got {always!r:.40}; export the "
                      "LoRA again.")  # fmt: skip
    return recipe


def read_lora(path: Path, *, whole: bool = False) -> LoraFile:
    """Reads a LoRA file of any layout; `alpha` is folded into `up`.

    Args:
        path: of the file.
        whole: whether whole changes of weights and biases are wanted, too, which an adapter can't make.

    Raises:
        BadLora: not a safetensors file, no key of a Wan LoRA, a DoRA, missing halves, wrong shapes or non-finite
            numbers.
    """
    if not path.is_file():
        raise BadLora(f"expected a LoRA file, but there is none at {path}; check the name.")
    try:
        found = _find(path, whole)
        config = _config(found, path)
        if config.get("use_dora") or any(DORA in parts for parts in found.parts.values()):
            raise BadLora(f"a LoRA is expected, but {path.name} is a DoRA, whose change hangs on the base's own "
                          "weights; have its trainer export a plain LoRA.")  # fmt: skip
        recipe, scalings = _recipe(found, path), dict(_scalings(found, config))
        tokens = read_tokens(found.metadata[TOKENS]) if TOKENS in found.metadata else ()
    except (SafetensorError, ValueError, TypeError, ArithmeticError, RuntimeError, OSError) as error:
        raise BadLora(
            f"expected a safetensors LoRA, but {path.name} can't be read ({error}); export it again."
        ) from error
    if not found.parts:
        raise BadLora(f"expected LoRA weights, but {path.name} holds none; choose another file.")
    layers = {name: _layer(parts, scalings[name], name, path) for name, parts in found.parts.items()}
    if not all(torch.isfinite(change).all() for change in found.whole.values()):
        raise BadLora(f"{path.name} holds infinite or undefined numbers; the file is broken, fetch it again.")
    return LoraFile(lora=Lora(layers=layers, tokens=tokens, info=recipe), layout=found.layout, unread=found.unread,
                    whole=found.whole)  # fmt: skip


def load_lora(path: Path) -> Lora:
    """The LoRA in a file; see `read_lora`."""
    return read_lora(path).lora
