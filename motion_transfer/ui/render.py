"""What happens behind the Render tab, as plain functions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from motion_transfer.errors import BadSpec, Cancelled, MotionTransferError
from motion_transfer.library import Library, Motion
from motion_transfer.pipeline import Studio, scene_of
from motion_transfer.types import Clip, RenderSpec, Work
from motion_transfer.ui import words
from motion_transfer.ui.desk import Desk, Meter, in_words, problem, status
from motion_transfer.ui.knobs import spec_from
from motion_transfer.ui.plots import score_table
from motion_transfer.video.io import read_clip

RANDOM_SEED = -1
SEED_HIGH = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class RenderOrder:
    """What the user asks for; an empty `motion` renders the bare base."""

    motion: str
    prompt: str
    seed: float | None
    knobs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderView:
    """What changes on the page; None leaves a part as it is."""

    status: str
    reference: Path | None = None
    result: Path | None = None
    file: Path | None = None
    scores: str | None = None
    error: MotionTransferError | None = None


def motion_choices(library: Library) -> list[tuple[str, str]]:
    """Labels and keys of the motions to choose from, newest first, and the bare base last."""
    named = [(words.MOTION_LABEL.format(name=m.name, made=m.made), m.key) for m in library.motions()]
    return [*named, (words.NO_MOTION, "")]


def kept_motion(library: Library, key: str | None) -> str:
    """The chosen motion if it is still there, else the newest one."""
    keys = [key for _, key in motion_choices(library)]
    return key if key is not None and key in keys else keys[0]


def motion_facts(library: Library, key: str | None) -> str:
    """A line on where a motion comes from, as HTML; empty for the bare base."""
    if not key:
        return ""
    motion = library.motion(key)
    caption = motion.caption or words.NO_CAPTION
    facts = words.MOTION_FACTS.format(caption=caption, base=motion.base or "?", made=motion.made)
    return f"<p>{escape(facts)}</p>"  # its words come from a file, which may be anybody's


def used_seed(seed: float | None) -> int:
    """The seed to render with; -1 draws one.

    Raises:
        BadSpec: it is not a seed.
    """
    if seed == RANDOM_SEED:
        return secrets.randbelow(SEED_HIGH + 1)
    if seed is None or seed != int(seed) or not 0 <= seed <= SEED_HIGH:
        raise BadSpec(words.BAD_SEED.format(high=SEED_HIGH, seed="empty" if seed is None else seed))
    return int(seed)


def _spec(order: RenderOrder) -> RenderSpec:
    prompt = order.prompt.strip()
    if not prompt:
        raise BadSpec(words.NO_PROMPT)
    return spec_from(RenderSpec, {**order.knobs, "prompt": prompt, "seed": used_seed(order.seed)})


def _views(desk: Desk, work: Work[Clip]) -> Generator[RenderView, None, Clip]:
    meter = Meter()
    with closing(desk.told(work)) as bundles:
        while True:
            try:
                steps = next(bundles)
            except StopIteration as end:
                return end.value
            yield RenderView(status=meter.line(steps[-1]))


def _scores(studio: Studio, motion: Motion | None, clip: Clip, prompt: str) -> str:
    """The table of scores against the clip the motion was learned from."""
    if motion is None or motion.reference is None:
        return words.NO_SCORES
    reference = read_clip(motion.reference, caption=motion.caption)
    return score_table(studio.judge(reference, clip, prompt=prompt, scene=scene_of(motion.reference)))


def _render(studio: Studio, library: Library, desk: Desk, order: RenderOrder) -> Iterator[RenderView]:
    spec, begin_s = _spec(order), time.monotonic()
    motion = library.motion(order.motion) if order.motion else None
    reference = library.show_file(motion.reference) if motion and motion.reference else None
    yield RenderView(status=status(words.OPENING_MOTION), reference=reference)
    lora = library.load(motion) if motion else None
    clip = yield from _views(desk, studio.render_work(lora, spec))
    saved = library.save_render(clip, spec, {"motion": motion.key if motion else None})
    yield RenderView(status=status(words.JUDGING), result=library.show(clip), file=saved)
    scores = _scores(studio, motion, clip, spec.prompt)
    done = words.RENDERED.format(seconds=time.monotonic() - begin_s, seed=spec.seed)
    yield RenderView(status=status(done), scores=scores)


def render(studio: Studio, library: Library, desk: Desk, order: RenderOrder, owner: str) -> Iterator[RenderView]:
    """Renders, saves and measures; whatever goes wrong ends it with one sentence."""
    try:
        with desk.taken(owner):
            yield from _render(studio, library, desk, order)
    except Cancelled as stop:
        yield RenderView(status=status(str(stop)))
    except Exception as error:
        said = in_words(error)
        yield RenderView(status=problem(said), error=said)
