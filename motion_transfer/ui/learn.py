"""What happens behind the Learn tab, as plain functions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from motion_transfer.errors import BadClip
from motion_transfer.jobs.orders import TUNE, TuneOrder, from_json, to_json
from motion_transfer.jobs.store import Job
from motion_transfer.jobs.worker import HEADS, PREVIEW
from motion_transfer.library import SHOWN_SIDE_PX, Library
from motion_transfer.pipeline import Studio, caption_of
from motion_transfer.types import TuneSpec
from motion_transfer.ui import words
from motion_transfer.ui.desk import Place, Seen, ahead_of, job_line, shown_job
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.plots import loss_table
from motion_transfer.video.io import MAX_SECONDS, probe, read_clip

SMALLEST_PX = 32


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
    """How a job looks: its line, curve, newest preview and heads, and the key of the motion it ended in.

    Parts that are not `renewed` are as they were.
    """

    job: Job
    seen: Seen
    renewed: frozenset[str]
    status: str
    losses: pd.DataFrame | None
    saved: str | None
    preview: Path | None = None
    heads: Path | None = None


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


def order_learning(place: Place, order: LearnOrder) -> Job:
    """Queues the learning of a clip, of which the job gets a copy.

    Raises:
        BadClip: no clip is chosen, or the span holds none.
        BadSpec: a setting is out of range.
        StorageFailed: the copy can't be made.
    """
    if not order.path:
        raise BadClip(words.NO_CLIP)
    path, spec = Path(order.path), spec_from(TuneSpec, {**order.knobs, "caption": order.caption.strip()})
    read_clip(path, start_s=order.start_s or 0.0, end_s=order.end_s, max_px=SMALLEST_PX)
    jobs = place.workspace.jobs
    key, name = jobs.new_key(), order.name.strip() or path.stem
    clip = f"clip{path.suffix.lower()}"
    asked = TuneOrder(name=name, clip=clip, source=path.name, spec=spec, start_s=order.start_s or 0.0,
                      end_s=order.end_s, preview_prompt=order.preview_prompt.strip())  # fmt: skip
    try:
        shutil.copyfile(path, jobs.files(key) / clip)
        return jobs.submit(key, TUNE, place.owner, name, to_json(asked))
    except BaseException:
        shutil.rmtree(jobs.files(key), ignore_errors=True)
        raise


def ordered_learning(place: Place, key: str) -> LearnOrder | None:
    """What a job was asked, to be changed and ordered again; None if it was not to learn.

    Raises:
        NoSuchJob: it is gone.
    """
    job = place.workspace.jobs.job(key, place.owner)
    if job.kind != TUNE:
        return None
    asked = from_json(TuneOrder, job.orders)
    knobs = asdict(asked.spec)
    clip = place.workspace.jobs.folder / key / asked.clip
    return LearnOrder(path=str(clip), start_s=asked.start_s, end_s=asked.end_s, caption=knobs.pop("caption"),
                      name=asked.name, preview_prompt=asked.preview_prompt, knobs=knobs)  # fmt: skip


def look_at_learning(place: Place, key: str | None, seen: Seen | None) -> LearnView | None:
    """How the owner's job stands: the one of that key, else the latest; None if that has been seen.

    Args:
        place: whose jobs.
        key: of the job to show, if one was chosen.
        seen: the last look.
    """
    job = shown_job(place, TUNE, key)
    if job is None:
        return None
    files, ahead = place.workspace.jobs.folder / job.key, ahead_of(place, job)
    now = Seen.of(job, ahead, files / PREVIEW, files / HEADS)
    if now == seen:
        return None
    renewed, library = now.renewed(seen, "preview", "heads"), place.workspace.library(place.owner)
    shown = {
        name: library.show_file(files / file)
        for name, file in (("preview", PREVIEW), ("heads", HEADS))
        if name in renewed and (files / file).is_file()
    }
    done = words.SAVED.format(name=job.title, seconds=sum(job.results.get("seconds", {}).values()))
    return LearnView(
        job=job,
        seen=now,
        renewed=renewed,
        status=job_line(job, ahead, done),
        losses=loss_table(place.workspace.jobs.losses(job.key)),
        saved=job.results.get("motion"),
        **shown,
    )
