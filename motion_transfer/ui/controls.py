"""The controls of an order as one thing: read into an order, and filled in from one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any, Generic, TypeVar

import gradio as gr
from gradio.components import Component

from motion_transfer.errors import MotionTransferError
from motion_transfer.jobs.store import Job
from motion_transfer.ui import words
from motion_transfer.ui.desk import problem, status, told
from motion_transfer.ui.toasts import tell, warn
from motion_transfer.workspace import UnknownVisitor

Order = TypeVar("Order")
Ordered = tuple[Any, float]  # what was asked for last, and when
ONE_CLICK_S = 2.0  # the same asked for again within this time is a second press of one click


class OrderControls(Generic[Order]):
    """A component for every field of an order but `knobs`, several where the field is a tuple, one for every knob.

    Args:
        order_class: a dataclass with a field `knobs`.
        parts: components by name, or lists of them; those that name no field are left out.
        knobs: components of the settings.
    """

    def __init__(self, order_class: type[Order], parts: Mapping[str, Any], knobs: Mapping[str, Component]) -> None:
        self._order_class, self._knobs = order_class, knobs
        names = [name for name in order_class.__dataclass_fields__ if name != "knobs"]  # type: ignore[attr-defined]
        self._parts: dict[str, Component] = {n: parts[n] for n in names if not isinstance(parts[n], list)}
        self._rows: dict[str, list[Component]] = {n: parts[n] for n in names if isinstance(parts[n], list)}

    @property
    def components(self) -> list[Component]:
        """All of them."""
        return [*self._parts.values(), *chain(*self._rows.values()), *self._knobs.values()]

    def order(self, values: Mapping[Component, Any]) -> Order:
        """The order that the controls hold."""
        asked = {name: values[part] for name, part in self._parts.items()}
        asked |= {name: tuple(values[part] for part in row) for name, row in self._rows.items()}
        return self._order_class(**asked, knobs={name: values[part] for name, part in self._knobs.items()})

    def filled(self, find: Callable[[], Order | None]) -> tuple[Order | None, dict[Component, Any]]:
        """The order that is found, and what it puts into the controls; nothing if there is none."""
        order, error = told(find)
        if error is not None:
            warn(error)
        if order is None:
            return None, {self.components[0]: gr.skip()}
        values = {part: getattr(order, name) for name, part in self._parts.items()}
        for name, row in self._rows.items():
            values |= dict(zip(row, getattr(order, name), strict=True))
        return order, values | {part: order.knobs[name] for name, part in self._knobs.items()}  # type: ignore[attr-defined]


def started(submit: Callable[[], Job]) -> tuple[Any, str]:
    """Orders a job: its key and the status line, or why it was refused."""
    job, error = told(submit)
    if error is not None:
        warn(error)
        return gr.skip(), problem(error)
    assert job is not None
    return job.key, status(words.NEXT, done=0.0)


def started_once(order: Any, before: Ordered | None, submit: Callable[[], Job]) -> tuple[Any, Any, Any]:
    """See `started`; a double click orders once.

    Args:
        order: what is asked for.
        before: what came last out of here.
        submit: orders it.

    Returns:
        Key and status line as they are to change, and what to hand in as `before` the next time.
    """
    now_s = time.monotonic()
    if before is not None and before[0] == order and now_s - before[1] < ONE_CLICK_S:
        tell(words.ORDERED_ALREADY)
        return gr.skip(), gr.skip(), gr.skip()
    return *started(submit), (order, now_s)


def trouble(error: MotionTransferError | None) -> Any:
    """An error for a status line, which stays as it is without one.

    A page that has just been opened looks before it knows its visitor: that is no error yet.
    """
    return gr.skip() if error is None or isinstance(error, UnknownVisitor) else problem(error)


def nothing_new(error: MotionTransferError | None, num_others: int) -> tuple[Any, ...]:
    """Leaves all parts as they are, or tells an error in the first of them, the status line."""
    return trouble(error), *(gr.skip() for _ in range(num_others))
