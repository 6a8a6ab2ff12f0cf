"""Does nano-clip tell the true caption of an unseen scene from ones with a single wrong word?

`python -m motion_transfer.nano check-contrast` remakes `docs/results/contrast.json`.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.prompt import read_prompt
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.model.catalog import weights_hash
from motion_transfer.model.contrast import ContrastModel, open_contrast
from motion_transfer.nano.caption_changes import KINDS_OF_WORD, one_word_changes
from motion_transfer.video.synth.draw import draw, draw_masks
from motion_transfer.video.synth.scene import NUM_FRAMES, Scene, sample_scene

NUM_CHOICES = 16  # the true caption and 15 others; there are only 12 other colors for a thing or a plain background
FRAMES = tuple(range(0, NUM_FRAMES, 8))
MASK_PX = 128


def check_scenes(count: int) -> list[Scene]:
    """Scenes that training never draws, with captions that leave nothing unsaid."""
    scenes: list[Scene] = []
    number = 0
    while len(scenes) < count:
        scene = sample_scene(f"check-contrast/{number}", unseen_pairs=True, effects=0.0)
        number += 1
        if read_prompt(scene.caption).background_color == scene.background.color:
            scenes.append(scene)
    return scenes


def hidden_share(scene: Scene) -> float:
    """Of the thing that others hide most, the share of its area that is hidden, on the mean of `FRAMES`."""
    masks_NTHW = draw_masks(scene, MASK_PX, FRAMES)
    shares = []
    for own_THW, *above in (masks_NTHW[index:] for index in range(len(masks_NTHW))):
        hidden_THW = own_THW & torch.stack(above).any(0) if above else torch.zeros_like(own_THW)
        shares.append(float((hidden_THW.sum((1, 2)) / own_THW.sum((1, 2)).clamp(min=1)).mean()))
    return max(shares)


def choices(scene: Scene) -> dict[str, list[str]]:
    """For each kind of word, and all kinds together: the true caption, then up to 15 that differ in one word."""
    changes, rng = one_word_changes(scene.caption), Random(f"choices/{scene.name}")
    out = {}
    for kind in (*KINDS_OF_WORD, "all"):
        wrong = [change.caption for change in changes if kind in (change.kind, "all")]
        out[kind] = [scene.caption, *rng.sample(wrong, min(len(wrong), NUM_CHOICES - 1))]
    return out


def _right(cosines_TB: Tensor) -> tuple[float, float]:
    """Whether the first text fits the clip best, and the share of frames that it fits best."""
    wrong_by_frame = (cosines_TB[:, 1:] >= cosines_TB[:, :1]).any(1).float().mean().item()
    mean_B = cosines_TB.mean(0)
    return float((mean_B[1:] < mean_B[0]).all()), 1 - wrong_by_frame


def check_model(model: ContrastModel, count: int) -> dict[str, float]:
    """Shares of `count` unseen scenes whose true caption is chosen; a clip by the mean cosine of its frames.

    Returns:
        `color`, `shape`, `background` and `all` for whole clips, the same with `_frame` for single frames, with
        `_seen` where no thing is hidden by more than half (`seen` says in what share of the scenes), `_choices` for
        how many captions there were on the mean.
    """
    rows: dict[str, list[float]] = {}
    for scene in check_scenes(count):
        frames_TD = model.embed_frames(draw([scene], model.network.spec.side_px, frames=FRAMES)[0].numpy())
        seen = hidden_share(scene) <= 0.5
        rows.setdefault("seen", []).append(seen)
        for kind, captions in choices(scene).items():
            clip, frame = _right(frames_TD @ model.embed_texts(captions).T)
            for name, value in ((kind, clip), (f"{kind}_frame", frame), (f"{kind}_choices", len(captions))):
                rows.setdefault(name, []).append(value)
            if seen:
                rows.setdefault(f"{kind}_seen", []).append(clip)
    return {name: float(np.mean(values)) for name, values in sorted(rows.items())}


def contrast_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` scenes follow from."""
    return stamp(modules=[__name__], folders=[folder], settings={"scenes": count})


def check_contrast(folder: Path, count: int, results: Path) -> dict[str, float]:
    """Checks the model of a folder on `count` unseen scenes; writes `contrast.json` into `results`.

    Raises:
        MissingWeights: the folder holds no model.
    """
    summary = check_model(open_contrast(folder), count)
    rows = {"stamp": contrast_stamp(folder, count), "weights": weights_hash(folder), "scenes": count,
            "summary": {n: round(v, 4) for n, v in summary.items()}}  # fmt: skip
    write_json(results / "contrast.json", rows)
    return summary
