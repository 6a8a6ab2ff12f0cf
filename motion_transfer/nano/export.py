"""Between checkpoints and the shipped folder `assets/nano`, both ways."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from torch import nn
from transformers import UMT5EncoderModel

from motion_transfer.errors import BadSpec, MissingWeights, WrongBase
from motion_transfer.nano.base import Nano
from motion_transfer.nano.checkpoint import load_state, save_state
from motion_transfer.nano.codec import SIZE_PX, build_codec, encoder_hash
from motion_transfer.nano.folder import load_codec, restore_interrupted, save_folder
from motion_transfer.nano.latents import LatentStore
from motion_transfer.nano.processes import process_rank, wait_for_all

STATISTICS_CLIPS = 192
FACTS = "training.json"  # {"codec": {"step", "seconds", "made_for", "losses"}, "base": the same or null}


def read_facts(folder: Path) -> dict[str, Any]:
    """How far the folder's parts are trained; null for a part that is not."""
    restore_interrupted(folder)
    path = folder / FACTS
    if path.exists():
        return json.loads(path.read_text())
    if folder.exists():
        raise MissingWeights(f"expected {FACTS} beside the weights in {folder}, but there is none; restore the folder.")
    return {"codec": None, "base": None}


def load_averaged(path: Path, module: nn.Module) -> dict[str, Any]:
    """Loads the checkpoint's averaged weights into a module; returns its facts."""
    tensors, facts = load_state(path)
    average = {n.removeprefix("ema/"): t.float() for n, t in tensors.items() if n.startswith("ema/")}
    missing = {n for n, _ in module.named_parameters()} - average.keys()
    assert not missing, missing
    module.load_state_dict(average, strict=False)
    module.eval().requires_grad_(False)
    kept = {k: facts[k] for k in ("step", "made_for", "losses") if k in facts}
    return kept | {"seconds": round(facts["seconds"])}


def _with_statistics(codec: AutoencoderKLWan) -> AutoencoderKLWan:
    """Sets mean and deviation of the codec's latents over fresh clips."""
    with tempfile.TemporaryDirectory() as scratch:
        store = LatentStore(Path(scratch), "clips", 13, codec, SIZE_PX)
        while len(store) < STATISTICS_CLIPS:
            store.grow(8, key="statistics")
        mean, std = store.statistics()
    codec.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    return codec


def check_replaceable(folder: Path) -> None:
    """Refuses to train a codec whose latents a trained base hangs on.

    Raises:
        BadSpec: the folder's base is trained.
    """
    if read_facts(folder)["base"] is not None:
        raise BadSpec(f"expected an untrained base in {folder}, but it is trained on these latents; "
                      "pass --decoder-only or --near to refine it, or --replace-base for a new one.")  # fmt: skip


def export_codec(work: Path, folder: Path) -> None:
    """Writes the averaged codec, with fresh latent statistics, beside an untrained base."""
    if process_rank() != 0:
        return
    codec = build_codec()
    facts = load_averaged(work / "codec.safetensors", codec)
    torch.manual_seed(1)
    nano = Nano()
    _write(folder, nano, _with_statistics(codec), {"codec": facts, "base": None})


def export_refined_codec(work: Path, folder: Path, *, moved: bool = False) -> None:
    """Writes a codec that was trained on; the base and the latent statistics stay.

    Args:
        work: folder of the checkpoint.
        folder: the nano folder.
        moved: the encoder was trained too, and the base must be trained on before it counts for these latents.

    Raises:
        WrongBase: the encoder is another one, and that was not announced.
    """
    if process_rank() != 0:
        return
    before, codec = load_codec(folder), build_codec()
    facts = load_averaged(work / "codec.safetensors", codec)
    if not moved and encoder_hash(codec) != encoder_hash(before):
        raise WrongBase(f"expected the encoder of {folder} in {work}, but its codec has another one, and the base "
                        "would no longer fit; move that checkpoint away.")  # fmt: skip
    codec.register_to_config(latents_mean=before.config.latents_mean, latents_std=before.config.latents_std)
    _write(folder, _shipped_base(folder), codec, read_facts(folder) | {"codec": facts})


def check_unsettled(folder: Path) -> None:
    """Sees that no shipped weights hang on the base yet.

    Raises:
        WrongBase: it was declared final.
    """
    if (read_facts(folder)["base"] or {}).get("settled", False):
        raise WrongBase(f"a base that is still being trained is expected, but the one in {folder} is settled, and "
                        "LoRAs hang on it; pass --replace-settled to train it on all the same.")  # fmt: skip


def export_base(work: Path, folder: Path, *, settled: bool = False) -> None:
    """Writes the averaged text encoder and transformer beside the codec that is there.

    Args:
        work: folder of the checkpoint.
        folder: the nano folder.
        settled: says that this base is final, so that LoRAs may hang on it.
    """
    if process_rank() != 0:
        return
    nano = Nano()
    facts = load_averaged(work / "base.safetensors", nano) | ({"settled": True} if settled else {})
    _write(folder, nano, load_codec(folder), read_facts(folder) | {"base": facts})


def _write(folder: Path, nano: Nano, codec: AutoencoderKLWan, facts: dict[str, Any]) -> None:
    texts = {FACTS: json.dumps(facts, indent=2) + "\n", "README.md": _card(facts)}
    save_folder(folder, nano.transformer, nano.text_encoder, codec, texts)


def _shipped_base(folder: Path) -> Nano:
    """Text encoder and transformer of a nano folder, float32."""
    nano = Nano()
    encoder = UMT5EncoderModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32)
    transformer = WanTransformer3DModel.from_pretrained(folder, subfolder="transformer")
    nano.text_encoder.load_state_dict(encoder.state_dict())
    nano.transformer.load_state_dict({n: t.float() for n, t in transformer.state_dict().items()})
    return nano


def start_from_folder(work: Path, folder: Path, part: str) -> None:
    """Makes a checkpoint of the shipped 16-bit weights where there is none, so that training goes on from them.

    Args:
        work: folder of the checkpoints.
        folder: the nano folder.
        part: "codec" or "base".
    """
    path, facts = work / f"{part}.safetensors", read_facts(folder)[part]
    if process_rank() == 0 and facts is not None and not path.exists():
        module = load_codec(folder) if part == "codec" else _shipped_base(folder)
        save_state(path, {f"ema/{n}": p.float() for n, p in module.named_parameters()}, facts)
    wait_for_all()


def progress(facts: dict[str, Any] | None) -> str:
    """How far a part is trained, and its losses at the end, as two cells of a card's table."""
    if not facts:
        return "not yet trained | "
    losses = ", ".join(f"{name.strip()} {value:g}" for name, value in facts.get("losses", {}).items())
    return f"{facts['step']} steps, {facts['seconds'] / 3600:.2f} hours | {losses}"


def _card(facts: dict[str, Any]) -> str:
    """The weights' card: what they are, how far they are trained, what they can't do."""
    return f"""---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-video
---

# nano

A teaching and testing text-to-video model of a toy world: colored shapes and figures on patterned backgrounds,
{SIZE_PX} by {SIZE_PX} pixels, 49 frames at 12 a second. It has Wan2.1's architecture (AutoencoderKLWan, UMT5 encoder,
WanTransformer3DModel) and opens with `WanPipeline.from_pretrained`. It knows nothing of real footage.

| part | trained so far | last 100 steps | command | seeds |
|---|---|---|---|---|
| codec | {progress(facts["codec"])} | `python -m motion_transfer.nano codec` | weights 0, data by step |
| the rest | {progress(facts["base"])} | `python -m motion_transfer.nano base` | weights 1, noise by step |

Trained on two CPU cores, as two processes of one thread, bf16 autocast; the averaged weights ship in 16 bit. All
training clips are drawn by `motion_transfer/video/synth`; no outside data. Figures: `docs/results`.
"""
