"""The commands that say what this machine can run, and how fast."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import torch
import typer

from motion_transfer.cli.shared import WorkspaceOpt, app, prepare, write_json
from motion_transfer.machine import Machine, this_machine
from motion_transfer.model.catalog import find_base
from motion_transfer.model.device_speed import SPEED_FILE, measure_speed, save_speed
from motion_transfer.model.distilled import suited
from motion_transfer.model.wan_shapes import WAN_SHAPES
from motion_transfer.pipeline import default_workspace
from motion_transfer.planner import WAN_SIZES, Fit, size_in, speed_of, what_fits
from motion_transfer.recipes import versions
from motion_transfer.types import RenderSpec, TuneSpec

_HOW = {
    "none": "fits",
    "alternate": "fits with every second block computed twice",
    "all": "fits with blocks computed twice",
    "visiting": "fits with weights visiting the GPU block by block",
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
    how = _HOW[one.needs.way] if one.fits else "does not fit"
    if one.fits and one.learning_s is not None and one.rendering_s is not None:
        how += f"; learning takes about {_time(one.learning_s)}, a render {_time(one.rendering_s)}"
    return f"{one.name} in {one.precision}: {sizes}: {how}"


def _time(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    size, unit = next(((s, u) for s, u in ((86400, "days"), (3600, "hours"), (60, "minutes")) if seconds >= 2 * s),
                      (1, "seconds"))  # fmt: skip
    return f"{seconds / size:.0f} {unit}"


@app.command()
def doctor(
    base: Annotated[str, typer.Option(help="nano, or a Wan folder in diffusers layout.")] = "nano",
    rank: Annotated[int, typer.Option(min=1, help="Of the LoRA that is learned.")] = TuneSpec().rank,
    workspace: WorkspaceOpt = None,
    results: Annotated[Path | None, typer.Option("--json", help="The same as JSON.")] = None,
) -> None:
    """What this machine has, and the memory that this base and Wan2.1's need to learn and to render."""
    prepare(results)
    spec = find_base(base)
    workspace = workspace or default_workspace()
    machine = this_machine(workspace)
    sizes, speed = {spec.name: size_in(spec), **WAN_SIZES}, speed_of(machine, workspace)
    renders = {spec.name: suited(RenderSpec(), spec.distilled)}
    fits = what_fits(machine, sizes, TuneSpec(rank=rank), speed, renders)
    print("\n".join([*_machine_lines(machine), *map(_fit_line, fits)]))
    if results is not None:
        write_json(results, {"machine": asdict(machine), "versions": versions(), "fits": [asdict(one) for one in fits]})


@app.command()
def benchmark_device(
    side: Annotated[int, typer.Option(min=4, help="Latent pixels on each side; 64 are 512 pixels.")] = 64,
    frames: Annotated[int, typer.Option(min=0, help="Latent frames; 0: one on a CPU, five on a GPU.")] = 0,
    workspace: WorkspaceOpt = None,
    results: Annotated[
        Path | None, typer.Option("--json", help="Where it is kept; left out, in the workspace, for the planner.")
    ] = None,
) -> None:
    """How fast this machine computes a block of Wan2.1-1.3B's shape; from then on `doctor` says what takes how long."""
    workspace = workspace or default_workspace()
    results = results or workspace / SPEED_FILE
    prepare(results)
    machine = this_machine(workspace)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = machine.processor if device.type == "cpu" else machine.gpu or torch.cuda.get_device_name(device)
    frames = frames or (5 if device.type == "cuda" else 1)
    speed = measure_speed(name, device, WAN_SHAPES["1.3b"], num_frames=frames, side=side)
    save_speed(speed, results)
    print(f"{speed.device}: products {speed.products:.2f} Tflop/s; attention {speed.attention:.2f}; "
          f"a block forward {speed.forward:.2f} ({speed.share(speed.forward):.0%} of that), forward and back "
          f"{speed.step:.2f} ({speed.share(speed.step):.0%}), on {speed.tokens} tokens")  # fmt: skip
