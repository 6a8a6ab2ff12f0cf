"""The presets that ship, one for each shipped motion and some for a motion and a camera, and what they render.

`python -m motion_transfer.nano showcase` writes `presets/`, then renders every preset: `docs/results/presets.json`
says how well each follows its clip and its prompt, `presets.png` shows clip and render one below the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.report import judge
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.lora.files import file_hash, load_lora
from motion_transfer.methods.lion_fusion import mixed
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import find_base, weights_hash
from motion_transfer.nano.clips import example_caption
from motion_transfer.nano.controls import PREFIX
from motion_transfer.nano.motions import BASE, CLIPS, PRECISION, motion_name
from motion_transfer.presets import BadPreset, Preset, PresetLora, load_preset, save_preset
from motion_transfer.processes import each
from motion_transfer.transfer import fit, render_work
from motion_transfer.types import Clip, RenderSpec
from motion_transfer.video.frames import contact_sheet, save_png
from motion_transfer.video.io import read_clip
from motion_transfer.work import drive

SHEET_FRAMES = 12
MEASURES = ("motion_fidelity", "leakage", "color_right", "shape_right", "object_present")


@dataclass(frozen=True, kw_only=True)
class Showpiece:
    """A preset that ships: files of motions with their strengths, and a prompt with a seed."""

    name: str
    motions: tuple[tuple[str, float], ...]
    prompt: str
    seed: int = 0

    @property
    def clips(self) -> tuple[str, ...]:
        """Files of motions that were learned from an example clip."""
        return tuple(stem for stem, _ in self.motions if not stem.startswith(PREFIX))

    @property
    def description(self) -> str:
        """Where its motion comes from."""
        sources = " and ".join(f"“{motion_name(stem)}”, learned from a clip of {example_caption(stem)}"
                               for stem in self.clips)  # fmt: skip
        controls = [f", before a camera that is moved by “{motion_name(stem)}” at {strength:g}"
                    for stem, strength in self.motions if stem not in self.clips]  # fmt: skip
        return f"The motion {sources}{''.join(controls)}."


SHOWCASE = {
    "bouncing-star": Showpiece(
        name="Bouncing star", motions=(("single-bounce", 1.0),), prompt="a yellow star on a gray background"
    ),
    "driving-car": Showpiece(
        name="Driving car", motions=(("single-line", 1.0),), prompt="a purple car on a white background"
    ),
    "darting-heart": Showpiece(
        name="Darting heart", motions=(("single-zigzag", 1.0),), prompt="a green heart on a yellow background"
    ),
    "gliding-bird": Showpiece(
        name="Gliding bird", motions=(("single-wave", 1.0),), prompt="a blue bird on a white background"
    ),
    "spiraling-ring": Showpiece(
        name="Spiraling ring", motions=(("single-spiral", 1.0),), prompt="a pink ring on a black background"
    ),
    "pan-over-a-tree": Showpiece(
        name="Pan over a tree", motions=(("camera-pan", 1.0),), prompt="a white tree on a blue dotted background"
    ),
    "zoom-on-a-flower": Showpiece(
        name="Zoom on a flower", motions=(("camera-zoom", 1.0),), prompt="a white flower on a navy cloudy background"
    ),
    "passing-a-house": Showpiece(
        name="Passing a house", motions=(("camera-parallax", 1.0),), prompt="a red house on a green striped background"
    ),
    "crossing-paths": Showpiece(
        name="Crossing paths",
        motions=(("multiple-cross", 1.0),),
        prompt="a pink circle and a green square on a black background",
        seed=1,
    ),
    "chase": Showpiece(
        name="Chase", motions=(("multiple-chase", 1.0),), prompt="three pink circles on a black background", seed=1
    ),
    "running-person": Showpiece(
        name="Running person", motions=(("articulated-run", 1.0),), prompt="a white person on a navy background", seed=2
    ),
    "walking-dog": Showpiece(
        name="Walking dog", motions=(("articulated-walk", 1.0),), prompt="a white dog on a purple background"
    ),
    "bounce-from-below": Showpiece(
        name="Bounce from below",
        motions=(("single-bounce", 1.0), ("control-tilt", -0.5)),
        prompt="a white ring on a blue background",
    ),
    "spiral-coming-near": Showpiece(
        name="Spiral coming near",
        motions=(("single-spiral", 1.0), ("control-zoom", 0.6)),
        prompt="a yellow flower on a navy background",
    ),
    "wave-in-a-pan": Showpiece(
        name="Wave in a pan",
        motions=(("single-wave", 1.0), ("control-pan", 0.5)),
        prompt="a red heart on a white background",
    ),
}


def _preset(piece: Showpiece, loras: Path) -> Preset:
    """The preset of a showpiece, with the motions' files as they are in a folder."""
    used = [PresetLora(name=motion_name(stem), sha256=file_hash(loras / f"{stem}.safetensors"), strength=strength)
            for stem, strength in piece.motions]  # fmt: skip
    return Preset.of(
        name=piece.name,
        description=piece.description,
        base=BASE,
        render=RenderSpec(prompt=piece.prompt, seed=piece.seed),
        loras=used,
    )


def showcase_stale(loras: Path, presets: Path) -> str:
    """Why the shipped presets don't count; empty if they do."""
    for stem, piece in SHOWCASE.items():
        try:
            if load_preset(presets / f"{stem}.json") != _preset(piece, loras):
                return f"{stem} asks for something else"
        except (BadPreset, OSError):
            return f"there is no {stem}, or its motion is missing"
    return ""


def write_showcase(loras: Path, presets: Path) -> None:
    """Writes every preset for the motions' files as they are."""
    for stem, piece in SHOWCASE.items():
        save_preset(_preset(piece, loras), presets / f"{stem}.json")


@lru_cache(maxsize=1)
def _base() -> VideoBase:
    return open_base(BASE, precision=PRECISION, device="cpu")


def _shown(loras: Path, stem: str) -> tuple[dict[str, float | str | None], list[Clip]]:
    """What a preset's render measures against its first motion's clip, and both clips."""
    piece = SHOWCASE[stem]
    motions = [(load_lora(loras / f"{name}.safetensors"), strength) for name, strength in piece.motions]
    render = drive(render_work(_base(), *mixed(motions, _preset(piece, loras).render_spec())))
    first = piece.clips[0]
    reference = fit(find_base(BASE), read_clip(CLIPS / f"{first}.mp4", caption=example_caption(first)))
    values = {measure.name: measure.value for measure in judge(reference, render, prompt=piece.prompt).measures}
    shown = {name: values[name] for name in MEASURES}
    if len(piece.motions) > len(piece.clips):  # what a camera does beside is no want of fidelity
        shown["motion_fidelity"] = None
    return {"preset": stem, "prompt": piece.prompt, **shown}, [reference, render]


def showcase_stamp(loras: Path) -> str:
    """What the figures of the presets follow from."""
    return stamp(modules=[__name__], folders=[find_base(BASE).folder, loras], settings={})


def check_showcase(loras: Path, results: Path, num_processes: int = 2) -> list[dict[str, float | str | None]]:
    """Renders every preset; writes `presets.json` and `presets.png` into `results`."""
    made_by, base_hash = showcase_stamp(loras), weights_hash(find_base(BASE).folder)
    found: dict[str, tuple[dict[str, float | str | None], list[Clip]]] = {}
    for stem, one in each(partial(_shown, loras), list(SHOWCASE), num_processes=num_processes):
        found[stem] = one
        print(one[0], flush=True)
    rows = [found[stem][0] for stem in SHOWCASE]
    write_json(results / "presets.json", {"stamp": made_by, "base": base_hash, "rows": rows})
    clips = [clip for stem in SHOWCASE for clip in found[stem][1]]
    save_png(contact_sheet(clips, columns_frames=SHEET_FRAMES, scale=1), results / "presets.png")
    return rows
