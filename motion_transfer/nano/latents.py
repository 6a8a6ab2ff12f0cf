"""A growing store of encoded clips and pictures with their captions, kept on disk between runs.

Encoding a clip costs more than a training step on it, so each is used several times, and a fixed share of the
time goes into new ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from motion_transfer.video.synth.draw import draw_float
from motion_transfer.video.synth.scene import NUM_FRAMES, sample_scene


class LatentStore:
    """Raw codec means of one kind of item: clips of 13 latent frames, or single pictures.

    Appended to `<name>.bin` (float16) and `<name>.txt` (one JSON caption a line) in `folder`.
    """

    def __init__(self, folder: Path, name: str, num_latents: int, codec: AutoencoderKLWan, size_px: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.num_latents, self.codec, self.size_px = name, num_latents, codec, size_px
        self.shape = (codec.config.z_dim, num_latents, size_px // 8, size_px // 8)
        self.data_path, self.text_path = folder / f"{name}.bin", folder / f"{name}.txt"
        self.captions: list[str] = []
        if self.data_path.exists() and self.text_path.exists():
            self._keep_whole_items()

    def _keep_whole_items(self) -> None:
        """Drops what a killed run left half written."""
        item_bytes = 2 * int(np.prod(self.shape))
        lines = self.text_path.read_text().splitlines(keepends=True)
        whole = min(self.data_path.stat().st_size // item_bytes, sum(line.endswith("\n") for line in lines))
        os.truncate(self.data_path, whole * item_bytes)
        self.text_path.write_text("".join(lines[:whole]))
        self.captions = [json.loads(line) for line in lines[:whole]]

    def __len__(self) -> int:
        return len(self.captions)

    @torch.no_grad()
    def grow(self, count: int, *, key: str) -> None:
        """Draws and encodes `count` new items; their scenes follow from `key` and their number."""
        first = len(self)
        scenes = [sample_scene(f"base/{key}/{self.name}/{first + i}") for i in range(count)]
        if self.num_latents == 1:
            frames = [17 * (first + i) % NUM_FRAMES for i in range(count)]
            drawn = [draw_float([s], self.size_px, frames=[f]) for s, f in zip(scenes, frames, strict=True)]
            clips = torch.cat(drawn)
        else:
            clips = draw_float(scenes, self.size_px)
        device = next(self.codec.parameters()).device
        with torch.autocast(device.type, dtype=torch.bfloat16):
            means = self.codec.encode(clips.to(device) * 2 - 1).latent_dist.mode()
        with open(self.data_path, "ab") as data:
            data.write(means.cpu().half().numpy().tobytes())
        captions = [scene.caption for scene in scenes]
        with open(self.text_path, "a") as text:
            text.writelines(json.dumps(c) + "\n" for c in captions)
        self.captions += captions

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, list[str]]:
        """Random items with replacement: raw latents `(count, Z, F, Y, X)` float32, and captions."""
        picks = torch.randint(len(self), (count,), generator=generator).tolist()
        data = np.memmap(self.data_path, dtype=np.float16, mode="r").reshape(-1, *self.shape)
        return torch.from_numpy(np.stack([data[i] for i in picks])).float(), [self.captions[i] for i in picks]

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation `(Z,)` of every channel."""
        data = np.memmap(self.data_path, dtype=np.float16, mode="r").reshape(-1, *self.shape)
        z = torch.from_numpy(np.array(data[:1500])).float()
        return z.mean(dim=(0, 2, 3, 4)), z.std(dim=(0, 2, 3, 4))
