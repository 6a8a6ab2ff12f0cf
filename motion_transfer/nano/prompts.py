"""Does nano show what it is told? Stock diffusers renders prompts at its own defaults, the exact checker reads them.

`python -m motion_transfer.nano prompts` remakes `docs/results/prompts.json` and its contact sheet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import count as numbers
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanPipeline

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.checker import check_clip, count_objects
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.model.catalog import weights_hash
from motion_transfer.processes import each
from motion_transfer.types import Clip
from motion_transfer.video.frames import save_png
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.synth.palette import held_out
from motion_transfer.video.synth.scene import Scene, sample_scene

SHEET_COLUMNS, SHEET_PROMPTS = 8, 64
PRESENT_SHARE = 0.9  # of the frames must show the asked object


@dataclass(frozen=True, kw_only=True)
class PromptResult:
    """One prompt's verdict; `present` is the share of frames that show the asked object."""

    prompt: str
    group: str
    color_right: bool
    shape_right: bool
    count_right: bool
    present: float


def _singles() -> Iterator[Scene]:
    """Scenes of one object whose caption names the background."""
    scenes = (sample_scene(f"prompts/{i}", kind="single", effects=0.0) for i in numbers())
    return (s for s in scenes if s.background.color in s.caption.replace(s.things[0].color, "", 1))


def _several() -> Iterator[Scene]:
    """Scenes of two or three objects."""
    return (sample_scene(f"prompts/several/{i}", kind="multiple", effects=0.0) for i in numbers())


def _unseen() -> Iterator[Scene]:
    """Scenes of one object in a color that training never shows its shape in."""
    scenes = (sample_scene(f"prompts/unseen/{i}", kind="single", effects=0.0, unseen_pairs=True) for i in numbers())
    return (s for s in scenes if held_out(s.things[0].kind, s.things[0].color))


# group: its scenes, and how many of them there are beside each single one
GROUPS: dict[str, tuple[Callable[[], Iterator[Scene]], float]] = {
    "single": (_singles, 1.0),
    "several": (_several, 0.5),
    "unseen pairs": (_unseen, 0.5),
}


def prompt_scenes(count: int) -> list[tuple[str, Scene]]:
    """Groups and scenes whose captions are the prompts: `count` of one object, and half as many of each other group."""
    out: list[tuple[str, Scene]] = []
    for group, (scenes, share) in GROUPS.items():
        out += [(group, scene) for scene, _ in zip(scenes(), range(round(share * count)), strict=False)]
    return out


@lru_cache(maxsize=1)
def _stock(folder: Path) -> tuple[WanPipeline, dict[str, Any]]:
    """A folder as stock diffusers opens it, and its native format."""
    pipeline = WanPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, json.loads((folder / "native.json").read_text())


def render_stock(folder: Path, prompt: str, seed: int, **settings: float) -> Clip:
    """Renders with `WanPipeline` at its defaults; only size, frames and the given settings are set."""
    pipeline, native = _stock(folder)
    video = pipeline(
        prompt,
        height=native["height"],
        width=native["width"],
        num_frames=native["num_frames"],
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
        **settings,
    ).frames[0]
    return Clip(frames_THWC=(np.asarray(video) * 255).round().astype(np.uint8), fps=native["fps"], caption=prompt)


def check_render(scene: Scene, group: str, clip: Clip) -> PromptResult:
    """Looks for the scene's first object, and counts."""
    asked = scene.things[0]
    verdict = check_clip(clip.frames_THWC, color=asked.color, shape=asked.kind)
    return PromptResult(
        prompt=scene.caption,
        group=group,
        color_right=verdict.color_right,
        shape_right=verdict.shape_right,
        count_right=count_objects(clip.frames_THWC) == len(scene.things),
        present=round(verdict.present_share, 4),
    )


def summary(checked: list[PromptResult]) -> dict[str, dict[str, float]]:
    """Shares of right renders by group."""
    out = {}
    for group in dict.fromkeys(result.group for result in checked):
        rows = [result for result in checked if result.group == group]
        right = {name: [getattr(r, f"{name}_right") for r in rows] for name in ("color", "shape", "count")}
        right["present"] = [r.present >= PRESENT_SHARE for r in rows]
        out[group] = {name: round(sum(values) / len(rows), 4) for name, values in right.items()}
    return out


def prompts_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` prompts for one object, and of the others, follow from."""
    return stamp(modules=[__name__], folders=[folder], settings={"prompts": count})


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One prompt to render; its number is the seed."""

    number: int
    group: str
    scene: Scene


def _check(folder: Path, renders: Path, asked: _Asked) -> tuple[PromptResult, np.ndarray]:
    """The verdict on one prompt's render, and its middle frame."""
    clip = kept(renders / f"{asked.number}.npz", lambda: render_stock(folder, asked.scene.caption, asked.number))
    return check_render(asked.scene, asked.group, clip), clip.frames_THWC[clip.num_frames // 2]


def check_prompts(
    folder: Path, count: int, results: Path, num_processes: int = 2, renders: Path = RENDERS
) -> dict[str, dict[str, float]]:
    """Renders and checks prompts of every group; writes `prompts.json` and `prompts.png` into `results`.

    Args:
        folder: of the base.
        count: prompts for one object.
        results: where the figures go.
        num_processes: that share the prompts.
        renders: folder of the renders, to go on from.
    """
    made_by, base_hash = prompts_stamp(folder, count), weights_hash(folder)
    every = [_Asked(number=i, group=group, scene=scene) for i, (group, scene) in enumerate(prompt_scenes(count))]
    found: dict[int, tuple[PromptResult, np.ndarray]] = {}
    for asked, one in each(partial(_check, folder, renders / f"prompts-{made_by}"), every, num_processes=num_processes):
        found[asked.number] = one
        print(f"{len(found)}/{len(every)} {one[0]}", flush=True)
    checked, pictures = zip(*(found[i] for i in range(len(every))), strict=True)
    shares = summary(list(checked))
    rows = {"stamp": made_by, "base": base_hash, "summary": shares, "prompts": [asdict(r) for r in checked]}
    write_json(results / "prompts.json", rows)
    save_png(_sheet(list(pictures[: min(count, SHEET_PROMPTS)])), results / "prompts.png")
    return shares


def _sheet(pictures: list[np.ndarray], scale: int = 2) -> np.ndarray:
    blank = np.zeros_like(pictures[0])
    padded = pictures + [blank] * (-len(pictures) % SHEET_COLUMNS)
    rows = [np.concatenate(padded[i : i + SHEET_COLUMNS], 1) for i in range(0, len(padded), SHEET_COLUMNS)]
    return np.concatenate(rows).repeat(scale, 0).repeat(scale, 1)
