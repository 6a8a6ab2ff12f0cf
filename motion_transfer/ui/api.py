"""The program's endpoints for scripts and agents: learn, render, look at a job, fetch what it made.

Long work is a job here, too: `learn` and `render` return its key at once, `job` says how it stands, `result` gives its
file. Their parts are hidden; what a browser uploads is checked by the file part, so no path can be passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, TypeVar

import gradio as gr

from motion_transfer.errors import BadSpec
from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import DONE
from motion_transfer.pipeline import Studio
from motion_transfer.types import RenderSpec, TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.buttons import PlaceOf
from motion_transfer.ui.desk import sentence, told
from motion_transfer.ui.learn import LearnOrder, expect_learning, order_learning
from motion_transfer.ui.render import MOST_MOTIONS, MixOrder, expect_rendering, in_places, order_rendering
from motion_transfer.video.crop_text import crop_from
from motion_transfer.video.strip import ALL

T = TypeVar("T")
MOST_LETTERS = 2000
_OF_THE_ORDER = ("prompt", "seed", "strength")  # render settings that an order has a place of its own for
TOLD_OF_A_JOB = ("key", "kind", "title", "state", "stage", "step", "total", "rate", "loss", "left_s", "worked_s",
                 "peak_memory_mb", "note")  # fmt: skip


def _by_name() -> gr.JSON:
    """Values by name, which agents and clients are told."""
    part = gr.JSON({})
    # On the object, for gradio writes a file beside every module with a component's class.
    part.api_info = lambda: {"type": "object", "additionalProperties": True}  # type: ignore[method-assign]
    return part


def _answer(action: Callable[[], T]) -> T:
    """The result of an action; a mistake becomes the caller's, in one sentence."""
    found, error = told(action)
    if error is not None:
        raise gr.Error(sentence(error), print_exception=False)
    return found  # type: ignore[return-value]


def _check_texts(**texts: Any) -> None:
    """Callers may send anything.

    Raises:
        BadSpec: something is no text, or too long a one.
    """
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > MOST_LETTERS:
            raise BadSpec(words.NO_TEXT.format(name=name, most=MOST_LETTERS, text=repr(text)[:40]))


def _check_numbers(**numbers: Any) -> None:
    for name, number in numbers.items():
        if type(number) not in (int, float):
            raise BadSpec(words.NO_NUMBER.format(name=name, number=repr(number)[:40]))


def _knobs(spec_class: type, settings: Any, taken: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(settings or {}, dict):
        raise BadSpec(words.NO_SETTINGS.format(settings=repr(settings)[:40]))
    known = {field.name for field in fields(spec_class)} - set(taken)
    unknown = sorted(set(settings or {}) - known)
    if unknown:
        raise BadSpec(words.UNKNOWN_SETTING.format(name=unknown[0], known=", ".join(sorted(known))))
    return dict(settings or {})


def _begun(studio: Studio) -> dict[str, Any]:
    """What settings of a render begin with on this base."""
    return {name: value for name, value in asdict(studio.suited()).items() if name not in _OF_THE_ORDER}


def _strengths(motions: Any) -> dict[str, float]:
    """Strengths by motions' keys.

    Raises:
        BadSpec: they are no strengths by key, or too many.
    """
    if not isinstance(motions or {}, dict) or len(motions or {}) > MOST_MOTIONS:
        raise BadSpec(words.NO_MOTIONS.format(most=MOST_MOTIONS, motions=repr(motions)[:40]))
    return dict(motions or {})


class Endpoints:
    """The functions behind the endpoints. `visitor` is the secret of a visitor, where visitors are told apart."""

    def __init__(self, studio: Studio, place_of: PlaceOf) -> None:
        self._studio, self._place_of = studio, place_of

    def learn(
        self, clip: str, caption: str, name: str, movement: str, start: float, end: float, crop: str,
        settings: dict[str, Any] | None, visitor: str,
    ) -> str:  # fmt: skip
        """Queues the learning of a clip's motion; returns the job's key.

        Args:
            clip: the video, uploaded.
            caption: what it shows, not how it moves.
            name: of the motion; empty takes the file's.
            movement: all that moves, the camera alone, or things alone: "all", "camera" or "things".
            start: of the part that is learned, in seconds.
            end: of it; 0 is the clip's own. At most 8 s are used.
            crop: part of the picture: zoom, place from left and from top, as "2,0.5,0.5"; empty is the whole.
            settings: tuning settings by name; those left out keep their default.
            visitor: empty for a program of one's own.
        """

        def do() -> str:
            _check_texts(caption=caption, name=name, movement=movement, crop=crop)
            _check_numbers(start=start, end=end)
            part, knobs, place = crop_from(crop), _knobs(TuneSpec, settings, ("caption",)), self._place_of(visitor)
            order = LearnOrder(path=clip, start_s=start, end_s=end or None, caption=caption, name=name,
                               preview_prompt="", zoom=part.zoom, crop_x=part.x, crop_y=part.y, movement=movement,
                               knobs=knobs)  # fmt: skip
            return order_learning(place, order, expect_learning(place, self._studio, knobs, clip)).key

        return _answer(do)

    def render(
        self, prompt: str, motions: dict[str, float] | None, seed: int, settings: dict[str, Any] | None, visitor: str
    ) -> str:
        """Queues a render; returns the job's key.

        Args:
            prompt: what the video shows.
            motions: strengths by the keys of learned motions, as `job` tells them, at most four; none is the bare base.
            seed: of the random numbers; -1 draws one.
            settings: render settings by name; those left out keep their default, or what a distilled base asks for.
            visitor: empty for a program of one's own.
        """

        def do() -> str:
            _check_texts(prompt=prompt)
            strengths = _strengths(motions)
            _check_numbers(seed=seed, **{words.STRENGTH_OF.format(key=key[:60]): one for key, one in strengths.items()})
            knobs = {**_begun(self._studio), **_knobs(RenderSpec, settings, _OF_THE_ORDER)}
            one_line = " ".join(prompt.split())  # on the page, every line is a render of its own
            order = MixOrder(**in_places(list(strengths.items())), prompt=one_line, seed=seed, knobs=knobs)
            place = self._place_of(visitor)
            return order_rendering(place, order, expect_rendering(place, self._studio, order, one=True)).key

        return _answer(do)

    def job(self, key: str, visitor: str) -> dict[str, Any]:
        """How a job stands: state, stage, step, and what it made.

        Args:
            key: of the job.
            visitor: empty for a program of one's own.
        """

        def do() -> dict[str, Any]:
            place = self._place_of(visitor)
            job = place.workspace.jobs.job(key, place.owner)
            return {name: getattr(job, name) for name in TOLD_OF_A_JOB} | {"results": dict(job.results)}

        return _answer(do)

    def result(self, key: str, visitor: str) -> str:
        """The file that a job made: the motion's LoRA, or the rendered video.

        Args:
            key: of the job.
            visitor: empty for a program of one's own.
        """

        def do() -> str:
            place = self._place_of(visitor)
            job, library = place.workspace.jobs.job(key, place.owner), place.workspace.library(place.owner)
            if job.state != DONE:
                raise BadSpec(words.NOT_DONE.format(state=words.JOB_STATES[job.state]))
            if job.kind == TUNE:
                path = library.motion(str(job.results["motion"])).path
            else:
                path = library.render(str(job.results["render"]).removesuffix(".mp4")).path
            return str(library.show_file(path, name=path.name))

        return _answer(do)

    def cancel(self, key: str, visitor: str) -> str:
        """Stops a job after its next step; returns the job's key.

        Args:
            key: of the job.
            visitor: empty for a program of one's own.
        """

        def do() -> str:
            place = self._place_of(visitor)
            return place.workspace.jobs.cancel(key, place.owner).key

        return _answer(do)


def build_api(studio: Studio, place_of: PlaceOf) -> None:
    """Adds the endpoints where it is called; nothing of them shows on the page."""
    endpoints = Endpoints(studio, place_of)
    with gr.Row(visible=False):
        clip, file = gr.File(), gr.File()
        caption, name, prompt, crop, visitor = (gr.Textbox("") for _ in range(5))
        movement = gr.Textbox(ALL)
        key = gr.Textbox()
        start, end, seed = gr.Number(0.0), gr.Number(0.0), gr.Number(0)
        motions, settings, facts = _by_name(), _by_name(), gr.JSON()
        button = gr.Button()
    for endpoint, inputs, output in (
        (endpoints.learn, [clip, caption, name, movement, start, end, crop, settings, visitor], key),
        (endpoints.render, [prompt, motions, seed, settings, visitor], key),
        (endpoints.job, [key, visitor], facts),
        (endpoints.result, [key, visitor], file),
        (endpoints.cancel, [key, visitor], key),
    ):
        button.click(endpoint, inputs, output, api_name=endpoint.__name__, show_progress="hidden", queue=False)
