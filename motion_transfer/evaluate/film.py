"""Clips that look filmed: drawn scenes with hand shake, grain, flickering exposure and compression, and real ones.

`python -m motion_transfer.evaluate.film FOLDER` writes them with a `captions.csv`, ready for `bench --clips FOLDER`.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import shutil
import sys
from pathlib import Path
from random import Random

import cv2
import numpy as np

from motion_transfer.evaluate.clip_folder import TABLE_NAME
from motion_transfer.evaluate.retarget import named_in_full, other_looks, seen_colors
from motion_transfer.types import Clip
from motion_transfer.video.io import write_clip
from motion_transfer.video.synth.backgrounds import sample_background
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.palette import COLORS, FIGURES
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

SIDE_PX, MARGIN_PX = 240, 20  # the shaking frame's side, and how far it may shake
GRAIN = 10.0  # standard deviation, of 255
EXPOSURE = 0.04  # standard deviation of each frame's gain
JPEG_QUALITY = 22
FILMED = {  # file: scene, kind
    "film-pan": ("film/7", "camera"),
    "film-zoom": ("film/8", "camera"),
    "film-line": ("film/2", "single"),
    "film-bounce": ("film/9", "single"),
    "film-collide": ("film/3", "multiple"),
    "film-walk": ("film/2", "articulated"),
}
NUM_PROMPTS = 2
REAL_PROMPTS = ("a red star on a gray background", "a blue car on a white background")
REAL = ("a.mp4", "b.mp4", "world.mp4")  # of the installed gradio package


def _smooth_walk(rng: np.random.Generator, frames: int, width: int) -> np.ndarray:
    """A random course `(T,)` in -1..1 that changes over about `width` frames."""
    rough = rng.normal(size=frames + 4 * width)
    smooth = np.convolve(rough, np.hanning(2 * width + 1), mode="valid")[:frames]
    return smooth / max(1e-9, np.abs(smooth).max())


def film_like(clip: Clip, seed: int) -> Clip:
    """The clip as a hand-held camera might have filmed it; `MARGIN_PX` are lost on every side.

    Args:
        clip: larger than twice `MARGIN_PX` on both sides.
        seed: of shake, grain and exposure.
    """
    rng, frames = np.random.default_rng(seed), []
    count, height, width = clip.frames_THWC.shape[:3]
    shifts_T2 = 0.8 * MARGIN_PX * np.stack([_smooth_walk(rng, count, 6), _smooth_walk(rng, count, 6)], 1)
    turns_T = 1.5 * _smooth_walk(rng, count, 8)  # degrees
    for frame_HWC, shift_2, turn in zip(clip.frames_THWC, shifts_T2, turns_T, strict=True):
        place = cv2.getRotationMatrix2D((width / 2, height / 2), float(turn), 1.0)
        place[:, 2] += shift_2
        shaken = cv2.warpAffine(frame_HWC, place, (width, height), borderMode=cv2.BORDER_REPLICATE)
        lit = shaken[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX] * (1 + EXPOSURE * rng.normal())
        grainy = np.clip(lit + GRAIN * rng.normal(size=lit.shape), 0, 255).astype(np.uint8)
        _, packed = cv2.imencode(".jpg", grainy, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        frames.append(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return Clip(frames_THWC=np.stack(frames), fps=clip.fps, caption=clip.caption, source=clip.source)


def _prompts(scene: Scene) -> list[str]:
    """What to show a scene's motion with: nothing of what it shows itself; behind a camera's, a patterned ground."""
    rng, prompts = Random(f"film/prompts/{scene.name}"), list[str]()
    figure = scene.things[0].kind if scene.things[0].kind in FIGURES else None
    free = [color for color in COLORS if color not in seen_colors(scene)]
    while len(prompts) < NUM_PROMPTS:
        color = rng.choice(free)
        looks = other_looks(rng, scene, color, figure=figure)
        if looks is not None:
            free.remove(color)
            pattern = "plain" if scene.camera.kind == "static" else rng.choice(("checkered", "dotted", "wavy"))
            prompts.append(named_in_full(rng, looks, sample_background(rng, color, pattern)))
    return prompts


def real_clips() -> list[Path]:
    """Real clips that everyone has: those inside the gradio package, which need not be imported for that."""
    package = importlib.util.find_spec("gradio")
    assert package is not None and package.origin is not None, "gradio is among the requirements"
    return [Path(package.origin).parent / "media_assets" / "videos" / name for name in REAL]


def write_film_folder(folder: Path) -> None:
    """Writes film-like clips, the real clips of the installed gradio package, and their table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (file_name, (name, kind)) in enumerate(FILMED.items()):
        scene = sample_scene(name, kind=kind, effects=0.0)
        frames_THWC = draw([scene], SIDE_PX + 2 * MARGIN_PX)[0].numpy()
        clip = film_like(Clip(frames_THWC=frames_THWC, fps=FPS, caption=scene.caption), number)
        write_clip(clip, folder / f"{file_name}.mp4")
        rows.append([f"{file_name}.mp4", clip.caption, *_prompts(scene)])
    for path in real_clips():
        shutil.copyfile(path, folder / f"real-{path.name}")
        rows.append([f"real-{path.name}", "", *REAL_PROMPTS])
    with open(folder / TABLE_NAME, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["file", "caption", "prompt", "prompt2"], *rows])


def main(arguments: list[str] | None = None) -> None:
    """Writes the folder."""
    parser = argparse.ArgumentParser(prog="python -m motion_transfer.evaluate.film", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="where to write clips and captions.csv")
    write_film_folder(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    sys.exit(main())
