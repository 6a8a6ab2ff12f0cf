"""What tuning does beside learning, now and then: previews, and checks of how much of the motion is learned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

from motion_transfer.lora.attach import solo
from motion_transfer.methods.fym_course import Course
from motion_transfer.model.base import VideoBase
from motion_transfer.types import Clip, Progress, TuneState, Work

Preview = Callable[[], Work[Clip]]
Check = Callable[[], Work[float | None]]
State = Callable[[], TuneState]
T = TypeVar("T")


def _aside(
    base: VideoBase, stage: str, aside: Callable[[], Work[T]], weight: float, state: State
) -> Work[tuple[Progress, T]]:
    """Work with the temporal adapter alone; tuning can be left off, and its state kept, at each step of this too.

    The first progress comes before any work, that whoever drives this knows what fails if it does.

    Returns:
        The progress of its end, to be told with what came of it; and that.
    """
    progress = Progress(stage=stage, step=0, total=1, state=state)
    yield progress
    with solo(base.transformer, "temporal", weight), closing(aside()) as work:
        while True:
            try:
                progress = replace(next(work), stage=stage, state=state)
            except StopIteration as end:
                return replace(progress, step=progress.total, note=""), end.value
            yield progress


def preview_work(base: VideoBase, preview: Preview, weight: float, state: State) -> Work[None]:
    """Renders what is learned so far; the last progress brings the clip."""
    ended, clip = yield from _aside(base, "preview", preview, weight, state)
    yield replace(ended, preview=clip)


def check_work(base: VideoBase, check: Check, weight: float, state: State, course: Course) -> Work[None]:
    """Measures how much is learned so far, and lets the course know; the last progress brings the finding."""
    steps = course.steps
    ended, followed = yield from _aside(base, "check", check, weight, state)
    course.add(followed)
    yield replace(ended, followed=followed)
    if course.steps < steps:
        note = f"short renders show no more of the motion than before, so learning ends with step {course.steps}."
        yield replace(ended, note=note)
