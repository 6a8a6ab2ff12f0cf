"""A whole base at toy size: a stock Wan pipeline with random weights, saved as a folder and opened from there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import nn
from transformers import UMT5Config, UMT5EncoderModel

from motion_transfer.lora.attach import remove_adapters
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.nano.folder import FLOW_SHIFT, build_tokenizer
from motion_transfer.types import Clip

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))

SLOW = ("tests/ui/browser/", "tests/test_bench.py", "tests/jobs/test_worker.py", "tests/test_together.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, that no process is left alone with one at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(SLOW))


SIZE_PX, NUM_FRAMES, FPS = 32, 17, 12.0
Z_DIM, TEXT_WIDTH, HEADS, HEAD_WIDTH, BLOCKS = 4, 32, 4, 16, 2


@torch.no_grad()
def shake(module: nn.Module, std: float, seed: int = 0) -> None:
    """Adds noise to every parameter, so that none is at a value (0, 1) that would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for _, parameter in sorted(module.named_parameters()):
        parameter.add_(std * torch.randn(parameter.shape, generator=generator))


def build_transformer(num_heads: int = HEADS, head_width: int = HEAD_WIDTH) -> WanTransformer3DModel:
    """A Wan transformer of two blocks whose every part, text and time included, moves its output."""
    torch.manual_seed(0)
    transformer = WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=num_heads,
        attention_head_dim=head_width,
        in_channels=Z_DIM,
        out_channels=Z_DIM,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=128,
        num_layers=BLOCKS,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=64,
    )
    shake(transformer, 0.1)
    return transformer.eval().requires_grad_(False)


def _build_codec() -> AutoencoderKLWan:
    torch.manual_seed(1)
    return AutoencoderKLWan(
        base_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[True, True],
        z_dim=Z_DIM,
        patch_size=2,
        in_channels=12,
        out_channels=12,
        scale_factor_spatial=8,
        scale_factor_temporal=4,
        latents_mean=[0.1, -0.1, 0.2, 0.0],
        latents_std=[0.5, 0.6, 0.7, 0.8],
    )


def _build_text_encoder(vocab_size: int) -> UMT5EncoderModel:
    torch.manual_seed(2)
    config = UMT5Config(vocab_size=vocab_size, d_model=TEXT_WIDTH, d_kv=8, d_ff=48, num_layers=1, num_heads=4,
                        dropout_rate=0.0, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)  # fmt: skip
    return UMT5EncoderModel(config)


@pytest.fixture(scope="session")
def tiny_base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in diffusers' layout that stock `WanPipeline` and `open_base` both open."""
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    tokenizer = build_tokenizer()
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=FLOW_SHIFT
    )
    WanPipeline(
        tokenizer=tokenizer,
        text_encoder=_build_text_encoder(len(tokenizer)),
        vae=_build_codec(),
        scheduler=scheduler,
        transformer=build_transformer(),
    ).save_pretrained(folder)
    native = {"height": SIZE_PX, "width": SIZE_PX, "num_frames": NUM_FRAMES, "fps": FPS}
    (folder / "native.json").write_text(json.dumps(native))
    return folder


@pytest.fixture(scope="session")
def _opened(tiny_base_folder: Path) -> dict[str, VideoBase]:
    return {p: open_base(str(tiny_base_folder), precision=p, device="cpu") for p in ("fp32", "nf4")}


@pytest.fixture
def tiny_base(_opened: dict[str, VideoBase]) -> Iterator[VideoBase]:
    """The toy base in float32, without adapters before and after."""
    yield _opened["fp32"]
    remove_adapters(_opened["fp32"].transformer)


@pytest.fixture
def tiny_nf4(_opened: dict[str, VideoBase]) -> Iterator[VideoBase]:
    """The toy base with its blocks in 4 bit, without adapters before and after."""
    yield _opened["nf4"]
    remove_adapters(_opened["nf4"].transformer)


@pytest.fixture(scope="session")
def square_clip() -> Clip:
    """A bright square that crosses a dark frame in 17 frames."""
    frames = np.full((NUM_FRAMES, SIZE_PX, SIZE_PX, 3), 40, np.uint8)
    for i in range(NUM_FRAMES):
        frames[i, 10:20, i : i + 10] = (230, 60, 30)
    return Clip(frames_THWC=frames, fps=FPS, caption="a red square", source="square.mp4")
