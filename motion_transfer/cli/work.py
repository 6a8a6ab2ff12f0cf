"""The commands of the job itself: transfer, and its single steps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from motion_transfer.cli.shared import (
    BaseOpt,
    ClipArg,
    CropOpt,
    EndOpt,
    JsonOpt,
    Meter,
    MovementOpt,
    PrecisionOpt,
    ShardOpt,
    StartOpt,
    WorkspaceOpt,
    app,
    note,
    prepare,
    print_report,
    why_missing,
    write_json,
)
from motion_transfer.errors import BadLora, BadSpec, WrongBase
from motion_transfer.flags import with_settings
from motion_transfer.hub import fetch_into
from motion_transfer.library import Library
from motion_transfer.lora.algebra import check_one_base
from motion_transfer.lora.files import file_hash, load_lora, save_lora
from motion_transfer.methods.lion_fusion import mixed
from motion_transfer.model.catalog import find_base
from motion_transfer.model.distilled import LEARNING, misfit_notes
from motion_transfer.model.memory import peak_memory_mb
from motion_transfer.pipeline import Studio, default_workspace, prompt_of, scene_of
from motion_transfer.presets import Preset, preset_from_link
from motion_transfer.ranks import Ranks, joined
from motion_transfer.recipes import UsedLora, base_name, found_lora, read_recipe, recipe_of, verify
from motion_transfer.types import Clip, Lora, RenderSpec, TuneSpec
from motion_transfer.video.crop_text import crop_from
from motion_transfer.video.frames import save_png
from motion_transfer.video.io import MAX_SECONDS, ROUNDING_S, probe, read_clip, write_clip
from motion_transfer.video.overlay import head_map_picture
from motion_transfer.video.strip import ALL
from motion_transfer.work import OnProgress, Stopwatch, drive


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What of a clip is learned, as it was asked for."""

    start: float
    end: float | None
    crop: str
    movement: str

    @property
    def is_whole(self) -> bool:
        """Whether that is all of it."""
        return (self.start, self.end, self.crop, self.movement) == (0.0, None, "", ALL)


def _read(studio: Studio, path: Path, caption: str, part: _Part) -> Clip:
    """The part of a clip that is learned; says so on standard error if more was asked for than is used."""
    clip = studio.read(path, start_s=part.start, end_s=part.end, caption=caption, crop=crop_from(part.crop),
                       movement=part.movement)  # fmt: skip
    asked_s = (probe(path).seconds if part.end is None else part.end) - part.start
    if asked_s > MAX_SECONDS + ROUNDING_S:
        print(f"note: of {asked_s:.1f} s the first {MAX_SECONDS:g} s are learned; choose with --start and --end.",
              file=sys.stderr)  # fmt: skip
    return clip


def _suited(studio: Studio, render: RenderSpec, given: Collection[str]) -> RenderSpec:
    """The settings of a render, as a distilled base asks for them; says so where given ones don't suit it."""
    found = studio.suited(render, given)
    for said in misfit_notes(found, studio.spec.distilled):
        note(said)
    return found


def _beware_learning(studio: Studio) -> None:
    """Says so where the base is not made to be learned on."""
    if studio.spec.distilled is not None:
        note(LEARNING)


def _meter(ranks: Ranks) -> OnProgress | None:
    """What shows the progress of work that ranks share: the first one does."""
    return Meter() if ranks.is_first else None


@app.command()
@with_settings(tune=TuneSpec, render=RenderSpec, required=("prompt",))
def transfer(
    clip: ClipArg,
    tune: TuneSpec,
    render: RenderSpec,
    set_by_hand: set[str],
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    start: StartOpt = 0.0,
    end: EndOpt = None,
    crop: CropOpt = "",
    movement: MovementOpt = ALL,
    out: Annotated[Path, typer.Option(help="The rendered video (mp4); the LoRA goes beside it.")] = Path(
        "transfer.mp4"
    ),
    shard_weights: ShardOpt = False,
    json_path: JsonOpt = None,
) -> None:
    """The whole job: clip in, motion learned, new video out."""
    lora_path = out.with_suffix(".safetensors")
    part = _Part(start=start, end=end, crop=crop, movement=movement)
    with joined() as ranks:
        ranks.same(lambda: prepare(out, lora_path, json_path, inputs=(clip,), video=out))
        studio = Studio(base=base, precision=precision, ranks=ranks, shard_weights=shard_weights)
        ranks.same(lambda: _beware_learning(studio))
        render = ranks.same(lambda: _suited(studio, render, set_by_hand))
        reference = ranks.same(lambda: _read(studio, clip, tune.caption, part))
        scene = scene_of(clip) if part.is_whole and ranks.is_first else None
        result = studio.transfer(
            reference, tune, render, scene=scene, on_progress=_meter(ranks),
            on_tuned=lambda tuned: save_lora(tuned.lora, lora_path),
        )  # fmt: skip
    if not ranks.is_first:
        return
    used = [UsedLora(name=lora_path.stem, sha256=file_hash(lora_path), strength=1.0)]
    _write_render(studio, result.render, render, used, out)
    print(f"video: {out}\nlora: {lora_path}")
    print_report(result.report)
    write_json(
        json_path,
        {
            **_cost(studio, result.seconds),
            "report": result.report.as_json(),
            "why_missing": why_missing(result.report),
            "lora": str(lora_path),
            "video": str(out),
            "spec": {
                "base": base,
                "precision": precision,
                "start": start,
                "end": end,
                "crop": crop,
                "movement": movement,
                "tune": asdict(tune),
                "render": asdict(render),
            },
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
    crop: CropOpt = "",
    movement: MovementOpt = ALL,
    shard_weights: ShardOpt = False,
    json_path: JsonOpt = None,
) -> None:
    """Learns a clip's motion as a LoRA file."""
    part = _Part(start=start, end=end, crop=crop, movement=movement)
    with joined() as ranks:
        ranks.same(lambda: prepare(out, json_path, inputs=(clip,)))
        studio = Studio(base=base, precision=precision, ranks=ranks, shard_weights=shard_weights)
        ranks.same(lambda: _beware_learning(studio))
        reference = ranks.same(lambda: _read(studio, clip, spec.caption, part))
        tuned = studio.tune(reference, spec, on_progress=_meter(ranks))
    if not ranks.is_first:
        return
    save_lora(replace(tuned.lora, info={**tuned.lora.info, "movement": movement}), out)
    write_json(json_path, {**_cost(studio, tuned.seconds), "lora": str(out),
                            "spec": {"base": base, "precision": precision, "start": start, "end": end, "crop": crop,
                                     "movement": movement, "tune": asdict(spec)}})  # fmt: skip


def _cost(studio: Studio, seconds: Mapping[str, float]) -> dict[str, Any]:
    """What work took: seconds by stage, memory, and which backend computed attention; and how much of the device's rate
    each stage reached, if that was measured.
    """
    shares = studio.shares(seconds)
    return {"seconds": dict(seconds), "peak_memory_mb": peak_memory_mb(), "attention": dict(studio.attention),
            **({"shares": shares} if shares else {})}  # fmt: skip


def _write_render(studio: Studio, clip: Clip, spec: RenderSpec, used: list[UsedLora], out: Path) -> None:
    """The video, with its recipe inside, and as a file beside it."""
    recipe = recipe_of(studio, spec, used, clip).as_values()
    write_clip(clip, out, comment=json.dumps(recipe))
    write_json(out.with_suffix(".recipe.json"), recipe)


def _finder(given: list[Path], workspace: Path | None) -> Callable[[str], Path | None]:
    """Finds LoRA files by SHA-256, among those given and in the workspace.

    Raises:
        BadLora: a given one is not there.
    """
    missing = [path for path in given if not path.is_file()]
    if missing:
        raise BadLora(f"a LoRA file is expected, but there is no {missing[0]}; check the path.")
    library, hashes = Library(workspace or default_workspace()), {file_hash(path): path for path in given}

    def find(sha256: str) -> Path | None:
        kept = library.of_sha256(sha256)
        return hashes.get(sha256) or (kept.path if kept else None)

    return find


def _link_lines(preset: Preset, find: Callable[[str], Path | None]) -> list[str]:
    """What a link asks for, in lines to read; its words may be anybody's, so none can end a line or turn it around."""
    plain = asdict(RenderSpec())
    lines = [f"{name}: {repr(value) if isinstance(value, str) and not value.isprintable() else value}"
             for name, value in asdict(preset.render_spec()).items() if value != plain[name]]  # fmt: skip
    for lora in preset.loras:
        where = f"not at hand, on the Hub as {lora.hub}" if lora.hub else "not at hand"
        found = find(lora.sha256)
        lines.append(f"LoRA {lora.name}, strength {lora.strength:g}, SHA-256 {lora.sha256[:12]}…: {found or where}")
    return [f"the link asks for the base {preset.base}", *lines]


def _from_link(
    link: str, spec: RenderSpec, base: str, given: list[Path], workspace: Path | None, fetch: bool
) -> tuple[RenderSpec, list[tuple[Path, UsedLora]]]:
    """What a share link asks for, after printing it: settings, and LoRA files, fetched from the Hub if they may be."""
    if spec != RenderSpec():
        raise BadSpec("a link brings all settings of a render, but some are given beside it; leave either out.")
    preset, find = preset_from_link(link), _finder(given, workspace)
    print("\n".join(_link_lines(preset, find)))
    if preset.base != find_base(base).name:
        raise WrongBase(
            f"the link is for the base {preset.base}, but the render would use {base}; choose it by --base."
        )
    used = [UsedLora(name=one.name, sha256=one.sha256, strength=one.strength) for one in preset.loras]
    for path in given:
        if file_hash(path) not in [one.sha256 for one in used]:
            asked = f"{used[0].name!r:.60} with SHA-256 {used[0].sha256[:12]}…" if used else "no LoRA"
            raise BadLora(f"the link asks for {asked}, but {path.name} is another; leave --lora out or give that one.")
    published = [one for one in preset.loras if one.hub and find(one.sha256) is None]
    if published and not fetch:
        raise BadLora(f"the LoRA {published[0].name!r:.60} is expected, but is not at hand; let it be fetched from "
                      f"{published[0].hub} by --fetch, or give its file by --lora.")  # fmt: skip
    for one in published:
        fetch_into(Library(workspace or default_workspace()), one)
    return preset.render_spec(), [(found_lora(one, find), one) for one in used]


def _strengths(text: str, count: int) -> list[float]:
    """One strength a LoRA.

    Raises:
        BadSpec: they are not as many numbers.
    """
    if not text:
        return [1.0] * count
    try:
        found = [RenderSpec(strength=float(part)).strength for part in text.split(",")]
    except ValueError as error:
        raise BadSpec(f"strengths are expected as in 1,-0.5, but are {text!r:.40}; write numbers.") from error
    if len(found) != count:
        raise BadSpec(f"a strength for each of {count} LoRAs is expected, but {text!r:.40} has {len(found)}; give as "
                      "many.")  # fmt: skip
    return found


@app.command("render")
@with_settings(spec=RenderSpec)
def render_prompt(
    out: Annotated[Path, typer.Option(help="The video file to write.")],
    spec: RenderSpec,
    set_by_hand: set[str],
    lora: Annotated[
        list[Path] | None, typer.Option(help="A motion; none renders the bare base, several add up.")
    ] = None,
    strengths: Annotated[
        str, typer.Option(help="A strength for each --lora, in their order, as in 1,-0.5; left out, all are 1.")
    ] = "",
    from_link: Annotated[str, typer.Option(help="A share link, which brings all settings.")] = "",
    fetch: Annotated[bool, typer.Option("--fetch", help="Fetch motions of the link from the Hub.")] = False,
    workspace: WorkspaceOpt = None,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    shard_weights: ShardOpt = False,
    json_path: JsonOpt = None,
) -> None:
    """Renders a prompt with a learned motion, or what a share link asks for."""
    given = lora or []
    if strengths and from_link:
        raise BadSpec("a link brings its strengths, but --strengths was given too; leave one of them out.")
    if fetch and not from_link:
        raise BadSpec("--fetch goes with a link, but there is none; give it by --from-link.")

    def asked() -> tuple[RenderSpec, list[UsedLora], list[tuple[Lora, float]]]:
        prepare(out, json_path, inputs=tuple(given), video=out)
        if from_link:
            shown, found = _from_link(from_link, spec, base, given, workspace, fetch)
        elif spec.prompt:
            shown = spec
            found = [(path, UsedLora(name=path.stem, sha256=file_hash(path), strength=strength))
                     for path, strength in zip(given, _strengths(strengths, len(given)), strict=True)]  # fmt: skip
        else:
            raise BadSpec("a prompt is expected, but there is none; say by --prompt what the video shows.")
        motions = [(load_lora(path), one.strength) for path, one in found]
        check_one_base([motion for motion, _ in motions])
        return shown, [one for _, one in found], motions

    watch = Stopwatch()
    with joined() as ranks:
        shown, used, motions = ranks.same(asked)
        studio = Studio(base=base, precision=precision, workspace=workspace, ranks=ranks, shard_weights=shard_weights)
        kept = set(asdict(shown)) if from_link else set_by_hand
        shown = ranks.same(lambda: _suited(studio, shown, kept))
        _ = studio.base  # opened before the clock runs
        with watch.timing("render"):
            clip = studio.render(*mixed(motions, shown), on_progress=_meter(ranks))
    if not ranks.is_first:
        return
    _write_render(studio, clip, shown, used, out)
    write_json(json_path, {**_cost(studio, watch.seconds), "video": str(out), "loras": [one.name for one in used],
                           "spec": {"base": base, "precision": precision, "render": asdict(shown)}})  # fmt: skip


@app.command("verify")
def verify_render(
    video: Annotated[Path, typer.Argument(help="A render, as it was saved or downloaded.")],
    lora: Annotated[
        list[Path] | None, typer.Option(help="A LoRA it was made with; left out, those of the workspace are searched.")
    ] = None,
    workspace: WorkspaceOpt = None,
    base: Annotated[str | None, typer.Option(help="Its base, if that is a folder.")] = None,
) -> None:
    """Renders a video's own recipe again and compares; exit status 1 if it does not come out the same."""
    recipe = read_recipe(video)
    studio = Studio(base=base or base_name(recipe), precision=recipe.precision, workspace=workspace)
    found = drive(verify(studio, video, _finder(lora or [], workspace)), Meter())
    same = "the same, to the last bit" if found.same else f"not the same: off by {found.mean_levels:.2f} of 255 levels"
    print("\n".join([same, *found.changed]))
    if not found.same:
        raise typer.Exit(1)


@app.command()
def judge(
    reference: ClipArg,
    generated: Annotated[Path, typer.Argument(help="The render.")],
    prompt: Annotated[str, typer.Option(help="What the render shows; left out, what the file itself says.")] = "",
    caption: Annotated[str, typer.Option(help="What the reference shows.")] = "",
    json_path: JsonOpt = None,
) -> None:
    """Measures a render against its reference."""
    prepare(json_path, inputs=(reference, generated))
    report = Studio().judge(read_clip(reference, caption=caption), read_clip(generated),
                            prompt=prompt or prompt_of(generated), scene=scene_of(reference))  # fmt: skip
    print_report(report)
    write_json(json_path, {"report": report.as_json(), "why_missing": why_missing(report)})


@app.command()
@with_settings(spec=TuneSpec, only=("caption", "head_rule"))
def heads(
    clip: ClipArg,
    out: Annotated[Path, typer.Option(help="The picture to write (PNG).")],
    spec: TuneSpec,
    base: BaseOpt = "nano",
    precision: PrecisionOpt = "nf4",
    start: StartOpt = 0.0,
    end: EndOpt = None,
    crop: CropOpt = "",
) -> None:
    """Draws which attention heads are spatial and which temporal on a clip."""
    prepare(out, inputs=(clip,))
    studio = Studio(base=base, precision=precision)
    part = _Part(start=start, end=end, crop=crop, movement=ALL)
    head_map = studio.heads(_read(studio, clip, spec.caption, part), spec, on_progress=Meter())
    save_png(head_map_picture(head_map), out)
