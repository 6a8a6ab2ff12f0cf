"""What happens behind the Learn tab, as plain functions."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from motion_transfer.errors import BadClip, Cancelled, MotionTransferError
from motion_transfer.library import SHOWN_SIDE_PX, Library, Motion
from motion_transfer.pipeline import Studio, Tuned, caption_of
from motion_transfer.types import Clip, Progress, RenderSpec, TuneSpec, Work
from motion_transfer.ui import words
from motion_transfer.ui.desk import Desk, Meter, in_words, problem, status
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.plots import Losses
from motion_transfer.video.io import MAX_SECONDS, clip_comment, probe, read_clip
from motion_transfer.video.overlay import head_map_picture

PREVIEW_STEPS = 8
PREVIEWS = 5
SECONDS_BETWEEN_PLOTS = 1.0

_ROUNDING_S = 0.05  # lengths are shown rounded


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A reference clip as the page shows it."""

    facts: str
    start_s: float
    end_s: float
    caption: str
    shown: Path


@dataclass(frozen=True, kw_only=True)
class LearnOrder:
    """What the user asks for."""

    path: str | None
    start_s: float | None
    end_s: float | None
    caption: str
    name: str
    preview_prompt: str
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnView:
    """What changes on the page; None leaves a part as it is."""

    status: str
    losses: pd.DataFrame | None = None
    preview: Path | None = None
    heads: np.ndarray | None = None
    saved: Motion | None = None
    error: MotionTransferError | None = None


def example_clips(folder: Path) -> list[Path]:
    """The clips that ship with the program, by name."""
    return sorted(folder.glob("*.mp4"))


def choose_clip(library: Library, path: Path) -> Chosen:
    """Looks at a clip that was uploaded or clicked: its facts, its caption and the span to begin with.

    Raises:
        BadClip: it is not a usable video.
    """
    facts = probe(path)
    end_s = round(min(facts.seconds, MAX_SECONDS), 2)
    text = words.FACTS.format(
        width=facts.width, height=facts.height, fps=facts.fps, seconds=facts.seconds, limit=MAX_SECONDS
    )
    shown = show_span(library, path, 0.0, end_s)
    return Chosen(facts=text, start_s=0.0, end_s=end_s, caption=caption_of(path), shown=shown)


def show_span(library: Library, path: Path, start_s: float | None, end_s: float | None) -> Path:
    """A copy of the span that will be learned, for looking at.

    Raises:
        BadClip: the span holds no clip.
    """
    return library.show(read_clip(path, start_s=start_s or 0.0, end_s=end_s, max_px=SHOWN_SIDE_PX))


def unknown_note(studio: Studio, text: str) -> str:
    """A Markdown line that marks the words the base never learned; empty if it knows them all."""
    unknown = dict.fromkeys(studio.unknown_words(text))
    return words.UNKNOWN.format(words=", ".join(f"**{word}**" for word in unknown)) if unknown else ""


def _whole_comment(path: Path, order: LearnOrder) -> str | None:
    """The file's comment tag if the order takes the whole clip, so that its true scene stays known."""
    seconds = probe(path).seconds
    whole = not order.start_s and (order.end_s is None or order.end_s >= seconds - _ROUNDING_S)
    return clip_comment(path) if whole and seconds <= MAX_SECONDS else None


def _work(studio: Studio, clip: Clip, order: LearnOrder) -> Work[Tuned]:
    spec = spec_from(TuneSpec, {**order.knobs, "caption": order.caption.strip()})
    preview = RenderSpec(prompt=order.preview_prompt.strip() or spec.caption, steps=PREVIEW_STEPS)
    return studio.tune_work(clip, spec, preview=preview, preview_every=math.ceil(spec.temporal_steps / PREVIEWS))


def _views(desk: Desk, library: Library, work: Work[Tuned]) -> Generator[LearnView, None, Tuned]:
    """Shows work as it goes: a line at every update, the loss curve at most once a second."""
    meter, losses, plotted_s = Meter(), Losses(), 0.0
    with closing(desk.told(work)) as bundles:
        while True:
            try:
                steps: list[Progress] = next(bundles)
            except StopIteration as end:
                yield LearnView(status=status(words.SAVING), losses=losses.table())
                return end.value
            losses.add(steps)
            table = losses.table() if time.monotonic() - plotted_s >= SECONDS_BETWEEN_PLOTS else None
            plotted_s = time.monotonic() if table is not None else plotted_s
            preview = next((step.preview for step in reversed(steps) if step.preview is not None), None)
            heads = next((step.heads for step in steps if step.heads is not None), None)
            yield LearnView(
                status=meter.line(steps[-1]),
                losses=table,
                preview=library.show(preview) if preview is not None else None,
                heads=head_map_picture(heads) if heads is not None else None,
            )


def _learn(studio: Studio, library: Library, desk: Desk, order: LearnOrder) -> Iterator[LearnView]:
    if not order.path:
        raise BadClip(words.NO_CLIP)
    yield LearnView(status=status(words.PREPARING))
    path = Path(order.path)
    caption = order.caption.strip()
    clip = studio.read(path, start_s=order.start_s or 0.0, end_s=order.end_s, caption=caption)
    tuned = yield from _views(desk, library, _work(studio, clip, order))
    saved = library.save_motion(tuned.lora, order.name or path.stem, clip, comment=_whole_comment(path, order))
    done = words.SAVED.format(name=saved.name, seconds=sum(tuned.seconds.values()))
    yield LearnView(status=status(done), saved=saved)


def learn(studio: Studio, library: Library, desk: Desk, order: LearnOrder, owner: str) -> Iterator[LearnView]:
    """Learns a clip's motion and saves it; whatever goes wrong ends it with one sentence."""
    try:
        with desk.taken(owner):
            yield from _learn(studio, library, desk, order)
    except Cancelled as stop:
        yield LearnView(status=status(str(stop)))
    except Exception as error:
        said = in_words(error)
        yield LearnView(status=problem(said), error=said)
