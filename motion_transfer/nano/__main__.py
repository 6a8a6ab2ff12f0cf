"""`python -m motion_transfer.nano codec|base|contrast --minutes N`: trains the shipped weights, resuming where it was.

Two processes of one thread each are fastest on two cores:
`OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m motion_transfer.nano base --minutes 60`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer

from motion_transfer.errors import MotionTransferError
from motion_transfer.model.catalog import ASSETS
from motion_transfer.nano.base import train_base
from motion_transfer.nano.clips import write_examples, write_world_sheet
from motion_transfer.nano.codec import train_codec
from motion_transfer.nano.codec_check import check_codec as measure_codec
from motion_transfer.nano.contrast import train_contrast
from motion_transfer.nano.contrast_check import check_contrast as measure_contrast
from motion_transfer.nano.contrast_export import export_contrast, start_contrast_from_folder
from motion_transfer.nano.control_check import check_controls as measure_controls
from motion_transfer.nano.control_features import diagnose_controls
from motion_transfer.nano.control_study import study_controls as compare_controls
from motion_transfer.nano.controls import write_controls
from motion_transfer.nano.export import (
    check_replaceable,
    check_unsettled,
    export_base,
    export_codec,
    export_refined_codec,
    start_from_folder,
)
from motion_transfer.nano.folder import load_codec
from motion_transfer.nano.heads_check import check_heads as measure_heads
from motion_transfer.nano.mix_check import check_mixes as measure_mixes
from motion_transfer.nano.motion_check import check_motion as measure_motion
from motion_transfer.nano.motions import write_motions
from motion_transfer.nano.pair_check import check_pairs as measure_pairs
from motion_transfer.nano.prompts import check_prompts
from motion_transfer.nano.rebuild import COUNTS, QUICK_COUNTS, rebuild
from motion_transfer.nano.showcase import check_showcase, write_showcase
from motion_transfer.nano.split_check import check_split as measure_split
from motion_transfer.video.kept import RENDERS

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
MinutesOpt = Annotated[float, typer.Option(help="How long to train now.")]
WorkOpt = Annotated[Path, typer.Option(help="Folder of checkpoints and encoded clips.")]
ScaleOpt = Annotated[int, typer.Option(help="Factor on the batch sizes, for GPUs.")]
CompiledOpt = Annotated[bool, typer.Option(help="Compile the networks; needs a C++ compiler.")]
ProcessesOpt = Annotated[int, typer.Option(min=1, help="Processes that share the cores and the renders.")]
ResultsOpt = Annotated[Path, typer.Option(help="Folder of the figures.")]
RendersOpt = Annotated[Path, typer.Option(help="Folder of the renders, to go on from.")]
QuickOpt = Annotated[
    bool,
    typer.Option(
        "--quick", help="A few clips of all kinds, whatever --count says; the figures go into a folder `quick`."
    ),
]
WORK = Path.home() / ".cache" / "motion_transfer" / "nano"
RESULTS = Path("docs/results")


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _extent(part: str, count: int, quick: bool, results: Path) -> tuple[int, Path]:
    """How many clips a check takes, and where its figures go: a quick one never takes a whole one's place."""
    return (QUICK_COUNTS[part], results / "quick") if quick else (count, results)


@app.command()
def codec(
    minutes: MinutesOpt,
    total_minutes: float | None = None,
    decoder_only: Annotated[bool, typer.Option(help="Keep all latents, and the base with them.")] = False,
    near: Annotated[bool, typer.Option(help="Keep near the latents that are; `base --adapt` comes next.")] = False,
    replace_base: Annotated[bool, typer.Option(help="Give the base up.")] = False,
    work: WorkOpt = WORK,
    batch_scale: ScaleOpt = 1,
    compiled: CompiledOpt = False,
) -> None:
    """Trains the codec, then writes it into assets/nano; unless --decoder-only or --near, that asks for a new base."""
    if near:
        check_unsettled(ASSETS / "nano")
    elif not (decoder_only or replace_base):
        check_replaceable(ASSETS / "nano")
    start_from_folder(work, ASSETS / "nano", "codec")
    if minutes > 0:
        train_codec(work, minutes=minutes, total_minutes=total_minutes, device=_device(), batch_scale=batch_scale,
                    decoder_only=decoder_only, near=load_codec(ASSETS / "nano") if near else None,
                    compiled=compiled)  # fmt: skip
    if decoder_only or near:
        export_refined_codec(work, ASSETS / "nano", moved=near)
    else:
        export_codec(work, ASSETS / "nano")


@app.command()
def base(
    minutes: MinutesOpt,
    picture_minutes: float = 30.0,
    fade_minutes: float = 0.0,
    work: WorkOpt = WORK,
    batch_scale: ScaleOpt = 1,
    compiled: CompiledOpt = False,
    adapt: Annotated[bool, typer.Option(help="Train on although the codec's latents have moved.")] = False,
    settled: Annotated[bool, typer.Option(help="Declare the result final: LoRAs may hang on it.")] = False,
    replace_settled: Annotated[bool, typer.Option(help="Train on although the base was declared final.")] = False,
) -> None:
    """Trains the base, then writes its averaged weights into assets/nano."""
    if not replace_settled:
        check_unsettled(ASSETS / "nano")
    start_from_folder(work, ASSETS / "nano", "base")
    if minutes > 0:
        train_base(work, ASSETS / "nano", minutes=minutes, picture_minutes=picture_minutes,
                   fade_minutes=fade_minutes, device=_device(), batch_scale=batch_scale,
                   compiled=compiled, adapt=adapt)  # fmt: skip
    export_base(work, ASSETS / "nano", settled=settled)


@app.command()
def check_codec(
    count: Annotated[int, typer.Option(min=1)] = COUNTS["codec"],
    quick: QuickOpt = False,
    results: ResultsOpt = RESULTS,
) -> None:
    """Passes unseen scenes through the shipped codec: PSNR per frame, object masks and centroids."""
    for name, value in measure_codec(ASSETS / "nano", *_extent("codec", count, quick, results)).items():
        print(f"{name}: {value:.3f}")


@app.command()
def contrast(
    minutes: MinutesOpt,
    total_minutes: float | None = None,
    work: WorkOpt = WORK,
    batch_scale: ScaleOpt = 1,
) -> None:
    """Trains nano-clip, which compares pictures with texts, then writes it into assets/nano-clip."""
    start_contrast_from_folder(work, ASSETS / "nano-clip")
    if minutes > 0:
        train_contrast(work, minutes=minutes, total_minutes=total_minutes, device=_device(), batch_scale=batch_scale)
    export_contrast(work, ASSETS / "nano-clip")


@app.command()
def check_contrast(
    count: Annotated[int, typer.Option(min=1)] = COUNTS["contrast"],
    quick: QuickOpt = False,
    results: ResultsOpt = RESULTS,
) -> None:
    """Lets nano-clip choose the captions of unseen scenes among ones with a single wrong word."""
    for name, value in measure_contrast(ASSETS / "nano-clip", *_extent("contrast", count, quick, results)).items():
        print(f"{name}: {value:.3f}")


@app.command()
def clips(results: ResultsOpt = RESULTS) -> None:
    """Renders the page's example clips into assets/clips, and a picture of them, world.png."""
    write_examples(ASSETS / "clips")
    write_world_sheet(results)


@app.command()
def prompts(
    count: Annotated[int, typer.Option(min=1)] = COUNTS["prompts"],
    quick: QuickOpt = False,
    processes: ProcessesOpt = 2,
    results: ResultsOpt = RESULTS,
    renders: RendersOpt = RENDERS,
) -> None:
    """Renders prompts with stock diffusers at its defaults and checks color, shape, count and presence."""
    extent = _extent("prompts", count, quick, results)
    for group, shares in check_prompts(ASSETS / "nano", *extent, processes, renders).items():
        print(f"{group}: " + ", ".join(f"{name} {share:.3f}" for name, share in shares.items()))


@app.command()
def check_motion(
    count: Annotated[int, typer.Option(min=2)] = COUNTS["motion"],
    quick: QuickOpt = False,
    processes: ProcessesOpt = 2,
    results: ResultsOpt = RESULTS,
    renders: RendersOpt = RENDERS,
) -> None:
    """Compares how the bare base moves with how the world does."""
    extent = _extent("motion", count, quick, results)
    print(json.dumps(measure_motion(ASSETS / "nano", *extent, processes, renders), indent=1))


@app.command()
def check_heads(
    count: Annotated[int, typer.Option(min=2)] = COUNTS["heads"],
    quick: QuickOpt = False,
    results: ResultsOpt = RESULTS,
    renders: RendersOpt = RENDERS,
) -> None:
    """Compares the labels of attention heads between draws, and what renders lose without each group."""
    print(json.dumps(measure_heads(ASSETS / "nano", *_extent("heads", count, quick, results), renders), indent=1))


@app.command()
def check_split(
    count: Annotated[int, typer.Option(min=1)] = COUNTS["split"],
    quick: QuickOpt = False,
    processes: ProcessesOpt = 2,
    results: ResultsOpt = RESULTS,
    renders: RendersOpt = RENDERS,
) -> None:
    """Learns the camera's motion and the thing's from one clip each, and measures each on other content."""
    extent = _extent("split", count, quick, results)
    print(json.dumps(measure_split(ASSETS / "nano", *extent, processes, renders), indent=1))


@app.command()
def motions(processes: ProcessesOpt = 2) -> None:
    """Learns the example clips' motions into assets/loras, as far as they are missing or stale."""
    write_motions(ASSETS / "loras", processes)


@app.command()
def controls(
    processes: ProcessesOpt = 2,
    curves: Annotated[bool, typer.Option("--curves", help="Measure the curves of those that are there anew.")] = False,
    compiled: CompiledOpt = False,
) -> None:
    """Learns the controls that ship into assets/loras, as far as they are missing or stale."""
    write_controls(ASSETS / "loras", processes, curves, compiled)


@app.command()
def check_controls(
    count: Annotated[int, typer.Option(min=2)] = COUNTS["controls"],
    quick: QuickOpt = False,
    processes: ProcessesOpt = 2,
    results: ResultsOpt = RESULTS,
    renders: RendersOpt = RENDERS,
) -> None:
    """Measures how linear the controls' sliders are, and whether they leave each other alone."""
    extent = _extent("controls", count, quick, results)
    print(json.dumps(measure_controls(ASSETS / "loras", *extent, processes, renders), indent=1))


@app.command()
def study_controls(processes: ProcessesOpt = 2, results: ResultsOpt = RESULTS, compiled: CompiledOpt = False) -> None:
    """Compares ways to learn a control: how strength reaches the network, which blocks, how many clips."""
    print(json.dumps(compare_controls(results, processes, compiled), indent=1))


@app.command()
def control_features(processes: ProcessesOpt = 2, results: ResultsOpt = RESULTS, compiled: CompiledOpt = False) -> None:
    """Measures how alike and how loud controls are in each block, as they are usually learned and as they ship."""
    print(json.dumps(diagnose_controls(ASSETS / "loras", results, processes, compiled=compiled), indent=1))


@app.command()
def check_mixes(
    count: Annotated[int, typer.Option(min=2)] = COUNTS["mixes"],
    quick: QuickOpt = False,
    processes: ProcessesOpt = 2,
    results: ResultsOpt = RESULTS,
    renders: RendersOpt = RENDERS,
    compiled: CompiledOpt = False,
) -> None:
    """Measures whether several controls at once move as far as each does alone."""
    extent = _extent("mixes", count, quick, results)
    print(json.dumps(measure_mixes(ASSETS / "loras", *extent, processes, renders, compiled=compiled), indent=1))


@app.command()
def check_pairs(processes: ProcessesOpt = 2, results: ResultsOpt = RESULTS, renders: RendersOpt = RENDERS) -> None:
    """Measures whether a learned motion and a camera, at once, each go as far as they were asked to."""
    print(json.dumps(measure_pairs(ASSETS / "loras", results, processes, renders), indent=1))


@app.command()
def showcase(processes: ProcessesOpt = 2, results: ResultsOpt = RESULTS) -> None:
    """Writes the presets that ship, renders each, and measures how well it follows its clip and its prompt."""
    write_showcase(ASSETS / "loras", ASSETS.parent / "presets")
    check_showcase(ASSETS / "loras", results, processes)


@app.command(name="all")
def everything(
    work: WorkOpt = WORK,
    results: ResultsOpt = RESULTS,
    dry_run: Annotated[bool, typer.Option(help="Only say what is stale.")] = False,
) -> None:
    """Makes anew whatever is stale, in order: codec, base, nano-clip, example clips, motions, presets, figures."""
    rebuild(ASSETS, work, results, dry_run=dry_run)


def main() -> int:
    """Runs a command; exit status 2 with one line for a user's mistake."""
    try:
        app(standalone_mode=True)
    except MotionTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
