"""The guided first run: what to do next, until a visitor has rendered something; one button does the first steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from motion_transfer.jobs.orders import RENDER, TUNE
from motion_transfer.jobs.store import DONE, OPEN
from motion_transfer.pipeline import Studio, caption_of
from motion_transfer.ui import words
from motion_transfer.ui.buttons import PlaceOf
from motion_transfer.ui.controls import started
from motion_transfer.ui.desk import Place, told
from motion_transfer.ui.learn import LearnOrder, expect_learning, order_learning

CHOOSE, WAIT, PROMPT, DONE_WITH = range(4)


def tour_step(place: Place) -> int:
    """Where a visitor stands: to choose a clip, to wait for its motion, to render with it, or through."""
    jobs = place.workspace.jobs.jobs(place.owner)
    if any(job.kind == RENDER and job.state == DONE for job in jobs):
        return DONE_WITH
    if place.workspace.library(place.owner).motions():
        return PROMPT
    return WAIT if any(job.kind == TUNE and job.state in OPEN for job in jobs) else CHOOSE


def tour_text(step: int) -> str:
    """The steps as Markdown, with the present one in bold."""
    steps = (words.TOUR_CHOOSE, words.TOUR_WAIT, words.TOUR_PROMPT)
    lines = [f"{number + 1}. {f'**{text}**' if number == step else text}" for number, text in enumerate(steps)]
    return "\n".join([f"### {words.TOUR}", *lines])


@dataclass(frozen=True, kw_only=True)
class Tour:
    """The panel: what it shows, its buttons, and what they and the page call."""

    panel: gr.Column
    text: gr.Markdown
    begin: gr.Button
    hide: gr.Button
    show: Callable[..., Any]
    learn: Callable[..., Any]

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.panel, self.text, self.begin]


def build_tour(studio: Studio, place_of: PlaceOf, examples: list[Path]) -> Tour:
    """Builds the panel where it is called; hidden until `show` says otherwise."""

    def show(token: str | None, hidden: bool | None) -> tuple[Any, Any, Any]:
        step, _ = told(lambda: tour_step(place_of(token)))
        if hidden or step in (None, DONE_WITH):
            return gr.Column(visible=False), gr.skip(), gr.skip()
        assert step is not None
        return gr.Column(visible=True), tour_text(step), gr.Button(visible=bool(examples) and step == CHOOSE)

    def learn(token: str | None) -> tuple[Any, str]:
        """Begins to learn the first example's motion, with default settings."""

        def submit() -> Any:
            place, path = place_of(token), examples[0]
            order = LearnOrder(path=str(path), start_s=0.0, end_s=None, caption=caption_of(path), name="",
                               preview_prompt="", knobs={})  # fmt: skip
            return order_learning(place, order, expect_learning(place, studio, {}))

        return started(submit)

    with gr.Column(visible=False, elem_id="tour") as panel:
        text = gr.Markdown()
        with gr.Row():
            begin = gr.Button(words.TOUR_BEGIN, variant="primary", elem_id="tour-begin")
            hide = gr.Button(words.TOUR_HIDE, elem_id="tour-hide")
    return Tour(panel=panel, text=text, begin=begin, hide=hide, show=show, learn=learn)
