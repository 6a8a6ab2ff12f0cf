"""The command line: `python -m motion_transfer transfer CLIP --prompt P` and its single steps.

Exit status 0; 2 with one line on standard error for a user's mistake; 130 when interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from motion_transfer.atomic import replacing
from motion_transfer.bench import Bench
from motion_transfer.contenders import CONTENDERS, chosen, with_seconds
from motion_transfer.errors import BadSpec, MotionTransferError
from motion_transfer.evaluate.benchmark import follow as follow_case
from motion_transfer.evaluate.benchmark import following_cases
from motion_transfer.evaluate.clip_folder import folder_cases
from motion_transfer.evaluate.motionbench import bench_cases, quick_cases
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.flags import with_settings
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.model.memory import peak_memory_mb
from motion_transfer.pipeline import Studio, drive, prompt_of, scene_of
from motion_transfer.types import Progress, RenderSpec, Report, TuneSpec
from motion_transfer.video.frames import contact_sheet, save_png
from motion_transfer.video.io import read_clip, write_clip
from motion_transfer.video.overlay import head_map_picture

app = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Learn a clip's motion and render it onto new content."
)

ClipArg = Annotated[Path, typer.Argument(help="Reference video: mp4, gif, webm, mov or avi.")]
BaseOpt = Annotated[str, typer.Option(help="nano, or a Wan folder in diffusers layout.")]
PrecisionOpt = Annotated[str, typer.Option(help="nf4, int8, bf16 or fp32.")]
StartOpt = Annotated[float, typer.Option(help="Start of the span, in seconds.")]
EndOpt = Annotated[float | None, typer.Option(help="End of the span, in seconds; at most 8 s are used.")]
JsonOpt = Annotated[Path | None, typer.Option("--json", help="Write the results here.")]

INTERRUPTED = 130
BENCH_ARMS = ("lora", "bare", "lora_strict", "bare_strict")  # strict: 0 where the shape is not the asked one


class Meter:
    """Prints stage, step, rate and time left on standard error."""

    def __init__(self) -> None:
        self.stage, self.begin, self.shown = "", 0.0, 0.0

    def __call__(self, progress: Progress) -> None:
        """Shows one step; at most five lines a second."""
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
        line = f"{progress.stage} {progress.step}/{progress.total}  {rate:.1f} steps/s  {left}{loss}"
        end = "\n" if done or not sys.stderr.isatty() else ""
        print(("\r\033[K" if sys.stderr.isatty() else "") + line, end=end, file=sys.stderr, flush=True)


def _prepare(*outputs: Path | None, inputs: tuple[Path | None, ...] = (), video: Path | None = None) -> None:
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


def _write_json(path: Path | None, values: dict[str, Any]) -> None:
    if path is not None:
        with replacing(path) as partial:
            partial.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def _print_report(report: Report) -> None:
    for m in report.measures:
        print(f"{m.name}: {f'- ({m.why_missing})' if m.value is None else f'{m.value:.3f}'}")


def _why_missing(report: Report) -> dict[str, str]:
    return {m.name: m.why_missing for m in report.measures if m.value is None}


@app.command()
@with_settings(tune=TuneSpec, render=RenderSpec, required=("prompt",))
def transfer(
    clip: ClipArg,
    tune: TuneSpec,
    render: RenderSpec,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    start: StartOpt = 0.0,
    end: EndOpt = None,
    out: Annotated[Path, typer.Option(help="The rendered video (mp4); the LoRA goes beside it.")] = Path(
        "transfer.mp4"
    ),
    json_path: JsonOpt = None,
) -> None:
    """The whole job: clip in, motion learned, new video out."""
    lora_path = out.with_suffix(".safetensors")
    _prepare(out, lora_path, json_path, inputs=(clip,), video=out)
    studio = Studio(base=base, precision=precision)
    reference = studio.read(clip, start_s=start, end_s=end, caption=tune.caption)
    scene = scene_of(clip) if start == 0.0 and end is None else None
    result = studio.transfer(
        reference, tune, render, scene=scene, on_progress=Meter(),
        on_tuned=lambda tuned: save_lora(tuned.lora, lora_path),
    )  # fmt: skip
    write_clip(result.render, out, comment=json.dumps({"render": asdict(render)}))
    print(f"video: {out}\nlora: {lora_path}")
    _print_report(result.report)
    _write_json(
        json_path,
        {
            "seconds": result.seconds,
            "peak_memory_mb": peak_memory_mb(),
            "report": result.report.as_json(),
            "why_missing": _why_missing(result.report),
            "lora": str(lora_path),
            "video": str(out),
            "spec": {"base": base, "precision": precision, "tune": asdict(tune), "render": asdict(render)},
        },
    )


@app.command("tune")
@with_settings(spec=TuneSpec)
def tune_clip(
    clip: ClipArg,
    out: Annotated[Path, typer.Option(help="The LoRA file to write.")],
    spec: TuneSpec,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    start: StartOpt = 0.0,
    end: EndOpt = None,
    json_path: JsonOpt = None,
) -> None:
    """Learns a clip's motion as a LoRA file."""
    _prepare(out, json_path, inputs=(clip,))
    studio = Studio(base=base, precision=precision)
    reference = studio.read(clip, start_s=start, end_s=end, caption=spec.caption)
    tuned = studio.tune(reference, spec, on_progress=Meter())
    save_lora(tuned.lora, out)
    _write_json(json_path, {"seconds": tuned.seconds, "peak_memory_mb": peak_memory_mb(), "lora": str(out),
                            "spec": {"base": base, "precision": precision, "tune": asdict(spec)}})  # fmt: skip


@app.command("render")
@with_settings(spec=RenderSpec, required=("prompt",))
def render_prompt(
    out: Annotated[Path, typer.Option(help="The video file to write.")],
    spec: RenderSpec,
    lora: Annotated[Path | None, typer.Option(help="The motion; none renders the bare base.")] = None,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
) -> None:
    """Renders a prompt with a learned motion."""
    _prepare(out, inputs=(lora,), video=out)
    motion = load_lora(lora) if lora is not None else None
    clip = Studio(base=base, precision=precision).render(motion, spec, on_progress=Meter())
    write_clip(clip, out, comment=json.dumps({"render": asdict(spec)}))


@app.command()
def judge(
    reference: ClipArg,
    generated: Annotated[Path, typer.Argument(help="The render.")],
    prompt: Annotated[str, typer.Option(help="What the render shows; left out, what the file itself says.")] = "",
    caption: Annotated[str, typer.Option(help="What the reference shows.")] = "",
    json_path: JsonOpt = None,
) -> None:
    """Measures a render against its reference."""
    _prepare(json_path, inputs=(reference, generated))
    report = Studio().judge(read_clip(reference, caption=caption), read_clip(generated),
                            prompt=prompt or prompt_of(generated), scene=scene_of(reference))  # fmt: skip
    _print_report(report)
    _write_json(json_path, {"report": report.as_json(), "why_missing": _why_missing(report)})


@app.command()
def heads(
    clip: ClipArg,
    out: Annotated[Path, typer.Option(help="The picture to write (PNG).")],
    caption: Annotated[str, typer.Option(help="What the clip shows.")] = "",
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
) -> None:
    """Draws which attention heads are spatial and which temporal on a clip."""
    _prepare(out, inputs=(clip,))
    studio = Studio(base=base, precision=precision)
    head_map = studio.heads(studio.read(clip), TuneSpec(caption=caption), on_progress=Meter())
    save_png(head_map_picture(head_map), out)


@app.command()
@with_settings(tune=TuneSpec, render=RenderSpec, left_out=("caption", "prompt"))
def follow(
    tune: TuneSpec,
    render: RenderSpec,
    count: Annotated[int, typer.Option(min=1, help="Number of generated clips.")] = 12,
    precision: PrecisionOpt = "nf4",
    results: Annotated[Path, typer.Option(help="Folder of follow.json and follow.png.")] = Path("docs/results"),
) -> None:
    """Does the motion arrive? True paths against renders with the LoRA and without, same seeds."""
    _prepare(results / "follow.json")
    studio = Studio(precision=precision)
    rows, clips = [], []
    for case in following_cases(count):
        reference, spec = case.reference(), replace(render, prompt=case.prompt)
        tuned = studio.tune(reference, replace(tune, caption=reference.caption), on_progress=Meter())
        ours, bare = studio.render(tuned.lora, spec), studio.render(None, spec)
        row = {"clip": case.scene.name, "motion": case.scene.motion, "prompt": case.prompt, "seconds": tuned.seconds}
        for arm, render_of in (("lora", ours), ("bare", bare)):
            found = follow_case(case, render_of)
            row |= {arm: found.cosine, f"{arm}_strict": found.strict}
        rows.append(row)
        clips += [reference, ours, bare]
        figures = "  ".join(f"{arm} {row[arm]:.3f}" for arm in BENCH_ARMS)
        print(f"{case.number + 1}/{count} {case.scene.motion}: {figures}", flush=True)
    means = {arm: sum(row[arm] for row in rows) / count for arm in BENCH_ARMS}
    interval = paired_interval([row["lora"] - row["bare"] for row in rows])
    figures = "  ".join(f"{arm} {means[arm]:.3f}" for arm in BENCH_ARMS)
    print(f"{figures}  difference in {interval[0]:.3f} to {interval[1]:.3f}")
    facts = {"base": studio.base.hash, "precision": precision, "tune": asdict(tune), "render": asdict(render)}
    _write_json(results / "follow.json", {**facts, "means": means, "difference_95": interval, "clips": rows})
    save_png(contact_sheet(clips, columns_frames=9, scale=2), results / "follow.png")


@app.command()
@with_settings(render=RenderSpec, left_out=("prompt", "strength"))
def bench(
    render: RenderSpec,
    methods: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(CONTENDERS)}.")] = ",".join(CONTENDERS),
    clips: Annotated[str, typer.Option(help="motionbench, or a folder of clips with captions.csv.")] = "motionbench",
    quick: Annotated[bool, typer.Option(help="Twelve clips of all kinds instead of all.")] = False,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per clip, at most.")] = 2,
    seconds: Annotated[float, typer.Option(min=0, help="Tuning time of every method; 0 for its own steps.")] = 0.0,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    results: Annotated[Path, typer.Option("--json", help="Results; table and sheets go beside it.")] = Path(
        "docs/results/motionbench.json"
    ),
    renders: Annotated[Path, typer.Option(help="Folder of the renders, to go on from.")] = Path("bench-renders"),
) -> None:
    """Compares methods of motion transfer on clips with known motion; goes on where it stopped."""
    _prepare(results)
    studio = Studio(base=base, precision=precision)
    cases = (quick_cases() if quick else bench_cases()) if clips == "motionbench" else folder_cases(clips)
    contenders = chosen(methods.split(","))
    if seconds:
        contenders = [with_seconds(studio, contender, cases[0], seconds) for contender in contenders]
    plan = Bench(studio=studio, contenders=contenders, cases=cases, prompts_per_case=prompts, render=render,
                 results=results, renders=renders)  # fmt: skip
    if plan.table().started_over:
        print(plan.table().started_over, file=sys.stderr)
    print(drive(plan.work(), Meter()))


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    try:
        status = app(arguments, standalone_mode=False)
    except MotionTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except typer.TyperException as error:
        if message := error.format_message():  # without any argument the help was shown instead
            print(f"error: {message}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}; check the path and the free space.", file=sys.stderr)
        return 2
    if status == INTERRUPTED:  # typer itself turns Ctrl-C into this status
        print("interrupted", file=sys.stderr)
    return status if isinstance(status, int) else 0
