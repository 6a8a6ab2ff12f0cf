"""From checkpoints to the shipped folder `assets/nano`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan

from motion_transfer.nano.base import Nano
from motion_transfer.nano.checkpoint import load_state
from motion_transfer.nano.codec import SIZE_PX, build_codec
from motion_transfer.nano.folder import load_codec, save_folder
from motion_transfer.nano.latents import LatentStore
from motion_transfer.nano.processes import process_rank

STATISTICS_CLIPS = 192


def _trained_codec(work: Path) -> AutoencoderKLWan:
    tensors, _ = load_state(work / "codec.safetensors")
    codec = build_codec()
    average = {n.removeprefix("ema/"): t for n, t in tensors.items() if n.startswith("ema/")}
    codec.load_state_dict(average, strict=False)
    return codec.eval().requires_grad_(False)


def export_codec(work: Path, folder: Path) -> None:
    """Writes the averaged codec with the mean and deviation of its latents over fresh clips.

    The transformer and text encoder beside it are untrained until `export_base`.
    """
    if process_rank() != 0:
        return
    codec = _trained_codec(work)
    with tempfile.TemporaryDirectory() as scratch:
        store = LatentStore(Path(scratch), "clips", 13, codec, SIZE_PX)
        while len(store) < STATISTICS_CLIPS:
            store.grow(8, key="statistics")
        mean, std = store.statistics()
    codec.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    torch.manual_seed(1)
    nano = Nano()
    save_folder(folder, nano.transformer, nano.text_encoder, codec)


def export_base(work: Path, folder: Path) -> None:
    """Writes the averaged text encoder and transformer beside the codec that is there."""
    if process_rank() != 0:
        return
    tensors, facts = load_state(work / "base.safetensors")
    nano = Nano()
    average = {n.removeprefix("ema/"): t.float() for n, t in tensors.items() if n.startswith("ema/")}
    nano.load_state_dict(average, strict=False)
    save_folder(folder, nano.transformer, nano.text_encoder, load_codec(folder))
    codec_path = work / "codec.safetensors"
    codec_facts = load_state(codec_path)[1] if codec_path.exists() else None
    (folder / "README.md").write_text(_card(facts, codec_facts))


def _card(base: dict[str, Any], codec: dict[str, Any] | None) -> str:
    """The weights' card: what they are, how far they are trained, what they can't do."""
    trained_codec = (
        f"{codec['step']} steps, {codec['seconds'] / 3600:.2f} hours" if codec else "see the folder's history"
    )
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-video
---

# nano

A teaching and testing text-to-video model of a toy world: colored shapes and figures on patterned backgrounds,
{SIZE_PX} by {SIZE_PX} pixels, 49 frames at 12 a second. It has Wan2.1's architecture (AutoencoderKLWan, UMT5 encoder,
WanTransformer3DModel) and opens with `WanPipeline.from_pretrained`. It knows nothing of real footage.

| part | trained so far | command | seeds |
|---|---|---|---|
| codec | {trained_codec} | `python -m motion_transfer.nano codec` | weights 0, data by step |
| text encoder and transformer | {base["step"]} steps, {base["seconds"] / 3600:.2f} hours | `python -m motion_transfer.nano base` | weights 1, data by step |

Trained on two CPU cores, two processes of one thread, bf16 autocast; the averaged weights are shipped in 16 bit. All
training clips are drawn by `motion_transfer/video/synth`; no outside data. Figures: `docs/results/prompts.json`.
"""
