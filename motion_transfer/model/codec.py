"""Clips to normalized latents and back.

On a GPU the codec's weights come for a moment and go again: tuning has better use for their room.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from motion_transfer.model.tensor_cache import TensorCache, hash_of
from motion_transfer.types import Clip, Latents

FRAMES_AT_ONCE_PX = 2**16  # pixels of single frames that are encoded together


class Codec:
    """A causal video autoencoder with its latent statistics; everything in float32.

    Args:
        vae: on the CPU.
        device: where it computes.
        cache: keeps latents of clips, if any.
        name: says which weights these are, for the cache.

    Attributes:
        used_tiles: whether memory ran out the last time, so that it worked on tiles.
    """

    def __init__(
        self, vae: AutoencoderKLWan, device: torch.device, cache: TensorCache | None = None, name: str = ""
    ) -> None:
        self.vae = vae.eval().requires_grad_(False)
        self.device = device
        self._cache, self._name = cache, name
        self.used_tiles = False
        shape = (1, -1, 1, 1, 1)
        self.mean = torch.tensor(vae.config.latents_mean, device=device).view(shape)
        self.std = torch.tensor(vae.config.latents_std, device=device).view(shape)

    @property
    def frames_per_latent(self) -> int:
        """Pixel frames in each latent frame after the first."""
        return self.vae.config.scale_factor_temporal

    def num_latents(self, num_frames: int) -> int:
        """Latent frames of a clip of `num_frames`."""
        return (num_frames - 1) // self.frames_per_latent + 1

    @contextmanager
    def _at_work(self) -> Iterator[AutoencoderKLWan]:
        """The autoencoder, on its device while open."""
        try:
            yield self.vae.to(self.device)
        finally:
            self.vae.to("cpu")

    def _run(self, work: Callable[[AutoencoderKLWan], Tensor]) -> Tensor:
        """Work on whole frames; where memory runs out, on overlapping tiles of them, whose seams are blended."""
        self.used_tiles = False
        with self._at_work() as vae:
            try:
                return work(vae)
            except (torch.OutOfMemoryError, MemoryError):
                self.used_tiles = True
            vae.clear_cache()
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            vae.enable_tiling()
            try:
                return work(vae)
            finally:
                vae.disable_tiling()

    def _encode(self, frames_BCTHW: Tensor) -> Tensor:
        """Latents `(B, Z, F, Y, X)` of pixels in -1..1, on the CPU."""
        if self._cache is None:
            return self._encode_anew(frames_BCTHW)
        return self._cache.get((self._name, hash_of(frames_BCTHW)), lambda: self._encode_anew(frames_BCTHW))

    @torch.no_grad()
    def _encode_anew(self, frames_BCTHW: Tensor) -> Tensor:
        mode = self._run(lambda vae: vae.encode(frames_BCTHW.to(self.device)).latent_dist.mode().float())
        return ((mode - self.mean) / self.std).cpu()

    def encode(self, clip: Clip) -> Latents:
        """The whole clip; its latent frames sit at 0, 1, 2, …"""
        z_ZFYX = self._encode(_to_model(clip.frames_THWC)[None])[0]
        return Latents(z_ZFYX=z_ZFYX, times_F=tuple(map(float, range(z_ZFYX.shape[1]))))

    def encode_frames(self, clip: Clip) -> Tensor:
        """Every frame alone, as a one-frame clip: `(T, Z, 1, Y, X)`.

        A causal codec's later latents hold four frames each, so they can't be sliced out of the clip's.
        """
        frames_TC1HW = _to_model(clip.frames_THWC).transpose(0, 1)[:, :, None]
        size = max(1, FRAMES_AT_ONCE_PX // frames_TC1HW[0, 0].numel())
        return torch.cat([self._encode(part) for part in frames_TC1HW.split(size)])

    @torch.no_grad()
    def decode(self, z_ZFYX: Tensor) -> np.ndarray:
        """Frames `(T, H, W, 3)` uint8."""
        raw = z_ZFYX[None].to(self.device) * self.std + self.mean
        video_CTHW = self._run(lambda vae: vae.decode(raw).sample)[0].float().cpu()
        return ((video_CTHW / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 3, 0).numpy()


def _to_model(frames_THWC: np.ndarray) -> Tensor:
    """uint8 frames to `(3, T, H, W)` float32 in -1..1."""
    return torch.from_numpy(frames_THWC).permute(3, 0, 1, 2).float() / 127.5 - 1
