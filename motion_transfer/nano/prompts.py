"""Does nano show what it is told? Stock diffusers renders prompts at its own defaults, the exact checker reads them.

`python -m motion_transfer.nano prompts --count 64` remakes `docs/results/prompts.json` and its contact sheet.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import WanPipeline

from motion_transfer.evaluate.checker import check_clip
from motion_transfer.model.catalog import weights_hash
from motion_transfer.types import Clip
from motion_transfer.video.frames import save_png
from motion_transfer.video.synth.scene import sample_scene

SHEET_COLUMNS = 8


@dataclass(frozen=True, kw_only=True)
class PromptResult:
    """One prompt's verdict; `present` is the share of frames that show the asked object."""

    prompt: str
    color_right: bool
    shape_right: bool
    present: float


def prompt_list(count: int) -> list[tuple[str, str, str]]:
    """Prompts in the world's wording for one object each, with the asked color and shape."""
    out: list[tuple[str, str, str]] = []
    number = 0
    while len(out) < count:
        scene = sample_scene(f"prompts/{number}", kind="single", effects=0.0)
        number += 1
        if scene.background.color in scene.caption.replace(scene.things[0].color, "", 1):
            out.append((scene.caption, scene.things[0].color, scene.things[0].kind))
    return out


def render_stock(pipeline: WanPipeline, prompt: str, seed: int, native: dict) -> Clip:
    """Renders with `WanPipeline` at its defaults; only size and frames are set."""
    video = pipeline(
        prompt,
        height=native["height"],
        width=native["width"],
        num_frames=native["num_frames"],
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).frames[0]
    return Clip(frames_THWC=(np.asarray(video) * 255).round().astype(np.uint8), fps=native["fps"], caption=prompt)


def check_prompts(folder: Path, count: int, results: Path) -> dict[str, float]:
    """Renders and checks `count` prompts; writes `prompts.json` and `prompts.png` into `results`."""
    native = json.loads((folder / "native.json").read_text())
    pipeline = WanPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    checked, pictures = [], []
    for i, (prompt, color, shape) in enumerate(prompt_list(count)):
        clip = render_stock(pipeline, prompt, i, native)
        verdict = check_clip(clip.frames_THWC, color=color, shape=shape)
        result = PromptResult(
            prompt=prompt,
            color_right=bool(verdict.color_right),
            shape_right=bool(verdict.shape_right),
            present=float(verdict.present_share),
        )
        checked.append(result)
        pictures.append(clip.frames_THWC[len(clip.frames_THWC) // 2])
        print(f"{i + 1}/{count} {prompt}: read {verdict.read_color} {verdict.read_shape}", flush=True)
    summary = {
        "color_right": sum(r.color_right for r in checked) / count,
        "shape_right": sum(r.shape_right for r in checked) / count,
        "present_in_90_percent": sum(r.present >= 0.9 for r in checked) / count,
    }
    results.mkdir(parents=True, exist_ok=True)
    rows = {"base": weights_hash(folder), "summary": summary, "prompts": [asdict(r) for r in checked]}
    (results / "prompts.json").write_text(json.dumps(rows, indent=1) + "\n")
    save_png(_sheet(pictures), results / "prompts.png")
    return summary


def _sheet(pictures: list[np.ndarray], scale: int = 2) -> np.ndarray:
    blank = np.zeros_like(pictures[0])
    padded = pictures + [blank] * (-len(pictures) % SHEET_COLUMNS)
    rows = [np.concatenate(padded[i : i + SHEET_COLUMNS], 1) for i in range(0, len(padded), SHEET_COLUMNS)]
    return np.concatenate(rows).repeat(scale, 0).repeat(scale, 1)
