"""One measured figure, or why there is none."""

from __future__ import annotations

import math

from motion_transfer.types import Measure


def measure(name: str, value: float | None, why: str, *, unit: str = "", higher: bool = True) -> Measure:
    """A figure of a report; without a value, or with one that is no number, the reason why it is missing."""
    if value is not None and not math.isfinite(value):
        value, why = None, "what was found gives no number"
    return Measure(
        name=name, value=value, unit=unit, higher_is_better=higher, why_missing="" if value is not None else why
    )
