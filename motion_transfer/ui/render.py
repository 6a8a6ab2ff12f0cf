"""What happens behind the Mix tab, as plain functions."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from html import escape
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from motion_transfer.errors import BadClip, BadLora, BadSpec
from motion_transfer.jobs import orders
from motion_transfer.jobs.estimates import Estimate, estimate_rendering, with_room
from motion_transfer.jobs.store import DONE, OPEN, Job
from motion_transfer.library import Library
from motion_transfer.library_files import Motion, Render
from motion_transfer.pipeline import Studio
from motion_transfer.planner import planned
from motion_transfer.presets import MAX_LORAS
from motion_transfer.types import Measure, RenderSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, Seen, ahead_of, job_line, shown_job
from motion_transfer.ui.forecast import took_line
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.plots import score_table
from motion_transfer.ui.recipe_facts import recipe_facts
from motion_transfer.video.inline import data_address
from motion_transfer.video.io import read_clip, read_overview

RANDOM_SEED = -1
SEED_HIGH = 2**31 - 1
MOST_VIDEOS = 8
MOST_MOTIONS = MAX_LORAS
THUMBNAIL_PX = 64
CONTROL_FRAMES = 3  # side by side: one frame says nothing of what a control does
CROWDED = 0.1  # likeness of two motions' changes from which on they get in each other's way


@dataclass(frozen=True, kw_only=True)
class MixOrder:
    """What the user asks for.

    `motions` are keys, one for each of the page's places, with as many `strengths`: an empty one stays free, None is
    yet to be chosen; all free renders the bare base. `prompt` is one a line. More `videos` than one have seeds in a
    row.
    """

    motions: tuple[str | None, ...]
    strengths: tuple[float | None, ...]
    prompt: str
    seed: float | None
    videos: float | None = 1
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderView:
    """How a job looks: its line, the clip its motion came from, and its result, file and scores, once they are there.

    `latest` shows the newest renders of all side by side, as HTML.

    Parts that are not `renewed` are as they were.
    """

    job: Job
    seen: Seen
    renewed: frozenset[str]
    status: str
    reference: Path | None = None
    result: Path | None = None
    file: Path | None = None
    scores: str = ""
    latest: str = ""


def item_label(item: Motion | Render) -> str:
    """A motion or a render as lists show it."""
    if isinstance(item, Render) and item.seed is not None:
        return words.RENDER_LABEL.format(name=item.name, seed=item.seed, made=item.made)
    if isinstance(item, Motion) and item.shipped:
        return words.SHIPPED_MOTION.format(name=item.name)
    return words.MOTION_LABEL.format(name=item.name, made=item.made)


def motion_choices(library: Library, base: str) -> list[tuple[str, str]]:
    """Labels and keys of the motions to choose from: newest first, then those of the program; the bare base last."""
    motions = [*library.motions(), *library.shipped_motions(base)]
    return [*((item_label(motion), motion.key) for motion in motions), (words.NO_MOTION, "")]


def kept_motion(library: Library, base: str, key: str | None) -> str:
    """The chosen motion if it is still there, else the newest one."""
    keys = [key for _, key in motion_choices(library, base)]
    return key if key is not None and key in keys else keys[0]


def asked_motion(library: Library, base: str, key: str | None) -> str | None:
    """The motion of that key; None if it is gone, for with another one it would be another order."""
    return key if key in [key for _, key in motion_choices(library, base)] else None


def strength_readout(recipe: Mapping[str, Any], strength: float | None) -> str:
    """How far a control's motion goes at a strength, in its own unit, as HTML; empty for a motion that has none."""
    amount, unit = recipe.get("amplitude"), recipe.get("unit")  # of anybody's file
    known = isinstance(unit, str) and unit in words.UNITS
    if strength is None or not known or type(amount) not in (int, float) or not math.isfinite(amount):
        return ""
    return escape(words.READOUT.format(amount=f"{strength * amount:+.2f}", unit=words.UNITS[unit]))


@dataclass(frozen=True, kw_only=True)
class MeterView:
    """How the chosen motions meet, as HTML, and whether some get in each other's way."""

    shown: str
    crowded: bool


def look_at_meter(place: Place, studio: Studio, keys: Sequence[str | None]) -> MeterView:
    """Reads the motions' weights and compares every two.

    Raises:
        BadLora: a motion is gone, or its file is broken.
    """
    library = place.workspace.library(place.owner)
    motions = [library.motion(key) for key in keys if key]
    if len(motions) < 2:
        return MeterView(shown="", crowded=False)
    meetings = studio.meetings([library.load(motion) for motion in motions])
    rows = [(f"{motions[a].name} + {motions[b].name}", f"{meeting.overlap:.0%}", f"{meeting.likeness:.0%}",
             f"{meeting.ratio:.1f}") for a, b, meeting in meetings]  # fmt: skip
    head = "".join(f"<th>{escape(title)}</th>" for title in words.METER_COLUMNS)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    crowded = any(meeting.likeness > CROWDED for _, _, meeting in meetings)
    said = words.METER_CROWDED if crowded else words.METER_CLEAR
    table = f"<table><tr>{head}</tr>{body}</table>" if rows else ""
    return MeterView(shown=f"<p>{escape(said)}</p>{table}", crowded=crowded)


def motion_card(library: Library, key: str | None) -> str:
    """What a motion looks like and where it comes from, as HTML; empty for a free place."""
    if not key:
        return ""
    motion = library.motion(key)
    made = words.SHIPPED if motion.shipped else motion.made
    recipe = library.recipe(motion)
    is_control = recipe.get("kind") == "control"
    told = words.CONTROL_FACTS if is_control else words.MOTION_FACTS
    facts = told.format(caption=motion.caption or words.NO_CAPTION, base=motion.base or "?", rank=motion.rank or "?",
                        made=made)  # fmt: skip
    clip, frames = motion.example, CONTROL_FRAMES if is_control else 1
    picture = _thumbnail(clip, clip.stat().st_mtime_ns, frames) if clip else ""
    image = f'<img src="{picture}" alt="">' if picture else ""
    card = f'<div class="card">{image}<p>{escape(facts)}</p></div>'  # its words come from a file of anybody's
    return card + recipe_facts(recipe)


@lru_cache(maxsize=256)
def _thumbnail(path: Path, changed_ns: int, num_frames: int = 1) -> str:
    """The address of a clip's middle frame, or of some side by side; empty where the file is no clip."""
    try:
        clip = read_overview(path, num_frames=num_frames, max_px=THUMBNAIL_PX)
    except BadClip:
        return ""
    return data_address(np.concatenate(list(clip.frames_THWC), axis=1))


def used_seed(seed: float | None) -> int:
    """The seed to render with; -1 draws one.

    Raises:
        BadSpec: it is not a seed.
    """
    if seed == RANDOM_SEED:
        return secrets.randbelow(SEED_HIGH + 1)
    if seed is None or seed != int(seed) or not 0 <= seed <= SEED_HIGH:
        raise BadSpec(words.BAD_SEED.format(high=SEED_HIGH, seed="empty" if seed is None else seed))
    return int(seed)


def prompts_of(order: MixOrder) -> list[str]:
    """The prompts of an order, one a line.

    Raises:
        BadSpec: there is none.
    """
    prompts = [line.strip() for line in order.prompt.splitlines() if line.strip()]
    if not prompts:
        raise BadSpec(words.NO_PROMPT)
    return prompts


def mixed(order: MixOrder) -> tuple[tuple[str, float], ...]:
    """Keys and strengths of an order's motions; empty for the bare base.

    Raises:
        BadSpec: a motion is yet to be chosen, or a strength is missing or out of range.
    """
    found = []
    for key, strength in zip(order.motions, order.strengths, strict=True):
        if key is None:
            raise BadSpec(words.CHOOSE_MOTION)
        if key:
            found.append((key, spec_from(RenderSpec, {"strength": strength}).strength))
    return tuple(found)


def in_places(motions: Sequence[tuple[str | None, float]]) -> dict[str, tuple[Any, ...]]:
    """Keys and strengths as the fields of an order, with the places that stay free."""
    free = MOST_MOTIONS - len(motions)
    return {"motions": (*(key for key, _ in motions), *[""] * free),
            "strengths": (*(strength for _, strength in motions), *[1.0] * free)}  # fmt: skip


def _num_videos(order: MixOrder, num_prompts: int) -> int:
    videos = order.videos
    if videos is None or videos != int(videos) or not 1 <= videos * num_prompts <= MOST_VIDEOS:
        asked = "empty" if videos is None else words.ASKED_VIDEOS.format(prompts=num_prompts, videos=videos)
        raise BadSpec(words.BAD_VIDEOS.format(most=MOST_VIDEOS, videos=asked))
    return int(videos)


def expect_rendering(place: Place, studio: Studio, order: MixOrder, *, one: bool = False) -> Estimate | None:
    """What an order, or the first render of it, will take; None where it can't be done, which Render will say."""
    try:
        spec = spec_from(RenderSpec, order.knobs)
        num_prompts = max(1, sum(bool(line.strip()) for line in order.prompt.splitlines()))
        num_videos = 1 if one else num_prompts * _num_videos(order, num_prompts)
    except BadSpec:
        return None
    plan = planned(studio.spec, studio.precision, place.workspace.root, render=spec)  # of one video
    past = place.workspace.jobs.jobs()
    found = estimate_rendering(past, studio.spec, studio.precision, spec, num_videos, plan)
    return with_room(found, place.workspace.root)


def misfit_line(studio: Studio, order: MixOrder) -> str:
    """Which settings of an order don't suit a distilled base, as Markdown; empty if they all do, or some are wrong."""
    try:
        found = studio.misfits(spec_from(RenderSpec, order.knobs))
    except BadSpec:
        return ""
    return " ".join(words.MISFITS[name].format(asked=f"{asked:g}", wanted=f"{wanted:g}")
                    for name, (asked, wanted) in found.items())  # fmt: skip


def rendered_line(job: Job) -> str:
    """What to say of a render that is done: its seed, what it took, and what was expected."""
    return f"{words.RENDERED.format(seed=job.results.get('seed'))} {took_line(job)}"


def order_rendering(place: Place, order: MixOrder, expected: Estimate | None = None) -> Job:
    """Queues renders: one for each prompt and each of as many seeds; returns the first one's job.

    Args:
        place: whose they are.
        order: what is asked for.
        expected: of each of them, kept to be compared.

    Raises:
        BadSpec: there is no prompt, a motion is yet to be chosen, a setting is out of range, or a visitor has no room
            for more.
        BadLora: a motion is gone.
    """
    prompts, motions, seed = prompts_of(order), mixed(order), used_seed(order.seed)
    videos, library = _num_videos(order, len(prompts)), place.workspace.library(place.owner)
    place.workspace.check_room(place.owner, videos * len(prompts))
    sha256s = tuple(library.sha256(library.motion(key)) for key, _ in motions)
    motions = tuple((library.motion(key).key, strength) for key, strength in motions)
    spec = spec_from(RenderSpec, {**order.knobs, "seed": seed})
    jobs, queued = place.workspace.jobs, list[Job]()
    told_before = expected.as_values() if expected else {}
    keys = [jobs.new_key() for _ in range(videos * len(prompts))]
    with jobs.all_or_none():
        for key, (prompt, number) in zip(keys, product(prompts, range(videos)), strict=True):
            one = replace(spec, prompt=prompt, seed=(seed + number) % (SEED_HIGH + 1))
            asked = orders.to_json(orders.RenderOrder(
                spec=one, motions=motions, sha256s=sha256s, base=place.base, expected=told_before,
                group=keys[0]))  # fmt: skip
            queued.append(jobs.submit(key, orders.RENDER, place.owner, prompt, asked))
    return queued[0]


def ordered_rendering(place: Place, key: str) -> MixOrder | None:
    """What a job was asked, to be changed and ordered again; None if it was not to render.

    Raises:
        NoSuchJob: it is gone.
    """
    job = place.workspace.jobs.job(key, place.owner)
    if job.kind != orders.RENDER:
        return None
    asked = orders.from_json(orders.RenderOrder, job.orders)
    return order_of(asked.spec, asked.motions)


def order_of(spec: RenderSpec, motions: Sequence[tuple[str | None, float]]) -> MixOrder:
    """Settings and motions as the page's order; the settings' own strength goes into those of the motions."""
    knobs = asdict(spec)
    prompt, seed, strength = (knobs.pop(name) for name in ("prompt", "seed", "strength"))
    stronger = [(key, strength * own) for key, own in motions]
    return MixOrder(**in_places(stronger), prompt=prompt, seed=seed, knobs=knobs)


def _reference(library: Library, job: Job) -> Path | None:
    """A copy of the clip that the first of the job's motions which has one was learned from."""
    for key, _ in job.orders.get("motions", ()):
        with suppress(BadLora):
            if path := library.motion(key).reference:
                return library.show_file(path)
    return None


def _scores(job: Job) -> str:
    if job.state != DONE:
        return ""
    measures = [Measure(**values) for values in job.results.get("report", ())]
    if job.orders.get("motions") and "report" not in job.results:  # its note says why
        return ""
    return score_table(measures) if measures else words.NO_SCORES


def _together(place: Place, job: Job) -> list[Job]:
    """The renders that were ordered with a job and have not ended yet, in the order in which they will be done."""
    group = job.orders.get("group")
    waiting = place.workspace.jobs.jobs(place.owner, states=OPEN, limit=-1) if group else []
    return [other for other in waiting if other.orders.get("group") == group]


def _with_result(place: Place, job: Job) -> Job:
    """The render whose result is shown: the job itself, until it is done the last one that was ordered with it."""
    group = job.orders.get("group")
    if job.state == DONE or not group:
        return job
    done = place.workspace.jobs.jobs(place.owner, states=(DONE,), limit=MOST_VIDEOS)
    return next((other for other in done if other.orders.get("group") == group), job)


def ordered_together(place: Place, key: str) -> list[str]:
    """Keys of the renders that were ordered with a job and have not ended yet; of itself, if there are none.

    Raises:
        NoSuchJob: there is no such job.
    """
    return [job.key for job in _together(place, place.workspace.jobs.job(key, place.owner))] or [key]


def look_at_rendering(place: Place, key: str | None, seen: Seen | None) -> RenderView | None:
    """How the owner's render stands: the one of that key, else the latest; None if that has been seen.

    Of renders that were ordered together, the one that is being done comes next; what is done stays until it is, too.
    """
    job = shown_job(place, orders.RENDER, key)
    if job is None:
        return None
    if job.state == DONE:
        job = next(iter(_together(place, job)), job)
    ahead, library = ahead_of(place, job), place.workspace.library(place.owner)
    now = Seen.of(job, ahead, library.renders)
    if now == seen:
        return None
    renewed = now.renewed(seen, "latest")
    done = rendered_line(job)
    shown = _results(library, _with_result(place, job)) if "result" in renewed else {}
    if "latest" in renewed:
        shown["latest"] = _latest(library)
    return RenderView(job=job, seen=now, renewed=renewed, status=job_line(job, ahead, done), **shown)


def _latest(library: Library) -> str:
    """The newest renders as a grid; their names come from prompts, which may be anybody's."""
    cells = []
    for one in library.made_renders()[:MOST_VIDEOS]:
        address, name = f"gradio_api/file={quote(str(library.show_file(one.path)))}", escape(one.name)
        video = f'<video src="{address}" autoplay loop muted controls playsinline aria-label="{name}"></video>'
        seed = "" if one.seed is None else escape(words.SEED_SHORT.format(seed=one.seed))
        cells.append(f"<figure>{video}<figcaption>{name}<br>{seed}</figcaption></figure>")
    return f'<div class="grid">{"".join(cells)}</div>'


def _results(library: Library, job: Job) -> dict[str, Any]:
    """What there is to show beside the line: the reference at once, the rest when the job is done."""
    file = library.renders / str(job.results.get("render"))
    shown: dict[str, Any] = {"reference": _reference(library, job), "scores": _scores(job)}
    if job.state == DONE and file.is_file():
        shown |= {"result": library.show(read_clip(file)), "file": library.show_file(file, name=file.name)}
    return shown
