"""Short messages that appear over the page; they hold names and captions that may be anybody's, so all is escaped."""

from __future__ import annotations

from html import escape

import gradio as gr

from motion_transfer.errors import MotionTransferError
from motion_transfer.ui.desk import capital

_MOST_LETTERS = 600


def _plain(text: str) -> str:
    return escape(text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…")


def warn(said: MotionTransferError | str) -> None:
    """Says why something could not be done, in its own sentence."""
    gr.Warning(_plain(capital(str(said))))


def tell(text: str) -> None:
    """Says that something was done."""
    gr.Info(_plain(text))
