"""What happens behind the Jobs tab, as plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from motion_transfer.errors import BadLora
from motion_transfer.jobs.estimates import SHARES
from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import DONE, ENDED, QUEUED, Job, NoSuchJob
from motion_transfer.jobs.worker import PREVIEW
from motion_transfer.library import Library
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, Seen, ahead_of, clock, job_line
from motion_transfer.ui.knobs import setting_label
from motion_transfer.ui.learn import movements, saved_line
from motion_transfer.ui.plots import loss_table
from motion_transfer.ui.render import rendered_line
from motion_transfer.video.io import read_clip
from motion_transfer.video.strip import WHOLE

UP, DOWN = -1, 1
_NO_CROP = asdict(WHOLE)
Choices = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class JobsView:
    """The list of jobs, the chosen one, how it stands, and its facts as HTML."""

    choices: Choices
    job: Job | None
    status: str
    facts: str


def _label(job: Job) -> str:
    made = datetime.fromtimestamp(job.made_s)
    return words.JOB_LABEL.format(
        title=job.title, kind=words.JOB_KINDS[job.kind], state=words.JOB_STATES[job.state], made=f"{made:%m-%d %H:%M}"
    )


def done_line(job: Job) -> str:
    """What to say of a job once it is done."""
    if job.kind == TUNE:
        return saved_line(job)
    return rendered_line(job)


def _clip_rows(orders: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which clip was learned, and what of it."""
    start_s, end_s, crop = orders["start_s"], orders["end_s"], orders["crop"]
    rows = [(words.FILE, orders["source"])]
    if start_s or end_s is not None:
        end = words.TO_THE_END if end_s is None else clock(end_s)
        rows.append((words.SPAN, words.FROM_TO.format(start=clock(start_s), end=end)))
    if crop != _NO_CROP:
        rows.append((words.CROP, words.CROP_FACT.format(**crop)))
    rows.append((words.MOVEMENT, next((label for label, key in movements() if key == orders["movement"]), "")))
    return rows + ([(words.PREVIEW_ASKED, orders["preview_prompt"])] if orders["preview_prompt"] else [])


def _motion_rows(library: Library, orders: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Which motions were rendered, how strong; by their key where they are gone."""

    def name(key: str) -> str:
        with suppress(BadLora):
            return library.motion(key).name
        return key

    used = [words.MOTION_USED.format(name=name(key), strength=strength) for key, strength in orders["motions"]]
    return [(words.MOTION, fact) for fact in used or [words.NO_MOTION]]


def _share_rows(job: Job) -> list[tuple[str, str]]:
    """How much of the device's rate each stage reached, once a job is done on one that was measured."""
    shares = job.results.get(SHARES) or {}
    told = ", ".join(f"{words.STAGES.get(stage, stage)} {share:.0%}" for stage, share in shares.items())
    return [(words.SHARES, told)] if told else []


def job_facts(library: Library, job: Job) -> str:
    """How long a job took, how often it was begun, and what it was asked, as an HTML table."""
    rows = [(words.WORKED, clock(job.worked_s)), (words.TRIES, str(job.tries))]
    if job.peak_memory_mb:
        rows.append((words.PEAK, words.MEMORY.format(gb=job.peak_memory_mb / 1000)))
    rows += _share_rows(job)
    rows += _clip_rows(job.orders) if job.kind == TUNE else _motion_rows(library, job.orders)
    rows += [(setting_label(name), str(value)) for name, value in job.orders["spec"].items() if value != ""]
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows)
    return f'<table class="facts">{cells}</table>'


@dataclass(frozen=True, kw_only=True, eq=False)
class JobPictures:
    """What there is to see of a job: its losses, and its newest preview or its result.

    Parts that are not `renewed` are as they were.
    """

    seen: Seen
    renewed: frozenset[str]
    losses: pd.DataFrame | None = None
    video: Path | None = None


def picture_job(place: Place, job: Job, seen: Seen | None) -> JobPictures | None:
    """What there is to see of a job; None if that has been seen."""
    jobs, library = place.workspace.jobs, place.workspace.library(place.owner)
    video = jobs.folder / job.key / PREVIEW if job.kind == TUNE else library.renders / str(job.results.get("render"))
    now = Seen.of(job, 0, video)
    if now == seen:
        return None
    renewed = now.renewed(seen, "video")
    shown: dict[str, Any] = {}
    if "curve" in renewed and job.kind == TUNE:
        shown["losses"] = loss_table(jobs.losses(job.key))
    if "video" in renewed and video.is_file():
        shown["video"] = library.show_file(video) if job.kind == TUNE else library.show(read_clip(video))
    return JobPictures(seen=now, renewed=renewed, **shown)


def look_at_jobs(place: Place, key: str | None) -> JobsView:
    """The owner's jobs; the chosen one, or the first if it is gone."""
    jobs = place.workspace.jobs.jobs(place.owner)
    chosen = next((job for job in jobs if job.key == key), jobs[0] if jobs else None)
    choices = [(_label(job), job.key) for job in jobs]
    if chosen is None:
        return JobsView(choices=[], job=None, status="", facts=f"<p>{words.NO_JOBS}</p>")
    line = job_line(chosen, ahead_of(place, chosen), done_line(chosen))
    facts = job_facts(place.workspace.library(place.owner), chosen)
    return JobsView(choices=choices, job=chosen, status=line, facts=facts)


def move_job(place: Place, key: str, by: int) -> None:
    """Moves a waiting job one place up or down among its owner's.

    Raises:
        NoSuchJob: it is not waiting.
    """
    jobs = place.workspace.jobs
    queue = [job.key for job in jobs.jobs(place.owner, states=(QUEUED,))]
    if key not in queue:
        raise NoSuchJob("a job that waits can be moved, but this one does not wait; choose another.")
    at, queue = queue.index(key), [other for other in queue if other != key]
    before = min(max(at + by, 0), len(queue))
    jobs.move(key, queue[before] if before < len(queue) else None, place.owner)


def remove_job(place: Place, key: str) -> None:
    """Forgets an ended job; see `Workspace.remove_job`.

    Raises:
        NoSuchJob: it has not ended.
    """
    place.workspace.remove_job(key, place.owner)


def remove_done(place: Place) -> None:
    """Forgets all jobs that are done; what they made stays in the library. What failed or was cancelled may go on."""
    for job in place.workspace.jobs.jobs(place.owner, states=(DONE,), limit=-1):
        with suppress(NoSuchJob):  # removed elsewhere meanwhile
            place.workspace.remove_job(job.key, place.owner)


def movable(job: Job | None) -> bool:
    """Whether a job can be moved."""
    return job is not None and job.state == QUEUED


def removable(job: Job | None) -> bool:
    """Whether a job can be removed."""
    return job is not None and job.state in ENDED
