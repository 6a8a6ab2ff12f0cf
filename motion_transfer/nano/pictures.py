"""Drawn single frames with captions, for training on pictures alone, and what a render may do to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from motion_transfer.nano.caption_changes import Meaning, read_meaning, scene_meaning
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import NUM_FRAMES, sample_scene

FRAMES_PER_SCENE = 4  # a scene's further frames cost a third of its first
SCENES_AT_ONCE = 16
SEVERAL = "multiple"  # the kind of scene
COLOR_SHIFT, MAX_NOISE = 0.04, 0.03  # of the range 0..1


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """A batch: pictures in 0..1, their captions, and `true_BB[i, j]`, whether caption j is true of picture i."""

    pictures_BCHW: Tensor
    captions: list[str]
    true_BB: Tensor


def true_captions(said: Sequence[Meaning], shown: Sequence[Meaning]) -> Tensor:
    """`(B, B)` bool: row i says which captions are true of picture i; a background left unsaid is never wrong."""
    numbers: dict[object, int] = {}

    def numbered(values: list) -> Tensor:
        return torch.tensor([numbers.setdefault(value, len(numbers)) for value in values])

    unsaid = torch.tensor([meaning.background is None for meaning in said])
    same_looks = numbered([m.looks for m in shown])[:, None] == numbered([m.looks for m in said])
    same_ground = numbered([m.background for m in shown])[:, None] == numbered([m.background for m in said])
    return same_looks & (same_ground | unsaid)


class PictureStore:
    """The newest frames drawn, in memory: at most `capacity`, each used several times.

    Pairs of shape and color that nano's base never sees are drawn too: a judge must know them all, or it would
    learn that a caption with such a pair is wrong. Three of four scenes hold several things, three times as many as the
    world has: which color belongs to which shape is the hardest to learn.
    """

    def __init__(self, size_px: int, capacity: int, key: str) -> None:
        self.key, self.capacity, self.num_drawn = key, capacity, 0
        self._frames = np.zeros((capacity, size_px, size_px, 3), np.uint8)
        self._said: list[tuple[str, Meaning, Meaning]] = []  # caption, what it says, what is seen

    def __len__(self) -> int:
        return len(self._said)

    def grow(self) -> None:
        """Draws `FRAMES_PER_SCENE` frames of each of some new scenes over the oldest ones."""
        rng = Random(f"pictures/{self.key}/{self.num_drawn}")
        names = [f"contrast/{self.key}/{self.num_drawn + i}" for i in range(SCENES_AT_ONCE)]
        kinds = [SEVERAL if i % 4 else None for i in range(SCENES_AT_ONCE)]
        scenes = [sample_scene(name, kind=kind, unseen_pairs=True, effects=0.0)
                  for name, kind in zip(names, kinds, strict=True)]  # fmt: skip
        frames = rng.sample(range(NUM_FRAMES), FRAMES_PER_SCENE)
        drawn_BTHWC = draw(scenes, self._frames.shape[1], frames=frames).numpy()
        for scene, frames_THWC in zip(scenes, drawn_BTHWC, strict=True):
            said = (scene.caption, read_meaning(scene.caption), scene_meaning(scene))
            for frame_HWC in frames_THWC:
                self._put(frame_HWC, said)

    def _put(self, frame_HWC: np.ndarray, said: tuple[str, Meaning, Meaning]) -> None:
        place = self.num_drawn % self.capacity
        self._frames[place] = frame_HWC
        self._said[place : place + 1] = [said]
        self.num_drawn += 1

    def sample(self, count: int, generator: torch.Generator) -> Pictures:
        """Random pictures with replacement."""
        picks = torch.randint(len(self), (count,), generator=generator).tolist()
        captions, said, shown = zip(*(self._said[i] for i in picks), strict=True)
        pictures = torch.from_numpy(self._frames[picks]).permute(0, 3, 1, 2).float() / 255
        return Pictures(pictures_BCHW=pictures, captions=list(captions), true_BB=true_captions(said, shown))


def roughen(pictures_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures as a render might show them: mirrored, a little blurred, off-color and noisy, each to its own degree."""
    b, c = pictures_BCHW.shape[:2]

    def each(channels: int = 1) -> Tensor:
        return torch.rand(b, channels, 1, 1, generator=generator)

    x = torch.where(each() < 0.5, pictures_BCHW.flip(-1), pictures_BCHW)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = torch.lerp(x, blurred, each().expand_as(x))
    x = x * (1 + COLOR_SHIFT * (2 * each(c) - 1)) + COLOR_SHIFT * (2 * each(c) - 1)
    noise = torch.randn(x.shape, generator=generator)
    return (x + MAX_NOISE * each() * noise).clamp(0, 1)
