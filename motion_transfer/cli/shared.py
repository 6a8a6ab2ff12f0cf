"""What all commands share: options, the progress line, output files, the report."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from motion_transfer import atomic
from motion_transfer.errors import BadSpec
from motion_transfer.types import Progress, Report
from motion_transfer.video.strip import MOVEMENTS

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Learn a clip's motion and render it onto new content."
)

ClipArg = Annotated[Path, typer.Argument(help="Reference video: mp4, gif, webm, mov or avi.")]
BaseOpt = Annotated[str, typer.Option(help="nano, or a Wan folder in diffusers layout.")]
PrecisionOpt = Annotated[str, typer.Option(help="nf4, int8, bf16 or fp32.")]
StartOpt = Annotated[float, typer.Option(help="Start of the span, in seconds.")]
EndOpt = Annotated[float | None, typer.Option(help="End of the span, in seconds; at most 8 s are used.")]
CropOpt = Annotated[str, typer.Option(help="Part of the picture: zoom, place from left and from top, as 2,0.5,0.5.")]
ShardOpt = Annotated[
    bool, typer.Option("--shard-weights", help="Of several processes, each holds its part of the weights.")
]
MovementOpt = Annotated[
    str, typer.Option(help=f"Whose motion: {', '.join(MOVEMENTS)} (things: before a camera at rest).")
]
WorkspaceOpt = Annotated[Path | None, typer.Option(help="Folder of motions, renders and what else the app keeps.")]
JsonOpt = Annotated[Path | None, typer.Option("--json", help="Write the results here.")]


class Meter:
    """Prints stage, step, rate and time left on standard error."""

    def __init__(self) -> None:
        self.stage, self.begin, self.shown = "", 0.0, 0.0

    def __call__(self, progress: Progress) -> None:
        """Shows one step, at most five lines a second; and every note."""
        if progress.note:
            note(progress.note)
            return
        now = time.monotonic()
        if progress.stage != self.stage:
            self.stage, self.begin, self.shown = progress.stage, now, 0.0
        done = progress.step == progress.total
        if now - self.shown < 0.2 and not done:
            return
        self.shown = now
        rate = (progress.step - 1) / (now - self.begin) if now > self.begin and progress.step > 1 else 0.0
        left = f"{(progress.total - progress.step) / rate:.0f} s left" if rate else "..."
        loss = f"  loss {progress.loss:.3f}" if progress.loss is not None else ""
        found = f"  motion {progress.followed:.2f}" if progress.followed is not None else ""
        line = f"{progress.stage} {progress.step}/{progress.total}  {rate:.1f} steps/s  {left}{loss}{found}"
        end = "\n" if done or not sys.stderr.isatty() else ""
        print(("\r\033[K" if sys.stderr.isatty() else "") + line, end=end, file=sys.stderr, flush=True)


def end_line() -> None:
    """Leaves the progress line of a terminal, which has no line end while a stage goes on."""
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def note(text: str) -> None:
    """Says on standard error what a person should know while the work goes on."""
    end_line()
    print(f"note: {text}", file=sys.stderr, flush=True)


def prepare(*outputs: Path | None, inputs: tuple[Path | None, ...] = (), video: Path | None = None) -> None:
    """Checks the output files and makes their folders, so that a bad path shows before the work and not after it."""
    if video is not None and video.suffix.lower() != ".mp4":
        raise BadSpec(f"the video is written as mp4, but its name is {video.name}; end it in .mp4.")
    taken = {path.resolve() for path in inputs if path is not None}
    for path in (p for p in outputs if p is not None):
        if path.resolve() in taken:
            raise BadSpec(f"every file needs a name of its own, but {path.name} is given twice; choose another one.")
        taken.add(path.resolve())
        if path.is_dir():
            raise BadSpec(f"a file name is expected for the output, but {path} is a folder; add a name.")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK):
            raise BadSpec(f"the output goes to {path.parent}, but that folder can't be written; choose another one.")


def write_json(path: Path | None, values: dict[str, Any]) -> None:
    """Writes results, if a file for them was asked for."""
    if path is not None:
        atomic.write_json(path, values)


def print_report(report: Report) -> None:
    """One line a measure; for those without a value, why."""
    for m in report.measures:
        print(f"{m.name}: {f'- ({m.why_missing})' if m.value is None else f'{m.value:.3f}'}")


def why_missing(report: Report) -> dict[str, str]:
    """Reasons by name of the measures without a value."""
    return {m.name: m.why_missing for m in report.measures if m.value is None}
