"""The example clips of the page: scenes of all four kinds, rendered by the procedural world."""

from __future__ import annotations

import json
from pathlib import Path

from motion_transfer.types import Clip
from motion_transfer.video.io import write_clip
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, sample_scene

SIDE_PX = 256
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


def write_examples(folder: Path) -> None:
    """Renders every example; its comment tag names the true scene and the caption."""
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, (name, kind) in EXAMPLES.items():
        scene = sample_scene(name, kind=kind, effects=0.0)
        frames = draw([scene], SIDE_PX)[0].numpy()
        comment = json.dumps({"scene": {"name": name, "kind": kind}, "caption": scene.caption})
        write_clip(Clip(frames_THWC=frames, fps=FPS), folder / f"{file_name}.mp4", comment=comment)
