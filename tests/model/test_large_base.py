"""A large base's text encoder comes for a moment, its codec too; what they computed is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import UMT5EncoderModel

from motion_transfer.errors import MissingWeights
from motion_transfer.model import base as base_module
from motion_transfer.model import text
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.text import OpenTextEncoder, VisitingTextEncoder
from motion_transfer.types import Clip
from tests.conftest import FPS, NUM_FRAMES, SIZE_PX

PROMPTS = ["a red circle on a blue background", "", "a red circle " * 12]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.nn.Module]]:
    """Text encoders that were opened since."""
    monkeypatch.setattr(base_module, "LARGE_BYTES", 0)
    made: list[torch.nn.Module] = []
    before = base_module._open_encoder

    def opening(spec: object, dtype: torch.dtype) -> UMT5EncoderModel:
        made.append(before(spec, dtype))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(base_module, "_open_encoder", opening)
    yield made


def _clip() -> Clip:
    frames = np.random.default_rng(0).integers(0, 256, (NUM_FRAMES, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return Clip(frames_THWC=frames, fps=FPS)


def _large(folder: Path, cache: Path) -> VideoBase:
    return open_base(str(folder), precision="fp32", device="cpu", cache=cache)


def test_states_are_those_of_an_open_encoder(
    tiny_base: VideoBase, tiny_base_folder: Path, opened: list[torch.nn.Module], tmp_path: Path
) -> None:
    base = _large(tiny_base_folder, tmp_path)
    assert isinstance(tiny_base.text, OpenTextEncoder) and isinstance(base.text, VisitingTextEncoder)
    assert not opened
    ours, plain = base.text.encode(PROMPTS), tiny_base.text.encode(PROMPTS)
    assert len(opened) == 1
    assert ours.states_BMD.dtype == torch.float32 and ours.states_BMD.shape == plain.states_BMD.shape
    assert torch.equal(ours.bias_BM, plain.bias_BM)
    assert (ours.states_BMD - plain.states_BMD).norm() < 0.01 * plain.states_BMD.norm()  # bfloat16
    again = base.text.encode(PROMPTS[::-1])
    assert torch.equal(again.states_BMD.flip(0), ours.states_BMD) and len(opened) == 1
    base.text.encode(["a green star", "a green star"])
    assert len(opened) == 2


def test_kept_states_serve_the_next_program(
    tiny_base_folder: Path, opened: list[torch.nn.Module], tmp_path: Path
) -> None:
    first = _large(tiny_base_folder, tmp_path).text.encode(PROMPTS)
    second = _large(tiny_base_folder, tmp_path).text.encode(PROMPTS)
    assert torch.equal(first.states_BMD, second.states_BMD) and len(opened) == 1


def test_other_weights_keep_other_states(tiny_base_folder: Path, opened: list[torch.nn.Module], tmp_path: Path) -> None:
    _large(tiny_base_folder, tmp_path / "cache").text.encode(PROMPTS[:1])
    other = Path(shutil.copytree(tiny_base_folder, tmp_path / "other"))
    encoder = UMT5EncoderModel.from_pretrained(other / "text_encoder")
    with torch.no_grad():
        encoder.shared.weight.mul_(2.0)
    encoder.save_pretrained(other / "text_encoder")
    _large(other, tmp_path / "cache").text.encode(PROMPTS[:1])
    assert len(opened) == 2


def test_the_encoder_runs_on_the_cpu_where_the_device_has_no_room(
    tiny_base_folder: Path, opened: list[torch.nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, placed = _large(tiny_base_folder, tmp_path), []
    assert isinstance(base.text, VisitingTextEncoder)
    moving = UMT5EncoderModel.to
    monkeypatch.setattr(UMT5EncoderModel, "to", lambda self, where: placed.append(where) or moving(self, "cpu"))
    for room, where in ((0, "cpu"), (10**12, "meta")):
        monkeypatch.setattr(text, "free_memory_bytes", lambda device, room=room: room)
        base.text.device = torch.device("meta")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(text, "fold_padding", lambda *given: None)
            base.text.encode([f"a red circle {room}"])
        assert placed[-1] == torch.device(where)
    assert len(opened) == 2


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_a_missing_encoder_is_noticed_at_once(
    tiny_base_folder: Path, opened: list[torch.nn.Module], tmp_path: Path, damage: str
) -> None:
    folder = Path(shutil.copytree(tiny_base_folder, tmp_path / "damaged"))
    weights = folder / "text_encoder" / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-8])
    else:
        weights.unlink()
    with pytest.raises(MissingWeights, match="one is missing or damaged"):
        _large(folder, tmp_path / "cache")


def test_latents_are_kept(tiny_base: VideoBase, tiny_base_folder: Path, opened: object, tmp_path: Path) -> None:
    base, clip = _large(tiny_base_folder, tmp_path), _clip()
    first = base.codec.encode(clip).z_ZFYX
    frames = base.codec.encode_frames(clip)
    assert torch.equal(first, tiny_base.codec.encode(clip).z_ZFYX)
    base.codec.vae.encoder = None  # nothing is encoded from here on
    assert torch.equal(base.codec.encode(clip).z_ZFYX, first) and torch.equal(base.codec.encode_frames(clip), frames)
    changed = clip.frames_THWC.copy()
    changed[0, 0, 0, 0] ^= 1
    with pytest.raises(TypeError):
        base.codec.encode(replace(clip, frames_THWC=changed))
