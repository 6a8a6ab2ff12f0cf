"""Running work that reports its progress: generators of `Progress` that return their result."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, contextmanager
from typing import TypeVar

from motion_transfer.types import Progress, Work

T = TypeVar("T")
OnProgress = Callable[[Progress], None]


def drive(work: Work[T], on_progress: OnProgress | None = None) -> T:
    """Runs a generator of `Progress` to its end and returns its result."""
    with closing(work):  # whatever a callback raises, the base is bare again before anyone can catch it
        while True:
            try:
                progress = next(work)
            except StopIteration as end:
                return end.value
            if on_progress is not None:
                on_progress(progress)


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, stage: str):
        """Adds the block's duration to its stage."""
        begin = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.monotonic() - begin
