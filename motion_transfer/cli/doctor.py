"""The command that says what this machine can run."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from motion_transfer.cli.shared import app, prepare, write_json
from motion_transfer.machine import Machine, this_machine
from motion_transfer.model.catalog import find_base
from motion_transfer.pipeline import default_workspace
from motion_transfer.planner import WAN_SIZES, Fit, size_in, what_fits
from motion_transfer.recipes import versions
from motion_transfer.types import TuneSpec

_HOW = {
    "none": "fits",
    "alternate": "fits with every second block computed twice",
    "all": "fits with blocks computed twice",
}


def _machine_lines(machine: Machine) -> list[str]:
    gpu = f"{machine.gpu}, {machine.free_gpu_memory_gb:.1f} of {machine.gpu_memory_gb:.1f} GB free"
    return [
        f"system: {machine.system}",
        f"processor: {machine.processor}, {machine.num_cores} cores",
        f"memory: {machine.free_memory_gb:.1f} of {machine.memory_gb:.1f} GB free",
        f"GPU: {gpu if machine.gpu else 'none; nano runs without, and Wan2.1 would take days'}",
        f"disk: {machine.free_disk_gb:.1f} GB free",
        "versions: " + ", ".join(f"{name} {version}" for name, version in versions().items()),
    ]


def _fit_line(one: Fit) -> str:
    sizes = f"learning {one.needs.learning / 1e9:.1f} GB, rendering {one.needs.rendering / 1e9:.1f} GB"
    return f"{one.name} in {one.precision}: {sizes}: {_HOW[one.needs.rung] if one.fits else 'does not fit'}"


@app.command()
def doctor(
    base: Annotated[str, typer.Option(help="nano, or a Wan folder in diffusers layout.")] = "nano",
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA that is learned.")] = TuneSpec().rank,
    results: Annotated[Path | None, typer.Option("--json", help="The same as JSON.")] = None,
) -> None:
    """What this machine has, and the memory that this base and Wan2.1's need to learn and to render."""
    prepare(results)
    spec = find_base(base)
    machine = this_machine(default_workspace())
    fits = what_fits(machine, {spec.name: size_in(spec), **WAN_SIZES}, TuneSpec(rank=rank))
    print("\n".join([*_machine_lines(machine), *map(_fit_line, fits)]))
    if results is not None:
        write_json(results, {"machine": asdict(machine), "versions": versions(), "fits": [asdict(one) for one in fits]})
