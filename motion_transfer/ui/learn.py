"""What happens behind the Learn tab, as plain functions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motion_transfer.errors import BadClip, BadSpec
from motion_transfer.jobs.estimates import Estimate, estimate_tuning, with_room
from motion_transfer.jobs.orders import CLIP_FOLDER, TUNE, TuneOrder, from_json, to_json
from motion_transfer.jobs.store import Job
from motion_transfer.jobs.worker import HEADS, PREVIEW, PREVIEW_STEPS, PREVIEWS
from motion_transfer.library import SHOWN_SIDE_PX, Library
from motion_transfer.pipeline import Studio, caption_of
from motion_transfer.planner import planned
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, Seen, ahead_of, job_line, shown_job
from motion_transfer.ui.forecast import took_line
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.plots import loss_table
from motion_transfer.video.cuts import find_cuts
from motion_transfer.video.io import MAX_SECONDS, probe, read_clip, read_overview
from motion_transfer.video.strip import (
    ALL,
    CAMERA,
    MOVEMENTS,
    THINGS,
    WHOLE,
    Crop,
    box_picture,
    cropped,
    frame_strip,
    strip_time,
)

SMALLEST_PX = 32
OVERVIEW_FRAMES, STRIP_FRAMES, STRIP_PX = 48, 8, 72
LEAST_SPAN_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A reference clip as the page shows it."""

    facts: str
    start_s: float
    end_s: float
    caption: str
    part: PartView


@dataclass(frozen=True, kw_only=True)
class PartView:
    """What of a clip will be learned: the span as a video, its place in the clip, the crop, and a word about cuts.

    `rule` tells which frames the base will see.
    """

    span: Path
    strip: Path
    box: Path
    cuts: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class LearnOrder:
    """What the user asks for."""

    path: str | None
    start_s: float | None
    end_s: float | None
    caption: str
    name: str
    preview_prompt: str
    zoom: float = 1.0
    crop_x: float = 0.5
    crop_y: float = 0.5
    movement: str = ALL
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def crop(self) -> Crop:
        """Which part of the picture is learned."""
        return Crop(zoom=self.zoom, x=self.crop_x, y=self.crop_y)


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnView:
    """How a job looks: its line, curve, newest preview and heads, and the key of the motion it ended in.

    Parts that are not `renewed` are as they were.
    """

    job: Job
    seen: Seen
    renewed: frozenset[str]
    status: str
    losses: pd.DataFrame | None
    saved: str | None
    preview: Path | None = None
    heads: Path | None = None


def example_clips(folder: Path) -> list[Path]:
    """The clips that ship with the program, by name."""
    return sorted(folder.glob("*.mp4"))


def choose_clip(studio: Studio, library: Library, path: Path) -> Chosen:
    """Looks at a clip that was uploaded or clicked: its facts, its caption and the span to begin with.

    Raises:
        BadClip: it is not a usable video.
    """
    end_s = round(min(probe(path).seconds, MAX_SECONDS), 2)
    part = show_part(studio, library, path, start_s=0.0, end_s=end_s)
    return Chosen(facts=clip_facts(path), start_s=0.0, end_s=end_s, caption=caption_of(path), part=part)


def clip_facts(path: Path) -> str:
    """A clip's size, rate and length as a line of the page.

    Raises:
        BadClip: it is not a usable video.
    """
    facts = probe(path)
    return words.FACTS.format(
        width=facts.width, height=facts.height, fps=facts.fps, seconds=facts.seconds, limit=MAX_SECONDS
    )


@lru_cache(maxsize=4)
def _overview(path: Path, changed_ns: int) -> Clip:
    """The whole clip as the strip shows it; kept, for its span is moved again and again."""
    return read_overview(path, num_frames=OVERVIEW_FRAMES, max_px=STRIP_PX)


def _strip(path: Path, start_s: float, end_s: float, cuts_s: Sequence[float] = ()) -> np.ndarray:
    whole = _overview(path, path.stat().st_mtime_ns)
    cuts = [min(int(cut_s * whole.fps), whole.num_frames - 1) for cut_s in cuts_s]
    return frame_strip(whole, start_s=start_s, end_s=min(end_s, whole.seconds), cuts=cuts,
                       num_frames=STRIP_FRAMES, height_px=STRIP_PX)  # fmt: skip


def movements() -> list[tuple[str, str]]:
    """Whose motion can be learned."""
    return [(words.MOVEMENT_ALL, ALL), (words.MOVEMENT_CAMERA, CAMERA), (words.MOVEMENT_THINGS, THINGS)]


def show_part(
    studio: Studio, library: Library, path: Path, *, start_s: float | None, end_s: float | None, crop: Crop = WHOLE,
    movement: str = ALL,
) -> PartView:  # fmt: skip
    """Pictures of what will be learned.

    Raises:
        BadClip: the span holds no clip, or camera and things can't be told apart in it.
        BadSpec: there is no such movement.
    """
    start_s, spec = start_s or 0.0, studio.spec
    clip = read_clip(path, start_s=start_s, end_s=end_s, max_px=SHOWN_SIDE_PX)
    height, width = clip.frames_THWC.shape[1:3]
    box = crop.box(width, height, spec.width / spec.height)
    cuts_s = [start_s + frame / clip.fps for frame in find_cuts(clip)]
    shown = clip if crop == WHOLE else cropped(clip, box)
    if movement != ALL:
        shown = studio.read(path, start_s=start_s, end_s=end_s, crop=crop, movement=movement)
    times = ", ".join(f"{cut_s:.2f} s" for cut_s in cuts_s)
    return PartView(
        span=library.show(shown),
        strip=library.show_picture(_strip(path, start_s, start_s + clip.seconds if end_s is None else end_s, cuts_s)),
        box=library.show_picture(box_picture(clip.frames_THWC[clip.num_frames // 2], box)),
        cuts=words.CUTS.format(times=times) if cuts_s else "",
        rule=words.FRAME_RULE.format(
            frames=spec.num_frames, fps=spec.num_frames / clip.seconds, width=spec.width, height=spec.height
        ),
    )


def span_from_click(path: Path, x_px: float, start_s: float | None, end_s: float | None) -> tuple[float, float]:
    """The span after a click on the strip: its nearer end moves there, the other follows where it must.

    Args:
        path: the clip.
        x_px: where the strip was clicked, from its left edge.
        start_s: where the span starts now.
        end_s: where it ends.
    """
    seconds = probe(path).seconds
    start_s = start_s or 0.0
    end_s = min(start_s + MAX_SECONDS, seconds) if end_s is None else end_s
    time_s = strip_time(x_px, _strip(path, 0.0, seconds).shape[1], seconds)
    if abs(time_s - start_s) < abs(time_s - end_s):
        start_s = min(time_s, seconds - LEAST_SPAN_S)
        end_s = min(max(end_s, start_s + LEAST_SPAN_S), start_s + MAX_SECONDS)
    else:
        end_s = max(time_s, LEAST_SPAN_S)
        start_s = max(min(start_s, end_s - LEAST_SPAN_S), end_s - MAX_SECONDS)
    return round(max(0.0, start_s), 2), round(min(end_s, seconds), 2)


def unknown_note(studio: Studio, text: str) -> str:
    """A Markdown line that marks the words the base never learned; empty if it knows them all."""
    unknown = dict.fromkeys(studio.unknown_words(text))
    return words.UNKNOWN_WORDS.format(words=", ".join(f"**{word}**" for word in unknown)) if unknown else ""


def expect_learning(place: Place, studio: Studio, knobs: Mapping[str, Any], path: str | None = None) -> Estimate | None:
    """What learning a clip with some settings will take; None where they are out of range, which Start will say.

    Of the file at `path`, the job keeps a copy.
    """
    try:
        spec = spec_from(TuneSpec, knobs)
    except BadSpec:
        return None
    previews = studio.suited(RenderSpec(steps=PREVIEW_STEPS))
    plan = planned(studio.spec, studio.precision, place.workspace.root, tune=spec, render=previews,
                   num_renders=PREVIEWS)  # fmt: skip
    found = estimate_tuning(place.workspace.jobs.jobs(), studio.spec, studio.precision, spec, plan)
    copied_mb = Path(path).stat().st_size / 1e6 if path and Path(path).is_file() else 0.0
    return with_room(replace(found, disk_mb=(found.disk_mb or 0.0) + copied_mb), place.workspace.root)


def saved_line(job: Job) -> str:
    """What to say of a motion that was learned: what it took, and what was expected."""
    return f"{words.SAVED.format(name=job.title)} {took_line(job)}"


def order_learning(place: Place, order: LearnOrder, expected: Estimate | None = None) -> Job:
    """Queues the learning of a clip, of which the job gets a copy; keeps what was expected, to be compared.

    Raises:
        BadClip: no clip is chosen, the span holds none, or camera and things can't be told apart in it.
        BadSpec: a setting is out of range, or a visitor has no room for more.
        StorageFailed: the copy can't be made.
    """
    if not order.path:
        raise BadClip(words.NO_CLIP)
    if order.movement not in MOVEMENTS:
        raise BadSpec(words.BAD_MOVEMENT.format(all=", ".join(MOVEMENTS), asked=order.movement))
    path, spec = Path(order.path), spec_from(TuneSpec, {**order.knobs, "caption": order.caption.strip()})
    place.workspace.check_steps(spec)
    place.workspace.check_room(place.owner)  # before the clip is read, which may be that of an old job
    seen = read_clip(path, start_s=order.start_s or 0.0, end_s=order.end_s, max_px=SMALLEST_PX)
    order.crop.box(*seen.frames_THWC.shape[2:0:-1], aspect=1.0)
    jobs = place.workspace.jobs
    key, name = jobs.new_key(), order.name.strip() or path.stem
    clip = f"{CLIP_FOLDER}/{path.name}"  # under its own name, which ordering it again keeps
    asked = TuneOrder(
        name=name, clip=clip, source=path.name, spec=spec, start_s=order.start_s or 0.0, end_s=order.end_s,
        preview_prompt=order.preview_prompt.strip(), crop=order.crop, movement=order.movement, base=place.base,
        expected=expected.as_values() if expected else {},
    )  # fmt: skip
    try:
        (jobs.files(key) / CLIP_FOLDER).mkdir()
        shutil.copyfile(path, jobs.files(key) / clip)
        return jobs.submit(key, TUNE, place.owner, name, to_json(asked))
    except BaseException:
        shutil.rmtree(jobs.files(key), ignore_errors=True)
        raise


def ordered_learning(place: Place, key: str) -> LearnOrder | None:
    """What a job was asked, to be changed and ordered again; None if it was not to learn.

    Raises:
        NoSuchJob: it is gone.
    """
    job = place.workspace.jobs.job(key, place.owner)
    if job.kind != TUNE:
        return None
    asked = from_json(TuneOrder, job.orders)
    knobs = asdict(asked.spec)
    clip = place.workspace.jobs.folder / key / asked.clip
    return LearnOrder(path=str(clip), start_s=asked.start_s, end_s=asked.end_s, caption=knobs.pop("caption"),
                      name=asked.name, preview_prompt=asked.preview_prompt, zoom=asked.crop.zoom,
                      crop_x=asked.crop.x, crop_y=asked.crop.y, movement=asked.movement, knobs=knobs)  # fmt: skip


def look_at_learning(place: Place, key: str | None, seen: Seen | None) -> LearnView | None:
    """How the owner's job stands: the one of that key, else the latest; None if that has been seen.

    Args:
        place: whose jobs.
        key: of the job to show, if one was chosen.
        seen: the last look.
    """
    job = shown_job(place, TUNE, key)
    if job is None:
        return None
    files, ahead = place.workspace.jobs.folder / job.key, ahead_of(place, job)
    now = Seen.of(job, ahead, files / PREVIEW, files / HEADS)
    if now == seen:
        return None
    renewed, library = now.renewed(seen, "preview", "heads"), place.workspace.library(place.owner)
    shown = {
        name: library.show_file(files / file)
        for name, file in (("preview", PREVIEW), ("heads", HEADS))
        if name in renewed and (files / file).is_file()
    }
    done = saved_line(job)
    return LearnView(
        job=job,
        seen=now,
        renewed=renewed,
        status=job_line(job, ahead, done),
        losses=loss_table(place.workspace.jobs.losses(job.key)) if "curve" in renewed else None,
        saved=job.results.get("motion"),
        **shown,
    )
