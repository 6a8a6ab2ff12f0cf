"""The command that times what sparse sampling saves at Wan2.1's own shapes."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path
from typing import Annotated

import torch
import typer

from motion_transfer.cli.shared import app, prepare, write_json
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.model.catalog import find_base
from motion_transfer.sparse_check import DENSE, SPARSE, timed_turns

TIMED_BY = ("motion_transfer.sparse_check",)


@app.command()
def sparse_timing(
    turns: Annotated[int, typer.Option(min=1, help="Steps of each kind, in turns.")] = 3,
    side: Annotated[int, typer.Option(min=2, help="Latent pixels on each side; 68 are the paper's 544 pixels.")] = 68,
    results: Annotated[Path, typer.Option("--json", help="Results.")] = Path("docs/results/sparse.json"),
) -> None:
    """What sparse sampling saves on one block of Wan2.1-1.3B's shape: steps on 21 latent frames against 5."""
    prepare(results)
    settings = {"turns": turns, "side": side}
    made_by = stamp(modules=TIMED_BY, folders=[find_base("nano").folder], settings=settings)
    rows = []
    for row in timed_turns(turns, side):
        rows.append(row)
        print(", ".join(f"{name} {seconds:.2f}" for name, seconds in row.items()), flush=True)
    ratios = [row[f"{DENSE}_latents_s"] / row[f"{SPARSE}_latents_s"] for row in rows]
    machine = {"processor": platform.machine(), "cores": os.cpu_count(),
               "device": "cuda" if torch.cuda.is_available() else "cpu"}  # fmt: skip
    found = {"token_ratio": DENSE / SPARSE, "time_ratio": statistics.mean(ratios), "interval": paired_interval(ratios)}
    print(f"{found['time_ratio']:.2f} times the time at {found['token_ratio']:.2f} times the tokens")
    write_json(results, {"stamp": made_by, "machine": machine, **settings, **found, "rows": rows})
