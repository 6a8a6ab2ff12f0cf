"""What happens behind the Jobs tab, as plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from html import escape
from typing import Any

from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import ENDED, QUEUED, Job, NoSuchJob
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, ahead_of, clock, job_line
from motion_transfer.ui.learn import saved_line
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
    return words.RENDERED.format(seconds=job.worked_s, seed=job.results.get("seed"))


def _settings(orders: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The settings of an order that were not left empty."""
    rows = {**{k: v for k, v in orders.items() if k != "spec"}, **orders.get("spec", {})}
    return [
        (name.replace("_", " "), str(value)) for name, value in rows.items() if value not in ("", None, [], _NO_CROP)
    ]


def job_facts(job: Job) -> str:
    """How long a job took, how often it was begun, and what it was asked, as an HTML table."""
    rows = [(words.WORKED, clock(job.worked_s)), (words.TRIES, str(job.tries))]
    if job.peak_memory_mb:
        rows.append((words.PEAK, words.MEMORY.format(gb=job.peak_memory_mb / 1000)))
    cells = "".join(f"<tr><th>{escape(a)}</th><td>{escape(b)}</td></tr>" for a, b in rows + _settings(job.orders))
    return f'<table class="facts">{cells}</table>'


def look_at_jobs(place: Place, key: str | None) -> JobsView:
    """The owner's jobs; the chosen one, or the first if it is gone."""
    jobs = place.workspace.jobs.jobs(place.owner)
    chosen = next((job for job in jobs if job.key == key), jobs[0] if jobs else None)
    choices = [(_label(job), job.key) for job in jobs]
    if chosen is None:
        return JobsView(choices=[], job=None, status="", facts=f"<p>{words.NO_JOBS}</p>")
    line = job_line(chosen, ahead_of(place, chosen), done_line(chosen))
    return JobsView(choices=choices, job=chosen, status=line, facts=job_facts(chosen))


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


def movable(job: Job | None) -> bool:
    """Whether a job can be moved."""
    return job is not None and job.state == QUEUED


def removable(job: Job | None) -> bool:
    """Whether a job can be removed."""
    return job is not None and job.state in ENDED
