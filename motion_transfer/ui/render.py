"""What happens behind the Render tab, as plain functions."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from html import escape
from pathlib import Path
from typing import Any

from motion_transfer.errors import BadLora, BadSpec
from motion_transfer.jobs import orders
from motion_transfer.jobs.store import DONE, Job
from motion_transfer.library import Library
from motion_transfer.types import Measure, RenderSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, Seen, ahead_of, job_line, shown_job
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.plots import score_table
from motion_transfer.video.io import read_clip

RANDOM_SEED = -1
SEED_HIGH = 2**31 - 1
MOST_VIDEOS = 8


@dataclass(frozen=True, kw_only=True)
class RenderOrder:
    """What the user asks for.

    An empty `motion` renders the bare base, None is yet to be chosen; more `videos` than one have seeds in a row.
    """

    motion: str | None
    prompt: str
    seed: float | None
    videos: float | None = 1
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderView:
    """How a job looks: its line, the clip its motion came from, and its result, file and scores, once they are there.

    `latest` are the newest renders of all, with their seeds and prompts.

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
    latest: tuple[tuple[str, str], ...] = ()


def motion_choices(library: Library) -> list[tuple[str, str]]:
    """Labels and keys of the motions to choose from, newest first, and the bare base last."""
    named = [(words.MOTION_LABEL.format(name=m.name, made=m.made), m.key) for m in library.motions()]
    return [*named, (words.NO_MOTION, "")]


def kept_motion(library: Library, key: str | None) -> str:
    """The chosen motion if it is still there, else the newest one."""
    keys = [key for _, key in motion_choices(library)]
    return key if key is not None and key in keys else keys[0]


def asked_motion(library: Library, key: str | None) -> str | None:
    """The motion of that key; None if it is gone, for with another one it would be another order."""
    return key if key in [key for _, key in motion_choices(library)] else None


def motion_facts(library: Library, key: str | None) -> str:
    """A line on where a motion comes from, as HTML; empty for the bare base."""
    if not key:
        return ""
    motion = library.motion(key)
    caption = motion.caption or words.NO_CAPTION
    facts = words.MOTION_FACTS.format(caption=caption, base=motion.base or "?", made=motion.made)
    return f"<p>{escape(facts)}</p>"  # its words come from a file, which may be anybody's


def motion_file(library: Library, key: str | None) -> Path | None:
    """A copy of a motion's file to take away; None for the bare base."""
    if not key:
        return None
    motion = library.motion(key)
    return library.show_file(motion.path, name=motion.path.name)


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


def _spec(order: RenderOrder) -> RenderSpec:
    prompt = order.prompt.strip()
    if not prompt:
        raise BadSpec(words.NO_PROMPT)
    return spec_from(RenderSpec, {**order.knobs, "prompt": prompt, "seed": used_seed(order.seed)})


def _num_videos(order: RenderOrder) -> int:
    videos = order.videos
    if videos is None or videos != int(videos) or not 1 <= videos <= MOST_VIDEOS:
        raise BadSpec(words.BAD_VIDEOS.format(most=MOST_VIDEOS, videos="empty" if videos is None else videos))
    return int(videos)


def chosen_motion(order: RenderOrder) -> str:
    """The key of an order's motion; empty for the bare base.

    Raises:
        BadSpec: none is chosen.
    """
    if order.motion is None:
        raise BadSpec(words.CHOOSE_MOTION)
    return order.motion


def order_rendering(place: Place, order: RenderOrder) -> Job:
    """Queues a render, or several that differ in their seed; returns the first one's job.

    Raises:
        BadSpec: there is no prompt, no motion is chosen, or a setting is out of range.
        BadLora: the motion is gone.
    """
    spec, videos = _spec(order), _num_videos(order)
    strength, spec = spec.strength, replace(spec, strength=1.0)
    key = chosen_motion(order)
    motions = ((place.workspace.library(place.owner).motion(key).key, strength),) if key else ()
    jobs, queued = place.workspace.jobs, list[Job]()
    for number in range(videos):
        asked = orders.RenderOrder(spec=replace(spec, seed=(spec.seed + number) % (SEED_HIGH + 1)), motions=motions)
        queued.append(jobs.submit(jobs.new_key(), orders.RENDER, place.owner, spec.prompt, orders.to_json(asked)))
    return queued[0]


def ordered_rendering(place: Place, key: str) -> RenderOrder | None:
    """What a job was asked, to be changed and ordered again; None if it was not to render.

    Raises:
        NoSuchJob: it is gone.
    """
    job = place.workspace.jobs.job(key, place.owner)
    if job.kind != orders.RENDER:
        return None
    asked = orders.from_json(orders.RenderOrder, job.orders)
    knobs = asdict(asked.spec)
    prompt, seed = knobs.pop("prompt"), knobs.pop("seed")
    motion, strength = asked.motions[0] if asked.motions else ("", 1.0)
    return RenderOrder(motion=motion, prompt=prompt, seed=seed, knobs=knobs | {"strength": strength})


def _reference(library: Library, job: Job) -> Path | None:
    """A copy of the clip that the job's first motion was learned from, where both are still there."""
    for key, _ in job.orders.get("motions", ()):
        with suppress(BadLora):
            path = library.motion(key).reference
            return library.show_file(path) if path else None
    return None


def _scores(job: Job) -> str:
    if job.state != DONE:
        return ""
    measures = [Measure(**values) for values in job.results.get("report", ())]
    return score_table(measures) if measures else words.NO_SCORES


def look_at_rendering(place: Place, key: str | None, seen: Seen | None) -> RenderView | None:
    """How the owner's render stands: the one of that key, else the latest; None if that has been seen."""
    job = shown_job(place, orders.RENDER, key)
    if job is None:
        return None
    ahead, library = ahead_of(place, job), place.workspace.library(place.owner)
    now = Seen.of(job, ahead, library.renders)
    if now == seen:
        return None
    renewed = now.renewed(seen, "latest")
    done = words.RENDERED.format(seconds=job.worked_s, seed=job.results.get("seed"))
    shown = _results(library, job) if "result" in renewed else {}
    if "latest" in renewed:
        shown["latest"] = _latest(library)
    return RenderView(job=job, seen=now, renewed=renewed, status=job_line(job, ahead, done), **shown)


def _latest(library: Library) -> tuple[tuple[str, str], ...]:
    return tuple((str(library.show_file(one.path)), one.name) for one in library.made_renders()[:MOST_VIDEOS])


def _results(library: Library, job: Job) -> dict[str, Any]:
    """What there is to show beside the line: the reference at once, the rest when the job is done."""
    file = library.renders / str(job.results.get("render"))
    shown: dict[str, Any] = {"reference": _reference(library, job), "scores": _scores(job)}
    if job.state == DONE and file.is_file():
        shown |= {"result": library.show(read_clip(file)), "file": library.show_file(file, name=file.name)}
    return shown
