"""The codec: away when it has nothing to do, few large frames at once, and tiles where memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from motion_transfer.model import codec as codec_module
from motion_transfer.model import sampling
from motion_transfer.model.base import VideoBase
from motion_transfer.model.sampling import IN_TILES, denoise
from motion_transfer.types import Clip, Progress, RenderSpec
from motion_transfer.work import drive
from tests.conftest import FPS, NUM_FRAMES, SIZE_PX, Z_DIM

SPEC = RenderSpec(prompt="a red circle", steps=2)


def _clip() -> Clip:
    frames = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return Clip(frames_THWC=frames, fps=FPS)


def _latents() -> torch.Tensor:
    return torch.randn(Z_DIM, 5, 4, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def short(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec runs out of memory unless it works on tiles."""
    vae = tiny_base.codec.vae

    def unless_tiled(call: Callable[..., object]) -> Callable[..., object]:
        def run(given: torch.Tensor) -> object:
            if not vae.use_tiling:
                raise torch.OutOfMemoryError("out of memory, as the test wants it")
            return call(given)

        return run

    for name in ("encode", "decode"):
        monkeypatch.setattr(vae, name, unless_tiled(getattr(vae, name)))
    for side in ("height", "width"):
        monkeypatch.setattr(vae, f"tile_sample_min_{side}", 24)
        monkeypatch.setattr(vae, f"tile_sample_stride_{side}", 16)


def test_without_memory_it_works_on_tiles(tiny_base: VideoBase, short: None) -> None:
    shown = tiny_base.codec.decode(_latents())
    assert shown.shape == (NUM_FRAMES, SIZE_PX, SIZE_PX, 3) and tiny_base.codec.used_tiles
    assert tiny_base.codec.encode(_clip()).z_ZFYX.shape == (Z_DIM, 5, 4, 4)
    assert not tiny_base.codec.vae.use_tiling


def test_a_render_says_that_it_used_tiles(tiny_base: VideoBase, short: None) -> None:
    notes: list[str] = []
    drive(denoise(tiny_base, SPEC), lambda progress: notes.append(progress.note))
    assert [note for note in notes if note] == [IN_TILES]


def test_a_render_with_room_says_nothing(tiny_base: VideoBase) -> None:
    seen: list[Progress] = []
    drive(denoise(tiny_base, SPEC), seen.append)
    assert not any(progress.note for progress in seen) and len(seen) == SPEC.steps
    assert not tiny_base.codec.used_tiles and sampling.IN_TILES


def test_large_frames_are_encoded_one_by_one(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    together = tiny_base.codec.encode_frames(_clip())
    sizes: list[int] = []
    encode = codec_module.Codec._encode
    monkeypatch.setattr(codec_module.Codec, "_encode", lambda self, part: sizes.append(len(part)) or encode(self, part))
    monkeypatch.setattr(codec_module, "FRAMES_AT_ONCE_PX", 2 * SIZE_PX**2)
    assert (tiny_base.codec.encode_frames(_clip()) - together).abs().max() < 1e-5
    assert sizes == [2] * (NUM_FRAMES // 2) + [1] * (NUM_FRAMES % 2)
