"""The motions that ship: those of the example clips, learned with the default settings, one LoRA file each.

`python -m motion_transfer.nano motions` makes the ones that are missing, or that were learned on another base, from
another clip or with other settings; stopped, it goes on with the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from motion_transfer.atomic import replacing
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.catalog import ASSETS, find_base, weights_hash
from motion_transfer.nano.clips import EXAMPLES, example_caption
from motion_transfer.processes import each
from motion_transfer.transfer import fit, tune_work
from motion_transfer.types import Clip, Lora, TuneSpec
from motion_transfer.video.io import read_clip
from motion_transfer.work import drive

BASE, PRECISION = "nano", "nf4"
CLIPS = ASSETS / "clips"


def motion_name(stem: str) -> str:
    """What the motion in a file is called: `single-bounce` is "Single: bounce"."""
    return stem.replace("-", ": ", 1).capitalize()


def _reference(stem: str) -> tuple[Clip, TuneSpec]:
    """An example clip as the base sees it, and the settings that its motion is learned with."""
    caption = example_caption(stem)
    clip = fit(find_base(BASE), read_clip(CLIPS / f"{stem}.mp4", caption=caption))
    return replace(clip, source=f"{stem}.mp4"), TuneSpec(caption=caption)


def motion_stale(path: Path) -> str:
    """Why the file of a shipped motion doesn't count; empty if it does."""
    if not path.is_file():
        return "there is none"
    recipe = load_lora(path).info
    clip, spec = _reference(path.stem)
    if recipe.get("base_hash") != weights_hash(find_base(BASE).folder):
        return "it was learned on another base"
    if recipe.get("clip_sha256") != hashlib.sha256(clip.frames_THWC.tobytes()).hexdigest():
        return "it was learned from another clip"
    used = asdict(TuneSpec()) | dict(recipe.get("spec", {}))  # a setting that came later was as it is by default
    asked = asdict(spec) | {"sparse_latents": used.get("sparse_latents")}  # the default leaves that to the base
    return "" if used == asked else "it was learned with other settings"


def stale_motions(folder: Path) -> dict[str, str]:
    """Files of shipped motions that don't count, and why."""
    found = {stem: motion_stale(folder / f"{stem}.safetensors") for stem in EXAMPLES}
    return {stem: why for stem, why in found.items() if why}


@lru_cache(maxsize=1)
def _base() -> VideoBase:
    return open_base(BASE, precision=PRECISION, device="cpu")


def _learned(stem: str) -> Lora:
    clip, spec = _reference(stem)
    lora = drive(tune_work(_base(), clip, spec)).lora
    return replace(lora, info={**lora.info, "name": motion_name(stem)})


def write_motions(folder: Path, num_processes: int = 2) -> None:
    """Learns what is missing or stale, on the CPU, and writes the files and the card beside them."""
    for stem, lora in each(_learned, list(stale_motions(folder)), num_processes=num_processes):
        save_lora(lora, folder / f"{stem}.safetensors")
        print(f"{stem}: learned", flush=True)
    with replacing(folder / "README.md") as partial:
        partial.write_text(_card({stem: load_lora(folder / f"{stem}.safetensors").info for stem in EXAMPLES}))


def _card(recipes: Mapping[str, Mapping[str, Any]]) -> str:
    """The files' card: what they are, where they come from, what they can't do."""
    rows = "\n".join(f"| `{stem}` | {recipe['name']} | {recipe['caption']} |" for stem, recipe in recipes.items())
    one = next(iter(recipes.values()))
    spec = one["spec"]
    return f"""---
license: apache-2.0
library_name: peft
tags: [lora, motion]
---

# Motions for nano

LoRAs of nano's temporal attention heads, rank {spec["rank"]}, each learned from the clip of the same name in
`assets/clips` by `python -m motion_transfer.nano motions`: spatial-temporal decoupled tuning (arXiv 2506.05207) at the
default settings ({spec["spatial_steps"]} spatial and {spec["temporal_steps"]} temporal steps, seed {spec["seed"]},
precision {one["precision"]}). They fit the base {one["base"]} {one["base_hash"][:16]} and no other; what they hold of
motion are the toy world's paths at nano's 49 frames. Written in diffusers' layout, the settings in each file's header.

| file | motion | clip |
|---|---|---|
{rows}
"""
