"""What of nano is stale, and how it is made anew: weights that hang on others first, then the figures of all.

`python -m motion_transfer.nano all` rebuilds it, in order; `--dry-run` only says what it would do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from motion_transfer.evaluate.stamps import WHOLE
from motion_transfer.model.contrast import WEIGHTS
from motion_transfer.nano.clips import EXAMPLES, write_examples, write_world_sheet
from motion_transfer.nano.codec import encoder_hash
from motion_transfer.nano.codec_check import check_codec, codec_stamp
from motion_transfer.nano.contrast_check import check_contrast, contrast_stamp
from motion_transfer.nano.control_check import check_controls, controls_stamp
from motion_transfer.nano.control_features import diagnose_controls, features_stamp
from motion_transfer.nano.control_study import study_controls, study_stamp
from motion_transfer.nano.controls import PREFIX, SHIPPED, stale_controls, write_controls
from motion_transfer.nano.export import read_facts
from motion_transfer.nano.folder import load_codec
from motion_transfer.nano.heads_check import check_heads, heads_stamp
from motion_transfer.nano.mix_check import check_mixes, mixes_stamp
from motion_transfer.nano.motion_check import check_motion, motion_stamp
from motion_transfer.nano.motions import stale_motions, write_motions
from motion_transfer.nano.pair_check import check_pairs, pairs_stamp
from motion_transfer.nano.prompts import check_prompts, prompts_stamp
from motion_transfer.nano.showcase import check_showcase, showcase_stale, showcase_stamp, write_showcase
from motion_transfer.nano.split_check import check_split, split_stamp

# how long the shipped weights learned, on two CPU cores
MINUTES = {"codec": 180, "base": 600, "contrast": 128}
TRAINING_OPTIONS = {
    "codec": ("--replace-base",),
    "base": ("--adapt", "--picture-minutes", "120", "--fade-minutes", "20"),
}
# scenes, prompts or clips that each figure is taken over
COUNTS = {"codec": 48, "contrast": 200, "prompts": 100, "motion": 100, "heads": 16, "split": 12, "controls": 8,
          "mixes": 8}  # fmt: skip
QUICK_COUNTS = {"codec": 12, "contrast": 12, "prompts": 6, "motion": 12, "heads": 8, "split": 4, "controls": 2,
                "mixes": 2}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """Something that ships: `stale` says why it must be made anew, empty if it must not; `make` does it."""

    name: str
    stale: Callable[[], str]
    make: Callable[[], object]


def base_stale(folder: Path) -> str:
    """Why the base of a nano folder doesn't count; empty if it does."""
    facts = read_facts(folder)
    if facts["base"] is None:
        return "it was never trained"
    if facts["base"]["made_for"] != encoder_hash(load_codec(folder)):
        return "it was trained on the latents of another codec"
    return ""


def _missing(files: list[Path]) -> str:
    return "" if all(file.is_file() for file in files) else "there are none, or not all"


def figures_stale(path: Path, stamp: Callable[[], str], by_row: bool = False) -> str:
    """Why a file of figures doesn't count; empty if it does. One that is made `by_row` may not be whole yet."""
    if not path.is_file():
        return "there is none"
    found = json.loads(path.read_text())
    if found.get("stamp", "") != stamp():
        return "it was made by other code or weights"
    return "it is not whole yet" if by_row and not found.get(WHOLE) else ""


def _train(part: str, work: Path) -> None:
    """Trains a part in two processes of one thread, which is fastest on two cores."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "motion_transfer.nano",
               part, "--minutes", str(MINUTES[part]), "--work", str(work), *TRAINING_OPTIONS.get(part, ())]  # fmt: skip
    subprocess.run(command, check=True)


def parts(assets: Path, work: Path, results: Path) -> Iterator[Part]:
    """Everything of nano that ships, each after what it hangs on."""
    nano, clip, examples, loras = (assets / name for name in ("nano", "nano-clip", "clips", "loras"))
    presets = assets.parent / "presets"
    yield Part(name="codec", make=partial(_train, "codec", work),
               stale=lambda: "" if read_facts(nano)["codec"] else "it was never trained")  # fmt: skip
    yield Part(name="base", make=partial(_train, "base", work), stale=lambda: base_stale(nano))
    yield Part(name="nano-clip", make=partial(_train, "contrast", work),
               stale=lambda: _missing([clip / WEIGHTS]))  # fmt: skip
    yield Part(name="example clips", make=partial(write_examples, examples),
               stale=lambda: _missing([examples / f"{name}.mp4" for name in EXAMPLES]))  # fmt: skip
    yield Part(name="world.png", make=partial(write_world_sheet, results),
               stale=lambda: _missing([results / "world.png"]))  # fmt: skip
    yield Part(name="motions", make=partial(write_motions, loras),
               stale=lambda: "; ".join(f"{stem}: {why}" for stem, why in stale_motions(loras).items()))  # fmt: skip
    yield Part(name="controls", make=partial(write_controls, loras),
               stale=lambda: "; ".join(f"{name}: {why}" for name, why in stale_controls(loras).items())
               or _missing([loras / f"{PREFIX}{name}.mp4" for name in SHIPPED]))  # fmt: skip
    yield Part(name="presets", make=partial(write_showcase, loras, presets),
               stale=partial(showcase_stale, loras, presets))  # fmt: skip
    for file, check, stamp, folder, count in (
        ("codec", check_codec, codec_stamp, nano, COUNTS["codec"]),
        ("contrast", check_contrast, contrast_stamp, clip, COUNTS["contrast"]),
        ("prompts", check_prompts, prompts_stamp, nano, COUNTS["prompts"]),
        ("base_motion", check_motion, motion_stamp, nano, COUNTS["motion"]),
        ("heads", check_heads, heads_stamp, nano, COUNTS["heads"]),
        ("split", check_split, split_stamp, nano, COUNTS["split"]),
    ):
        yield Part(name=f"{file}.json", make=partial(check, folder, count, results),
                   stale=partial(figures_stale, results / f"{file}.json", partial(stamp, folder, count)))  # fmt: skip
    for file, make, why in (
        ("control-study", partial(study_controls, results), study_stamp),
        ("controls", partial(check_controls, loras, COUNTS["controls"], results),
         partial(controls_stamp, loras, COUNTS["controls"])),
        ("mixes", partial(check_mixes, loras, COUNTS["mixes"], results), partial(mixes_stamp, loras, COUNTS["mixes"])),
        ("pairs", partial(check_pairs, loras, results), partial(pairs_stamp, loras)),
    ):  # fmt: skip
        yield Part(name=f"{file}.json", make=make, stale=partial(figures_stale, results / f"{file}.json", why, True))
    features = results / "control-features.json"
    yield Part(name=features.name, make=partial(diagnose_controls, loras, results),
               stale=partial(figures_stale, features, partial(features_stamp, loras)))  # fmt: skip
    yield Part(name="presets.json", make=partial(check_showcase, loras, results),
               stale=partial(figures_stale, results / "presets.json", partial(showcase_stamp, loras)))  # fmt: skip


def rebuild(assets: Path, work: Path, results: Path, *, dry_run: bool = False) -> None:
    """Makes anew what is stale, in order, and says what and why.

    Args:
        assets: folder of the shipped weights and clips.
        work: folder of the checkpoints, from which training that was stopped goes on.
        results: folder of the figures.
        dry_run: say it, and do nothing.

    Raises:
        subprocess.CalledProcessError: training failed, and has said why.
    """
    for part in parts(assets, work, results):
        why = part.stale()
        print(f"{part.name}: {why or 'up to date'}", flush=True)
        if why and not dry_run:
            part.make()
