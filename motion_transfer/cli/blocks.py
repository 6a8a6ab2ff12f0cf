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
from motion_transfer.model.footprint import TEXT_WIDTH, saved_bytes, weight_bytes
from motion_transfer.model.wan_shapes import WAN_SHAPES, WanShape

RANK, BESIDE = 16, "bf16"
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


@app.command()
def block_check(
    side: Annotated[int, typer.Option(min=4, help="Latent pixels on each side.")] = 32,
    frames: Annotated[int, typer.Option(min=1, help="Latent frames.")] = 2,
    results: Annotated[Path, typer.Option("--json", help="Results.")] = Path("docs/results/blocks.json"),
) -> None:
    """One block of each of Wan2.1's shapes with random weights, forward and back: bytes, and what few bits cost."""
    prepare(results)
    settings = {"side": side, "frames": frames, "rank": RANK}
    rows = [row for name in WAN_SHAPES for row in _of_shape(name, side, frames)]
    write_json(results, {"stamp": stamp(modules=[__name__], folders=[], settings=settings), **settings, "rows": rows})
