"""Measuring many things one by one, so that killed work goes on where it was, and what follows from all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from motion_transfer.atomic import replacing
from motion_transfer.evaluate.stamps import ResultFile, Row
from motion_transfer.processes import each

TELL_EVERY = 20  # rows
Summary = dict[str, Any]


class Keyed(Protocol):
    """What is measured: `key` names its row."""

    @property
    def key(self) -> str:
        """Names its row."""


One = TypeVar("One", bound=Keyed)


def measure_missing(
    file: ResultFile, items: Iterable[One], measure: Callable[[One], Row], *, num_processes: int
) -> None:
    """Adds the rows that a table lacks, each as soon as it is measured.

    Args:
        file: the table.
        items: all that belong into it.
        measure: gives an item's row; what a fresh process can import.
        num_processes: that share the work.

    Raises:
        NotEnoughMemory: a process was ended from outside.
    """
    done = file.rows.keys()
    missing = [item for item in items if item.key not in done]
    for number, (item, row) in enumerate(each(measure, missing, num_processes=num_processes), start=1):
        file.add(item.key, row)
        if number % TELL_EVERY == 0:
            print(f"{number}/{len(missing)}", flush=True)


def conclude(
    file: ResultFile, summary: Callable[[Mapping[str, Row]], Summary], table: Callable[[Summary], str]
) -> Summary:
    """Says that a table is whole, and writes what follows from it beside it, in Markdown.

    Args:
        file: the table, with all its rows.
        summary: of the rows.
        table: the summary in Markdown.

    Returns:
        The summary.
    """
    file.finish()
    found = summary(file.rows)
    with replacing(file.path.with_suffix(".md")) as partial:
        partial.write_text(table(found), encoding="utf-8")
    return found
