"""Commands that time work on bases larger than any that ships: real shapes, random weights."""

from __future__ import annotations

import os
import platform
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from motion_transfer.cli.shared import app, prepare, write_json
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.lora.attach import remove_adapters
from motion_transfer.methods.fym_tune import tune_temporal
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import find_base
from motion_transfer.model.quantize import quantize
from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WAN_SHAPES, random_transformer
from motion_transfer.types import HeadMap, Latents, TuneSpec

DENSE, SPARSE = 21, 5  # latent frames of 81 and of 17 frames (Follow-Your-Motion, arXiv 2506.05207, section 3.3)
RANK = 16


def _one_block() -> VideoBase:
    """One NF4 block of Wan2.1-1.3B's shape between nano's codec and text encoder, whose work is not timed."""
    nano = open_base("nano")
    block = random_transformer(WAN_SHAPES["1.3b"], text_width=nano.transformer.config.text_dim, num_blocks=1)
    quantize(block, "nf4", nano.device, nano.dtype)
    return replace(nano, transformer=block.to(nano.device), text_attention=weigh_text(block))


def _latents(num_frames: int, side: int) -> Latents:
    """Noise, at places evenly spread over the dense clip."""
    z_ZFYX = torch.randn(LATENT_CHANNELS, num_frames, side, side, generator=torch.Generator().manual_seed(1))
    stride = (DENSE - 1) // (num_frames - 1)
    return Latents(z_ZFYX=z_ZFYX, times_F=tuple(float(stride * i) for i in range(num_frames)))


def _step_seconds(base: VideoBase, full: Latents, num_frames: int) -> float:
    """Of one temporal step on so many latent frames, every second head temporal."""
    remove_adapters(base.transformer)
    spatial_LN = (torch.arange(base.num_heads) % 2 == 0)[None]
    heads = HeadMap(mass_LN2=torch.zeros(1, base.num_heads, 2), spatial_LN=spatial_LN, base_hash="")
    spec = TuneSpec(caption="a red circle", rank=RANK, temporal_batch=1, temporal_steps=1, gradient_draws=0,
                    sampling="pixel", sparse_latents=num_frames)  # fmt: skip
    sparse = full if num_frames == DENSE else _latents(num_frames, full.z_ZFYX.shape[-1])
    begin = time.monotonic()
    next(tune_temporal(base, sparse, full, heads, spec))
    return time.monotonic() - begin


@app.command()
def sparse_timing(
    turns: Annotated[int, typer.Option(min=1, help="Steps of each kind, in turns.")] = 3,
    side: Annotated[int, typer.Option(min=2, help="Latent pixels on each side; 68 are the paper's 544 pixels.")] = 68,
    results: Annotated[Path, typer.Option("--json", help="Results.")] = Path("docs/results/sparse.json"),
) -> None:
    """What sparse sampling saves on one block of Wan2.1-1.3B's shape: steps on 21 latent frames against 5."""
    prepare(results)
    settings = {"turns": turns, "side": side}
    made_by = stamp(modules=[__name__], folders=[find_base("nano").folder], settings=settings)
    base, full = _one_block(), _latents(DENSE, side)
    _step_seconds(base, _latents(DENSE, 8), DENSE)  # a process's first steps are slow
    rows = []
    for _ in range(turns):
        rows.append({f"{n}_latents_s": _step_seconds(base, full, n) for n in (DENSE, SPARSE)})
        print(", ".join(f"{name} {seconds:.2f}" for name, seconds in rows[-1].items()), flush=True)
    ratios = [row[f"{DENSE}_latents_s"] / row[f"{SPARSE}_latents_s"] for row in rows]
    machine = {"processor": platform.machine(), "cores": os.cpu_count(), "device": str(base.device)}
    found = {"token_ratio": DENSE / SPARSE, "time_ratio": statistics.mean(ratios), "interval": paired_interval(ratios)}
    print(f"{found['time_ratio']:.2f} times the time at {found['token_ratio']:.2f} times the tokens")
    write_json(results, {"stamp": made_by, "machine": machine, **settings, **found, "rows": rows})
