"""What a job is expected to take, and afterwards what it took, as lines of the page."""

from __future__ import annotations

from motion_transfer.jobs.estimates import FILE_MB, Estimate
from motion_transfer.jobs.store import Job
from motion_transfer.ui import words
from motion_transfer.ui.desk import clock


def _needs(seconds: float | None, memory_mb: float | None, kept_mb: float | None) -> str:
    """Time, memory and disk, as far as they are known."""
    parts = [] if seconds is None else [clock(seconds)]
    parts += [] if memory_mb is None else [words.MEMORY.format(gb=memory_mb / 1000)]
    parts += [] if kept_mb is None else [words.KEPT.format(mb=kept_mb)]
    return ", ".join(parts)


def estimate_line(found: Estimate | None) -> str:
    """An estimate as a line below the button that starts a job; empty where there is none."""
    if found is None:
        return ""
    needs = _needs(found.seconds, found.memory_mb, found.kept_mb)
    while_at_it = ""
    if found.disk_mb is not None and found.disk_mb != found.kept_mb:
        while_at_it = words.WHILE_AT_IT.format(mb=found.disk_mb)
    tight = (f" {words.TIGHT}" if found.tight else "") + (f" {words.NO_ROOM}" if found.no_room else "")
    if found.num_jobs and found.seconds is not None:
        return words.ESTIMATE.format(needs=f"{needs}{while_at_it}", jobs=found.num_jobs) + tight
    unknown = words.NO_ESTIMATE if found.seconds is None else ""
    said = words.PLANNED.format(needs=f"{needs}{while_at_it}") if needs else ""
    return " ".join(part for part in (said, unknown) if part) + tight


def took_line(job: Job) -> str:
    """What a job that is done took in all its tries, beside what was expected, if anything was."""
    took = words.TOOK.format(needs=_needs(job.worked_s, job.peak_memory_mb, job.results.get(FILE_MB)))
    expected = job.orders.get("expected") or {}
    needs = _needs(*(expected.get(name) for name in ("seconds", "memory_mb", "kept_mb")))
    return f"{took} {words.EXPECTED.format(needs=needs)}" if needs else took
