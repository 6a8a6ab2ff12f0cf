"""The controls that ship: single motions on linear strength sliders, learned from drawn clips of known strength.

`python -m motion_transfer.nano controls` makes the ones that are missing, or that were learned on another base or with
other settings; stopped, it goes on with the next one. Each is then measured at several strengths on contents that it
never saw, and the curve goes into its file, so that the slider is even in measured motion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from itertools import count as numbers
from pathlib import Path
from random import Random
from statistics import mean, median
from typing import Any

from motion_transfer.atomic import replacing
from motion_transfer.errors import BadLora, Diverged
from motion_transfer.evaluate.amplitude import amplitudes
from motion_transfer.evaluate.retarget import Look, named_in_full
from motion_transfer.lora.algebra import CURVE, is_curve, uncalibrated
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.methods.lion_strength import ControlSpec, Example, learn_control
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import find_base, weights_hash
from motion_transfer.processes import each
from motion_transfer.transfer import render_work
from motion_transfer.types import Clip, Lora, RenderSpec
from motion_transfer.video.io import write_clip
from motion_transfer.video.synth.backgrounds import Background, sample_background
from motion_transfer.video.synth.controls import CONTROLS, Control, control_scene
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene
from motion_transfer.work import drive

BASE, PRECISION = "nano", "nf4"
SIZE_PX = 64
NUM_CLIPS = 128  # contents, each drawn at all strengths
LEVELS = 9  # strengths that are learned from
ROUND = ("circle", "ring", "flower")  # a thing's turn can't be told by them
BACKGROUNDS = ("plain", "checkered", "plain", "dotted")  # of cases, in turn
CALIBRATION_CASES, CALIBRATION_STOPS = 6, 9
PREFIX = "control-"
EXAMPLE_BACKGROUND = Background(color="white", pattern="checkered", angle=0.3, period=0.25, seed=1)
EXAMPLE_LOOK: Look = ("house", "navy")
EXAMPLE_PX = 256
SHIPPED = ("pan", "tilt", "zoom", "speed")  # nano hardly learns roll and shake
_HOW = {"affine": "Half of the ranks act always, the other half", "scaled": "The LoRA acts"}


def levels(control: Control, count: int) -> tuple[float, ...]:
    """Strengths, evenly from the least to 1."""
    return tuple(control.lowest + (1 - control.lowest) * i / (count - 1) for i in range(count))


def drawn(scene: Scene) -> Clip:
    """A scene as the base sees it, with its caption."""
    return Clip(frames_THWC=draw([scene], SIZE_PX)[0].numpy(), fps=FPS, caption=scene.caption)


def examples(
    base: VideoBase, control: Control, count: int = NUM_CLIPS, strengths: Sequence[float] = ()
) -> Iterator[Example]:
    """So many contents, each at some strengths, or at all that are learned from."""
    for number in range(count):
        for strength in strengths or levels(control, LEVELS):
            clip = drawn(control_scene(control, strength, f"train/{number}"))
            yield Example(z_ZFYX=base.codec.encode(clip).z_ZFYX, strength=strength, caption=clip.caption)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A content to render a control with: what the prompt names, and the seed."""

    prompt: str
    look: Look
    background: Background
    seed: int

    def shown(self, control: Control, strength: float, name: str) -> Scene:
        """The truth: a scene of this content in which the control's motion is so strong."""
        scene = control_scene(control, strength, name)
        thing = replace(scene.things[0], kind=self.look[0], color=self.look[1])
        return replace(scene, things=(thing,), background=self.background, caption=self.prompt)


def cases(control: Control, count: int, prefix: str, seeds: int = 1) -> tuple[Case, ...]:
    """Contents that learning never saw, of one thing by which a camera's motion can be told, each with some seeds."""
    found: list[Case] = []
    for name in (f"{prefix}/{control.name}/{number}" for number in numbers()):
        rng, scene = Random(name), control_scene(control, 1.0, name)
        look = (scene.things[0].kind, scene.things[0].color)
        if look[0] not in ROUND:
            background = sample_background(rng, scene.background.color, BACKGROUNDS[len(found) // seeds % 4])
            prompt = named_in_full(rng, (look,), background)
            found += [Case(prompt=prompt, look=look, background=background, seed=seed) for seed in range(seeds)]
        if len(found) >= count * seeds:
            return tuple(found)
    raise AssertionError


@lru_cache(maxsize=1)
def opened() -> VideoBase:
    """The base, once a process."""
    return open_base(BASE, precision=PRECISION, device="cpu")


def rendered(lora: Lora | None, strength: float, case: Case) -> Clip:
    """A case with a control so strong, or by the bare base."""
    spec = RenderSpec(prompt=case.prompt, seed=case.seed, strength=strength)
    return drive(render_work(opened(), lora, spec))


def spec_of(control: Control) -> ControlSpec:
    """The settings that a control is learned with."""
    return ControlSpec(blocks=tuple(range(8)))


def calibration(lora: Lora, control: Control) -> dict[str, Any]:
    """How far the motion goes at each strength: the median over some contents, for now and then nano draws a thing
    that can't be followed.

    Returns:
        "amplitude" at strength 1 in the control's unit, and the "curve": pairs of a strength and the share of that
        amplitude which it shows, rising.

    Raises:
        Diverged: it shows nothing that grows with its strength.
    """
    shown: dict[float, list[float]] = {}
    for case in cases(control, CALIBRATION_CASES, "calibrate"):
        for strength in levels(control, CALIBRATION_STOPS):
            found = amplitudes(rendered(lora, strength, case), case.look)[control.name]
            if found is not None:
                shown.setdefault(round(strength, 6), []).append(found)
    found_at = {strength: median(values) for strength, values in sorted(shown.items())}
    if not control.reversible:  # what seems to move where nothing does
        found_at = {strength: found - found_at[0.0] for strength, found in found_at.items()}
    whole = found_at.get(1.0, 0.0)
    curve = rising([(s, found / whole) for s, found in found_at.items()]) if whole > 0 else []
    if not is_curve(curve):
        raise Diverged(f"a motion that grows with its strength is expected of the control {control.name}, but it shows "
                       f"{found_at}; learn it for longer.")  # fmt: skip
    return {"amplitude": round(whole, 5), CURVE: curve}


def rising(points: Sequence[tuple[float, float]]) -> list[list[float]]:
    """The points with shares that never fall: neighbors that do are brought to their mean (isotonic regression)."""
    blocks: list[list[tuple[float, float]]] = []
    for point in points:
        blocks.append([point])
        while len(blocks) > 1 and mean(s for _, s in blocks[-2]) >= mean(s for _, s in blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    return [[round(mean(x for x, _ in block), 5), round(mean(s for _, s in block), 5)] for block in blocks]


def _drawn_as(control: Control) -> dict[str, Any]:
    """What says how a control's examples are drawn."""
    return {"clips": NUM_CLIPS, "levels": LEVELS, "most": control.most}


def learned(name: str, compiled: bool = False) -> Lora:
    """A control, learned and measured."""
    control, base = CONTROLS[name], opened()
    lora = drive(learn_control(base, list(examples(base, control)), spec_of(control), compiled=compiled))
    facts = {"name": f"Control: {name}", "control": name, "unit": control.unit, "reversible": control.reversible,
             **_drawn_as(control)}  # fmt: skip
    return measured(replace(lora, info={**lora.info, **facts}))


def measured(lora: Lora) -> Lora:
    """A control with its curve, measured anew."""
    lora = uncalibrated(lora)
    return replace(lora, info={**lora.info, **calibration(lora, CONTROLS[lora.info["control"]])})


def _measured_file(path: Path) -> Lora:
    return measured(load_lora(path))


def write_example(control: Control, path: Path) -> None:
    """Writes a drawn clip of the control's whole motion, such as it is learned from."""
    scene = control_scene(control, 1.0, "example")
    thing = replace(scene.things[0], kind=EXAMPLE_LOOK[0], color=EXAMPLE_LOOK[1])
    scene = replace(scene, things=(thing,), background=EXAMPLE_BACKGROUND)
    write_clip(Clip(frames_THWC=draw([scene], EXAMPLE_PX)[0].numpy(), fps=FPS), path)


def control_stale(path: Path) -> str:
    """Why the file of a shipped control doesn't count; empty if it does."""
    if not path.is_file():
        return "there is none"
    try:
        recipe = load_lora(path).info
    except BadLora as error:
        return str(error)
    if recipe.get("base_hash") != weights_hash(find_base(BASE).folder):
        return "it was learned on another base"
    control = CONTROLS[path.stem.removeprefix(PREFIX)]
    asked, drawn_as = asdict(spec_of(control)), _drawn_as(control)
    used = dict(recipe.get("spec", {}))
    used["blocks"] = tuple(used.get("blocks", ()))
    return "" if used == asked and drawn_as.items() <= recipe.items() else "it was learned with other settings"


def stale_controls(folder: Path) -> dict[str, str]:
    """Controls whose files don't count, and why."""
    found = {name: control_stale(folder / f"{PREFIX}{name}.safetensors") for name in SHIPPED}
    return {name: why for name, why in found.items() if why}


def write_controls(folder: Path, num_processes: int = 2, curves: bool = False, compiled: bool = False) -> None:
    """Learns what is missing or stale, on the CPU, and writes the files and the card beside them.

    Args:
        folder: of the files.
        num_processes: that share the controls.
        curves: measure the curves of the files that are there anew.
        compiled: learn with compiled blocks, in half the time.
    """
    there = sorted(folder.glob(f"{PREFIX}*.safetensors")) if curves else []
    for path, lora in each(_measured_file, there, num_processes=num_processes):
        save_lora(lora, path)
        print(f"{path.stem}: measured", flush=True)
    learn, missing = partial(learned, compiled=compiled), list(stale_controls(folder))
    for name, lora in each(learn, missing, num_processes=num_processes):
        save_lora(lora, folder / f"{PREFIX}{name}.safetensors")
        print(f"{name}: learned, {lora.info['amplitude']:.3g} {lora.info['unit']} at strength 1", flush=True)
    for name in SHIPPED:
        if not (example := folder / f"{PREFIX}{name}.mp4").is_file():
            write_example(CONTROLS[name], example)
    with replacing(folder / "CONTROLS.md") as card:
        card.write_text(_card({name: load_lora(folder / f"{PREFIX}{name}.safetensors").info for name in SHIPPED}))


def _card(recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """The files' card: what they are, where they come from, what they can't do."""
    rows = "\n".join(
        f"| `{PREFIX}{name}` | {recipe['amplitude']:.3g} {recipe['unit']} | {'yes' if recipe['reversible'] else 'no'} |"
        for name, recipe in recipes.items()
    )
    one = next(iter(recipes.values()))
    spec = one["spec"]
    return f"""---
license: apache-2.0
library_name: peft
tags: [lora, motion, slider]
---

# Controls for nano

LoRAs of nano's self-attention, rank {spec["rank"]}, each learned by `python -m motion_transfer.nano controls` from
{one["clips"]} drawn contents at {one["levels"]} strengths ({spec["steps"]} steps of {spec["batch"]},
seed {spec["seed"]}, precision {one["precision"]}): "LiON-style", after the principles of arXiv 2507.05678, whose
formulas are not public. {_HOW[spec["arm"]]} as strongly as the slider says; the curve in each file's header, which
other tools don't read, makes that even in measured motion. They fit the base {one["base"]} {one["base_hash"][:16]} and
no other. Cameras move nano's things; its textured backgrounds mostly stay where they are.

| file | at strength 1, on average | backwards too |
|---|---|---|
{rows}
"""
