"""LoRAs of single motions as they are usually learned: from full strength alone, with a weight for a slider.

What the sliders that ship are compared with. They are learned in as many steps, and kept outside the repository under
the stamp of the code that learned them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from motion_transfer.evaluate.stamps import stamp
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.methods.lion_strength import learn_control
from motion_transfer.nano.controls import examples, opened, spec_of
from motion_transfer.processes import each
from motion_transfer.types import Lora
from motion_transfer.video.kept import RENDERS
from motion_transfer.video.synth.controls import CONTROLS
from motion_transfer.work import drive

ARM = "vanilla"
USUAL_LORAS = RENDERS / "usual-loras"


def usual_stamp() -> str:
    """What they follow from."""
    return stamp(modules=[__name__], folders=[opened().spec.folder], settings={})


def _learned(name: str, compiled: bool) -> Lora:
    spec = replace(spec_of(CONTROLS[name]), arm=ARM)
    whole = list(examples(opened(), CONTROLS[name], strengths=(1.0,)))
    return drive(learn_control(opened(), whole, spec, compiled=compiled))


def usual_loras(
    controls: Sequence[str], folder: Path = USUAL_LORAS, num_processes: int = 2, compiled: bool = False
) -> dict[str, Lora]:
    """One LoRA a control; those that today's code has not learned yet are learned.

    Args:
        controls: their names.
        folder: where they are kept.
        num_processes: that share the work.
        compiled: learn with compiled blocks, in half the time.
    """
    kept_in = folder / usual_stamp()
    kept_in.mkdir(parents=True, exist_ok=True)
    paths = {name: kept_in / f"{name}.safetensors" for name in controls}
    missing = [name for name, path in paths.items() if not path.is_file()]
    for name, lora in each(partial(_learned, compiled=compiled), missing, num_processes=num_processes):
        save_lora(lora, paths[name])
    return {name: load_lora(path) for name, path in paths.items()}
