"""The button that brings back what was deleted, the last thing first."""

from __future__ import annotations

import gradio as gr

from motion_transfer.library import Library
from motion_transfer.ui import words
from motion_transfer.ui.desk import told
from motion_transfer.ui.toasts import warn

Deleted = list[tuple[str, str]]  # tickets of the bin and names of what went there from an open page, oldest first


def undo_button(deleted: Deleted) -> gr.Button:
    """Offers the last one; hidden where nothing is left to bring back."""
    return gr.Button(words.UNDO.format(name=deleted[-1][1]), visible=True) if deleted else gr.Button(visible=False)


def bring_back(library: Library, deleted: Deleted) -> tuple[Deleted, gr.Button]:
    """The last one comes back; if it is gone for good, that is said."""
    if deleted:
        _, error = told(lambda: library.restore(deleted[-1][0]))
        if error is not None:
            warn(error)
    return deleted[:-1], undo_button(deleted[:-1])
