"""The example clips of the page: scenes of all four kinds, rendered by the procedural world; and a picture of them."""

from __future__ import annotations

import json
from pathlib import Path

from motion_transfer.types import Clip
from motion_transfer.video.frames import contact_sheet, save_png
from motion_transfer.video.io import write_clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene

SIDE_PX = 256
SHEET_SIDE_PX, SHEET_FRAMES = 64, 12
# file name: scene name, kind
EXAMPLES = {
    "camera-pan": ("clips/camera/30", "camera"),
    "camera-zoom": ("clips/camera/6", "camera"),
    "camera-parallax": ("clips/camera/18", "camera"),
    "single-line": ("clips/single/0", "single"),
    "single-bounce": ("clips/single/2", "single"),
    "single-zigzag": ("clips/single/4", "single"),
    "single-wave": ("clips/single/26", "single"),
    "single-spiral": ("clips/single/38", "single"),
    "multiple-cross": ("clips/multiple/37", "multiple"),
    "multiple-chase": ("clips/multiple/10", "multiple"),
    "articulated-run": ("clips/articulated/5", "articulated"),
    "articulated-walk": ("clips/articulated/18", "articulated"),
}


def _example(name: str, kind: str, side_px: int) -> tuple[Scene, Clip]:
    scene = sample_scene(name, kind=kind, effects=0.0)
    return scene, Clip(frames_THWC=draw([scene], side_px)[0].numpy(), fps=FPS)


def example_caption(file_name: str) -> str:
    """What an example clip shows."""
    name, kind = EXAMPLES[file_name]
    return sample_scene(name, kind=kind, effects=0.0).caption


def write_examples(folder: Path) -> None:
    """Renders every example; its comment tag names the true scene and the caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, (name, kind) in EXAMPLES.items():
        scene, clip = _example(name, kind, SIDE_PX)
        comment = json.dumps({"scene": {"name": name, "kind": kind}, "caption": scene.caption})
        write_clip(clip, folder / f"{file_name}.mp4", comment=comment)


def write_world_sheet(results: Path) -> None:
    """Shows the examples at nano's size, one row each: writes `world.png` into `results`."""
    clips = [_example(name, kind, SHEET_SIDE_PX)[1] for name, kind in EXAMPLES.values()]
    save_png(contact_sheet(clips, columns_frames=SHEET_FRAMES), results / "world.png")
