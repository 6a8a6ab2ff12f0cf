"""A growing store of encoded clips and pictures with their captions, kept on disk between runs.

Encoding a clip costs as much as a training step on it, so each is used several times, and a fixed share of the
time goes into new ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from motion_transfer.nano.layout import SAMPLES_PER_CELL, scene_layout
from motion_transfer.video.synth.draw import draw_float
from motion_transfer.video.synth.palette import COUNTS, FIGURES, PATTERNS, PLURALS, SHAPES
from motion_transfer.video.synth.scene import NUM_FRAMES, sample_scene

SCALE, FRAMES_PER_LATENT = 8, 4
_NOUNS = {*SHAPES, *FIGURES, *PLURALS.values()}
_COUNTS = {COUNTS[2], COUNTS[3]}
_MORE = {*_COUNTS, *PATTERNS}


@dataclass(frozen=True, kw_only=True, eq=False)
class Items:
    """A batch: raw latents, captions, which kind of object lies where (`nano.layout`), and the frames' times."""

    z_BZFYX: Tensor
    captions: list[str]
    layout_BFHW: Tensor
    times_F: tuple[float, ...]

    def thinned(self, every: int, offset: int) -> Items:
        """One latent frame in `every`, from `offset` on; each keeps its place in time."""
        return replace(self, z_BZFYX=self.z_BZFYX[:, :, offset::every], layout_BFHW=self.layout_BFHW[:, offset::every],
                       times_F=self.times_F[offset::every])  # fmt: skip


def layout_frames(num_latents: int) -> list[int]:
    """The frame that stands for each latent frame: the first for itself, then a middle one of every four."""
    return [0, *range(FRAMES_PER_LATENT // 2, FRAMES_PER_LATENT * (num_latents - 1), FRAMES_PER_LATENT)]


def shows_one_object(caption: str) -> bool:
    """Whether a caption names one object, and no pattern behind it."""
    words = _words(caption)
    return sum(word in _NOUNS for word in words) == 1 and not any(word in _MORE for word in words)


def shows_several_objects(caption: str) -> bool:
    """Whether a caption names two or three objects, be they alike or not."""
    words = _words(caption)
    return sum(word in _NOUNS for word in words) > 1 or any(word in _COUNTS for word in words)


def _words(caption: str) -> list[str]:
    return caption.replace(",", " ").split()


class LatentStore:
    """Raw codec means of one kind of item: clips of 13 latent frames, or single pictures.

    Appended to `<name>.bin` (float16), `<name>.layout` (one byte a place) and `<name>.txt` (one JSON caption a line)
    in `folder`.
    """

    def __init__(self, folder: Path, name: str, num_latents: int, codec: AutoencoderKLWan, size_px: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.num_latents, self.codec, self.size_px = name, num_latents, codec, size_px
        cells = size_px // SCALE
        self.shape = (codec.config.z_dim, num_latents, cells, cells)
        self.layout_shape = (num_latents, SAMPLES_PER_CELL * cells, SAMPLES_PER_CELL * cells)
        self.data_path, self.layout_path, self.text_path = (folder / f"{name}.{e}" for e in ("bin", "layout", "txt"))
        self.captions: list[str] = []
        self.simple: list[int] = []  # which items show one object on a plain background
        self.several: list[int] = []  # which show two or three
        if all(path.exists() for path in (self.data_path, self.layout_path, self.text_path)):
            self._keep_whole_items()

    def _keep_whole_items(self) -> None:
        """Drops what a killed run left half written."""
        sizes = {self.data_path: 2 * int(np.prod(self.shape)), self.layout_path: int(np.prod(self.layout_shape))}
        lines = self.text_path.read_text().splitlines(keepends=True)
        whole = min(sum(line.endswith("\n") for line in lines), *(p.stat().st_size // n for p, n in sizes.items()))
        for path, item_bytes in sizes.items():
            os.truncate(path, whole * item_bytes)
        self.text_path.write_text("".join(lines[:whole]))
        self._add([json.loads(line) for line in lines[:whole]])

    def _add(self, captions: list[str]) -> None:
        first = len(self.captions)
        self.captions += captions
        self.simple += [first + i for i, caption in enumerate(captions) if shows_one_object(caption)]
        self.several += [first + i for i, caption in enumerate(captions) if shows_several_objects(caption)]

    def __len__(self) -> int:
        return len(self.captions)

    @torch.no_grad()
    def grow(self, count: int, *, key: str) -> None:
        """Draws and encodes `count` new items; their scenes follow from `key` and their number."""
        first = len(self)
        scenes = [sample_scene(f"base/{key}/{self.name}/{first + i}") for i in range(count)]
        if self.num_latents == 1:
            frames = [[17 * (first + i) % NUM_FRAMES] for i in range(count)]
            clips = torch.cat([draw_float([s], self.size_px, frames=f) for s, f in zip(scenes, frames, strict=True)])
        else:
            frames = [layout_frames(self.num_latents)] * count
            clips = draw_float(scenes, self.size_px)
        layouts = [scene_layout(s, f, self.shape[-1]) for s, f in zip(scenes, frames, strict=True)]
        device = next(self.codec.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16):
            means = self.codec.encode(clips.to(device) * 2 - 1).latent_dist.mode()
        captions = [scene.caption for scene in scenes]
        parts = (
            (self.data_path, means.cpu().half().numpy().tobytes()),
            (self.layout_path, torch.stack(layouts).numpy().tobytes()),
            (self.text_path, "".join(json.dumps(c) + "\n" for c in captions).encode()),
        )
        for path, content in parts:
            with open(path, "ab") as file:
                file.write(content)
        self._add(captions)

    def _latents(self) -> np.ndarray:
        return np.memmap(self.data_path, dtype=np.float16, mode="r").reshape(-1, *self.shape)

    def sample(
        self, count: int, generator: torch.Generator, *, simple_share: float = 0.0, several_share: float = 0.0
    ) -> Items:
        """Random items with replacement, float32; shares of them drawn from those of one object and of several."""
        picks: list[int] = []
        for some, share in ((self.simple, simple_share), (self.several, several_share)):
            if some:
                places = torch.randint(len(some), (int(share * count),), generator=generator).tolist()
                picks += [some[i] for i in places]
        picks += torch.randint(len(self), (count - len(picks),), generator=generator).tolist()
        data = self._latents()
        layouts = np.memmap(self.layout_path, dtype=np.uint8, mode="r").reshape(-1, *self.layout_shape)
        return Items(
            z_BZFYX=torch.from_numpy(np.stack([data[i] for i in picks])).float(),
            captions=[self.captions[i] for i in picks],
            layout_BFHW=torch.from_numpy(np.stack([layouts[i] for i in picks])),
            times_F=tuple(float(i) for i in range(self.num_latents)),
        )

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation `(Z,)` of every channel."""
        z = torch.from_numpy(np.array(self._latents()[:1500])).float()
        return z.mean(dim=(0, 2, 3, 4)), z.std(dim=(0, 2, 3, 4))
