"""The button that brings back what was deleted, the last thing first."""

from __future__ import annotations

from collections.abc import Callable

import gradio as gr

from motion_transfer.errors import BadSpec
from motion_transfer.library import Library
from motion_transfer.ui import words
from motion_transfer.ui.desk import told
from motion_transfer.ui.toasts import warn

Deleted = list[tuple[str, str]]  # tickets of the bin and names of what lies there, oldest first


def undo_button(deleted: Deleted) -> gr.Button:
    """Offers the last one; hidden where nothing is left to bring back."""
    return gr.Button(words.UNDO.format(name=deleted[-1][1]), visible=True) if deleted else gr.Button(visible=False)


def bring_back(find: Callable[[], Library], deleted: Deleted) -> tuple[Deleted, gr.Button]:
    """The last one comes back; it is offered no more if it is gone for good, and again if the disk does not take it."""

    def restore() -> bool:
        try:
            find().restore(deleted[-1][0])
        except BadSpec as error:
            warn(str(error))
        return True

    done, error = told(restore) if deleted else (True, None)
    if error is not None:
        warn(error)
    left = deleted[:-1] if done else deleted
    return left, undo_button(left)
