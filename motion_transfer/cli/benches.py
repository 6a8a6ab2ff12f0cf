"""The commands that measure: does motion arrive, which method is best, how long does the job take."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from motion_transfer.bench import RENDERED_BY, Bench
from motion_transfer.cli.shared import BaseOpt, Meter, PrecisionOpt, app, prepare, write_json
from motion_transfer.contenders import Contender
from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.evaluate.benchmark import following_cases
from motion_transfer.evaluate.clip_folder import folder_cases
from motion_transfer.evaluate.motionbench import bench_cases, development_cases, quick_cases, search_cases
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.flags import with_settings
from motion_transfer.following import ARMS, followed
from motion_transfer.lineup import CONTENDERS, ablations, chosen, grid, variants
from motion_transfer.model.catalog import ASSETS, find_base, weights_hash
from motion_transfer.pace import of_equal_seconds
from motion_transfer.pipeline import Studio
from motion_transfer.processes import each
from motion_transfer.ranks import ranks_here
from motion_transfer.slider_check import check_sliders as measure_sliders
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.video.frames import contact_sheet, save_png
from motion_transfer.video.kept import RENDERS
from motion_transfer.work import drive

ProcessesOpt = Annotated[int, typer.Option(min=1, help="Processes that share clips and cores; 1 on a GPU.")]
RendersOpt = Annotated[Path, typer.Option(help="Folder of the renders, to go on from.")]


@app.command()
@with_settings(tune=TuneSpec, render=RenderSpec, left_out=("caption", "prompt"))
def follow(
    tune: TuneSpec,
    render: RenderSpec,
    count: Annotated[int, typer.Option(min=1, help="Number of generated clips.")] = 12,
    precision: PrecisionOpt = "nf4",
    results: Annotated[Path, typer.Option(help="Folder of follow.json and follow.png.")] = Path("docs/results"),
    renders: RendersOpt = RENDERS,
    processes: ProcessesOpt = 2,
) -> None:
    """Does the motion arrive? True paths against renders with the LoRA and without, same seeds."""
    prepare(results / "follow.json")
    studio = Studio(precision=precision)
    facts = {"precision": precision, "tune": asdict(tune), "render": asdict(render)}
    made_by = stamp(modules=["motion_transfer.following"], folders=[studio.spec.folder],
                    settings=facts | {"count": count})  # fmt: skip
    base_hash = weights_hash(studio.spec.folder, studio.spec.lora)
    found: dict[int, tuple[dict[str, Any], list[Clip]]] = {}
    measured = each(partial(followed, studio, tune, render, renders / f"follow-{made_by}"), following_cases(count),
                    num_processes=processes)  # fmt: skip
    for case, one in measured:
        found[case.number] = one
        figures = "  ".join(f"{arm} {one[0][arm]:.3f}" for arm in ARMS)
        print(f"{len(found)}/{count} {case.scene.motion}: {figures}", flush=True)
    rows = [found[number][0] for number in range(count)]
    means = {arm: sum(row[arm] for row in rows) / count for arm in ARMS}
    interval = paired_interval([row["lora"] - row["bare"] for row in rows])
    figures = "  ".join(f"{arm} {means[arm]:.3f}" for arm in ARMS)
    print(f"{figures}  difference in {interval[0]:.3f} to {interval[1]:.3f}")
    write_json(results / "follow.json", {"stamp": made_by, "base": base_hash, **facts, "means": means,
                                         "difference_95": interval, "clips": rows})  # fmt: skip
    pictures = [clip for number in range(count) for clip in found[number][1]]
    save_png(contact_sheet(pictures, columns_frames=9, scale=2), results / "follow.png")


def _read_variants(path: Path) -> dict[str, Any]:
    """Settings by the name of a variant.

    Raises:
        BadSpec: the file holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSpec(f"variants are a JSON file, but {path} can't be read ({error}); write one.") from error
    if not isinstance(found, dict):
        raise BadSpec(f'variants are written as {{"name": {{"rank": 8}}}}, but {path} holds no names; write them so.')
    return found


def _only(contenders: list[Contender], ends: list[str], always: list[Contender]) -> list[Contender]:
    """Some contenders, and those whose names end as asked.

    Raises:
        BadSpec: there is none of an end.
    """
    for end in ends:
        if not any(one.name.endswith(f"-{end}") for one in contenders):
            names = ", ".join(one.name for one in contenders if one not in always) or "none yet"
            raise BadSpec(f"variants are {names}, but one that ends in {end!r} is asked for; choose among them.")
    return [one for one in contenders if one in always or one.name.endswith(tuple(f"-{end}" for end in ends))]


def _results_path(clips: str, asked: list[str]) -> Path:
    """Where results go: no run takes the place of another kind's."""
    names = [Path(clips).resolve().name if Path(clips).is_dir() else clips, *asked]
    return Path("docs/results") / ("-".join(dict.fromkeys(names)) + ".json")


@app.command()
@with_settings(render=RenderSpec, left_out=("prompt", "strength"))
def bench(
    render: RenderSpec,
    set_by_hand: set[str],
    methods: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(CONTENDERS)}.")] = ",".join(CONTENDERS),
    clips: Annotated[
        str, typer.Option(help="motionbench, search (six others), dev (sixteen others), or a folder with captions.csv.")
    ] = "motionbench",
    search: Annotated[bool, typer.Option(help="Every method at three rates and two sizes.")] = False,
    ablation: Annotated[bool, typer.Option(help="Every method also with one thing changed at a time.")] = False,
    varied: Annotated[
        Path | None, typer.Option("--variants", help="JSON of names and tuning settings: every method also with these.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Comma-separated: of such variants those alone whose names end so, and the methods.")
    ] = "",
    quick: Annotated[bool, typer.Option(help="Twelve clips of all kinds instead of all.")] = False,
    prompts: Annotated[int, typer.Option(min=1, help="Prompts per clip, at most.")] = 2,
    seconds: Annotated[float, typer.Option(min=0, help="Tuning time of every method; 0 for its own steps.")] = 0.0,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    results: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Results; table and sheets go beside it. Left out, docs/results/motionbench.json, "
            "or such a name for what else is asked.",
        ),
    ] = None,
    renders: RendersOpt = RENDERS,
    processes: ProcessesOpt = 2,
) -> None:
    """Compares methods of motion transfer on clips with known motion; goes on where it stopped."""
    asked = {"search": search, "ablation": ablation, "variants": varied is not None, "only": bool(only), "quick": quick,
             f"{seconds:g}s": seconds > 0}  # fmt: skip
    results = results or _results_path(clips, [name for name, is_asked in asked.items() if is_asked])
    prepare(results)
    ranks = ranks_here()
    studio = Studio(base=base, precision=precision, device=ranks.device)
    own = {"motionbench": quick_cases if quick else bench_cases, "search": search_cases, "dev": development_cases}
    cases = own[clips]() if clips in own else folder_cases(clips)
    contenders = chosen(methods.split(","))
    if search:
        contenders = [variant for contender in contenders for variant in grid(contender)]
    if ablation:
        contenders = [variant for contender in contenders for variant in ablations(contender)]
    if varied is not None:
        changes = _read_variants(varied)
        contenders = [variant for contender in contenders for variant in variants(contender, changes)]
    if only:
        contenders = _only(contenders, only.split(","), chosen(methods.split(",")))
    if seconds:
        steps_path = results.with_name(f"{results.stem}-steps.json")
        time_them = partial(of_equal_seconds, studio, cases, contenders, seconds, steps_path, num_processes=processes)
        if not ranks.is_first:
            ranks.wait()  # and read what the first one found
        contenders = time_them()
        if ranks.is_first:
            ranks.wait()
    plan = Bench(studio=studio, contenders=contenders, cases=cases, prompts_per_case=prompts,
                 render=studio.suited(render, set_by_hand),
                 results=results, renders=renders, num_processes=processes, ranks=ranks)  # fmt: skip
    if plan.table().started_over and ranks.is_first:
        print(plan.table().started_over, file=sys.stderr)
    table = drive(plan.work(), Meter())
    if ranks.is_first:
        print(table)


def _timed_transfer(clip: Path, prompt: str) -> dict[str, Any]:
    """The whole job at its defaults in a process of its own, as a user starts it."""
    with tempfile.TemporaryDirectory() as folder:
        out, facts = Path(folder) / "out.mp4", Path(folder) / "out.json"
        begin = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "motion_transfer", "transfer", str(clip), "--prompt", prompt, "--out", str(out),
             "--json", str(facts)], capture_output=True, text=True,
        )  # fmt: skip
        whole_s = time.monotonic() - begin
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise BadClip(f"every clip is timed, but {clip.name} could not be transferred and said: {said}")
        found = json.loads(facts.read_text())
    return {"clip": clip.name, "seconds": whole_s, "peak_memory_mb": found["peak_memory_mb"],
            "stages": found["seconds"], "spec": found["spec"]}  # fmt: skip


@app.command("check-sliders")
def check_sliders(
    prompts: Annotated[int, typer.Option(min=1, max=4, help="Contents of each clip.")] = 2,
    processes: Annotated[int, typer.Option(min=1, help="Processes that share the clips.")] = 2,
    results: Annotated[Path, typer.Option(help="Folder of sliders.json and sliders.md.")] = Path("docs/results"),
) -> None:
    """How even the motion strength of motions is that are learned from one clip, by ways of learning them."""
    prepare(results / "sliders.json")
    print(json.dumps(measure_sliders(prompts, results, processes), indent=1))


@app.command()
def timing(
    clips: Annotated[Path, typer.Option(help="Folder of reference clips.")] = ASSETS / "clips",
    count: Annotated[int, typer.Option(min=1, help="How many of them, evenly chosen.")] = 4,
    prompt: Annotated[str, typer.Option(help="What the renders show.")] = "a red star on a gray background",
    results: Annotated[Path, typer.Option("--json", help="Results.")] = Path("docs/results/timing.json"),
) -> None:
    """How long the whole job takes at default settings, and how much memory."""
    prepare(results)
    found = sorted(clips.glob("*.mp4"))
    if not found:
        raise BadClip(f"a folder of mp4 clips is expected, but {clips} has none; choose another folder.")
    made_by = stamp(
        modules=RENDERED_BY, folders=[find_base("nano").folder], settings={"count": count, "prompt": prompt}
    )
    rows = []
    for clip in found[:: max(1, len(found) // count)][:count]:
        rows.append(_timed_transfer(clip, prompt))
        print(f"{clip.name}: {rows[-1]['seconds']:.0f} s, {rows[-1]['peak_memory_mb']:.0f} MB", flush=True)
    machine = {"processor": platform.machine(), "cores": os.cpu_count()}
    write_json(results, {"stamp": made_by, "machine": machine, "slowest_seconds": max(row["seconds"] for row in rows),
                         "most_memory_mb": max(row["peak_memory_mb"] for row in rows), "clips": rows})  # fmt: skip
