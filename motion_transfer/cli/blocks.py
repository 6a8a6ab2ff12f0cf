"""The command that measures single blocks of Wan2.1's shapes on the CPU: bytes, and what few bits cost."""

from __future__ import annotations

import gc
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from motion_transfer.cli.shared import app, prepare, write_json
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.model.block_check import BlockRun, relative_error, run_blocks
from motion_transfer.model.checkpointing import RUNGS
from motion_transfer.model.footprint import PATCH_PX, TEXT_WIDTH, lora_bytes, saved_bytes, weight_bytes
from motion_transfer.model.rehearsal import pass_bytes, step_bytes
from motion_transfer.model.wan_shapes import WAN_SHAPES, WanShape
from motion_transfer.planner import WAN_SIZES, forward_bytes, learning_bytes
from motion_transfer.types import TuneSpec

RANK, BESIDE = 16, "bf16"
WHOLE_SIDE, WHOLE_LATENTS = 64, (1, 5, 21)  # latent pixels of 512; latent frames of 1, 17 and 81
COMPARED = (BESIDE, "int8", "nf4")


def _gradients(run: BlockRun) -> torch.Tensor:
    return torch.cat([gradient.flatten() for _, gradient in sorted(run.gradients.items())])


def _row(
    name: str, shape: WanShape, precision: str, run: BlockRun, without: int, beside: BlockRun
) -> dict[str, object]:
    """One line of the table; `without` is what the same run keeps with no block at all."""
    return {
        "shape": name,
        "precision": precision,
        "tokens": run.tokens,
        "weight_mb": run.weight_bytes / 1e6,
        "weight_mb_said": weight_bytes(shape, precision, itemsize=run.itemsize) / 1e6,
        "saved_mb": (run.saved_bytes - without) / 1e6,
        "saved_mb_said": saved_bytes(shape, run.tokens, RANK, itemsize=run.itemsize) / 1e6,
        "output_error": relative_error(run.changes, beside.changes),
        "gradient_error": relative_error(_gradients(run), _gradients(beside)),
    }


def _of_shape(name: str, side: int, num_frames: int) -> list[dict[str, object]]:
    """One block of a shape in every precision, beside the same in bfloat16."""
    shape, rows, beside = replace(WAN_SHAPES[name], num_blocks=1), [], None
    frame = {"num_frames": num_frames, "side": side, "rank": RANK, "text_width": TEXT_WIDTH}
    # What the model around the blocks keeps: the rotary angles, 8 bytes for each token and channel of a head.
    around = 8 * shape.head_width * num_frames * side * side // 4
    for precision in COMPARED:
        run = run_blocks(shape, precision, **frame)  # type: ignore[arg-type]
        beside = beside or run
        rows.append(_row(name, shape, precision, run, around, beside))
        gc.collect()
        print(", ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
                        for key, value in rows[-1].items()), flush=True)  # fmt: skip
    return rows


def _whole(name: str) -> list[dict[str, object]]:
    """Tuning steps and a rendering pass of a whole transformer at 512 x 512 pixels, rehearsed and planned."""
    size = replace(WAN_SIZES[name], height=8 * WHOLE_SIDE, width=8 * WHOLE_SIDE, frame_tokens=WHOLE_SIDE**2 // PATCH_PX)
    rows: list[dict[str, object]] = []
    for num_latents in WHOLE_LATENTS:
        spec = TuneSpec(rank=RANK, temporal_batch=1, spatial_steps=0, sparse_latents=num_latents)
        for rung in RUNGS:
            took = step_bytes(size.shape, (num_latents, WHOLE_SIDE, WHOLE_SIDE), rank=RANK, rung=rung)
            said = learning_bytes(size, spec, rung) - 2 * lora_bytes(size.shape, RANK)
            rows.append({"shape": name, "pass": "learning", "latent_frames": num_latents, "checkpointing": rung,
                         "rehearsed_gb": took / 1e9, "said_gb": said / 1e9})  # fmt: skip
    took = pass_bytes(size.shape, (size.num_latents, WHOLE_SIDE, WHOLE_SIDE))
    rows.append({"shape": name, "pass": "rendering", "latent_frames": size.num_latents, "checkpointing": RUNGS[0],
                 "rehearsed_gb": took / 1e9, "said_gb": forward_bytes(size, rows=2) / 1e9})  # fmt: skip
    for row in rows:
        print(row, flush=True)
    return rows


@app.command()
def block_check(
    side: Annotated[int, typer.Option(min=4, help="Latent pixels on each side.")] = 32,
    frames: Annotated[int, typer.Option(min=1, help="Latent frames.")] = 2,
    results: Annotated[Path, typer.Option("--json", help="Results.")] = Path("docs/results/blocks.json"),
) -> None:
    """One block of each of Wan2.1's shapes with random weights, forward and back: bytes, and what few bits cost.

    And whole transformers, rehearsed without numbers, beside what the planner says of them.
    """
    prepare(results)
    settings = {"side": side, "frames": frames, "rank": RANK}
    rows = [row for name in WAN_SHAPES for row in _of_shape(name, side, frames)]
    whole = [row for name in WAN_SIZES for row in _whole(name)]
    made_by = stamp(modules=[__name__], folders=[], settings=settings)
    write_json(results, {"stamp": made_by, **settings, "rows": rows, "whole": whole})
