"""What a share link asks for, shown above the tabs before anything of it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from motion_transfer.pipeline import Studio
from motion_transfer.presets.links import PARAMETER
from motion_transfer.ui import words
from motion_transfer.ui.accounts import on_own_account
from motion_transfer.ui.buttons import PlaceOf
from motion_transfer.ui.desk import problem, told
from motion_transfer.ui.share import fetch_missing, receive
from motion_transfer.ui.toasts import tell, warn


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a link that was opened asks for, above the tabs; hidden where there is none."""

    panel: gr.Column
    facts: gr.HTML
    fetch: gr.Button
    use: gr.Button
    leave: gr.Button
    text: gr.State

    @property
    def parts(self) -> list[Any]:
        """What changes when a link is opened."""
        return [self.panel, self.facts, self.use, self.fetch, self.text]


def build_opened() -> Opened:
    """Builds the panel where it is called."""
    with gr.Column(visible=False, elem_id="opened") as panel:
        gr.Markdown(words.OPENED)
        facts = gr.HTML()
        gr.Markdown(words.OPENED_NOTE)
        with gr.Row():
            use = gr.Button(words.USE_LINK, variant="primary", elem_id="use-link")
            fetch = gr.Button(words.FETCH, visible=False, elem_id="fetch-link")
            leave = gr.Button(words.LEAVE_LINK, elem_id="leave-link")
    return Opened(panel=panel, facts=facts, fetch=fetch, use=use, leave=leave, text=gr.State(None))


def opened_link(studio: Studio, place_of: PlaceOf) -> Callable[..., tuple[Any, ...]]:
    """What to do when the page is opened: show what its link asks for, if it has a preset."""

    def show(token: str | None, request: gr.Request) -> tuple[Any, ...]:
        text = request.query_params.get(PARAMETER)
        if not text:
            return (gr.skip(),) * 5
        received, error = told(lambda: receive(place_of(token), studio, text))
        if received is None:
            hidden = gr.Button(visible=False)
            return gr.Column(visible=True), problem(error or ""), hidden, hidden, None
        fetch = gr.Button(visible=bool(received.fetchable))
        return gr.Column(visible=True), received.facts, gr.Button(visible=True), fetch, text

    return show


def fetched_link(studio: Studio, place_of: PlaceOf) -> Callable[..., Any]:
    """What to do when the missing motions of a link are to be fetched: do so, and show the link anew."""

    def fetch(token: str | None, text: str | None, account: str | None) -> tuple[Any, Any]:
        received, error = told(lambda: fetch_missing(place_of(token), studio, text or "", account))
        if received is None:
            warn(error or "")
            return gr.skip(), gr.skip()
        tell(words.FETCHED)
        return received.facts, gr.Button(visible=False)

    return on_own_account(fetch)
