"""How long a stage of tuning goes on, and how its learning rate runs."""

from __future__ import annotations

from collections.abc import Sequence

RISE_STEPS, FALL_SHARE = 10, 0.4
LEAST_GAIN = 0.03  # of a check over the best one before it; less counts as nothing
LAST_STEPS = 10  # after a check without gain


class Course:
    """How long a stage goes on, and how its learning rate runs: up in ten steps, level, and down to a twentieth.

    It falls over the last part; from where a check finds no more than those before, quickly.

    Args:
        steps: at most.
        check_every: steps between checks; 0 for none.
        checks: of an earlier run.
        done: steps of it; checks that it passed without making them are not made up for.
    """

    def __init__(self, steps: int, check_every: int = 0, checks: Sequence[float | None] = (), done: int = 0) -> None:
        self.steps = steps
        self._level_until = (1 - FALL_SHARE) * steps
        self._check_every = check_every if 2 * check_every < self._level_until else 0  # one alone can end nothing
        self.checks: tuple[float | None, ...] = ()
        if self._check_every:
            missed = max(0, (done - 1) // self._check_every - len(checks))
            for found in (*checks, *[None] * missed):
                self.add(found)

    def rate_share(self, step: int) -> float:
        """Of the whole learning rate, at a step from 0 on."""
        rise, fall = (step + 1) / RISE_STEPS, (self.steps - step) / (self.steps - self._level_until)
        return min(1.0, rise, max(0.05, fall))

    def is_check_due(self, done: int) -> bool:
        """Whether a check is to be made after so many steps."""
        if not self._check_every or done < self._check_every * (len(self.checks) + 1):
            return False
        return done < self._level_until

    def add(self, found: float | None) -> None:
        """Takes note of the next check; the level part ends where it finds no more than those before.

        None stands for one that could not be made, or not measured.
        """
        before = [one for one in self.checks if one is not None]
        self.checks = (*self.checks, found)
        if found is not None and before and found < max(before) + LEAST_GAIN:
            self._level_until = self._check_every * len(self.checks)
            self.steps = min(self.steps, self._level_until + LAST_STEPS)
