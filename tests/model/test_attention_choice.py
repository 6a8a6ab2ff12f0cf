"""The fastest attention is chosen among those that are right, kept, and used for self-attention alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from motion_transfer.lora.algebra import delta
from motion_transfer.lora.attach import attached
from motion_transfer.methods.fym_heads import map_heads
from motion_transfer.model import attention_choice
from motion_transfer.model.attention_choice import (
    NATIVE,
    AttentionShape,
    attending,
    choose,
    fastest_attention,
    found_attention,
    learning_shape,
    measure_backends,
    rendering_shape,
    usable,
)
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.transfer import render_work, tune_work
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.work import drive
from tests.conftest import HEAD_WIDTH, HEADS
from tests.methods.tuning import full_latents

WIDTH = HEADS * HEAD_WIDTH
CPU = torch.device("cpu")
SHAPE = AttentionShape(num_heads=4, head_width=16, tokens=80, other_tokens=(16,), dtype=torch.float32)
OTHERS = ("_native_math", "_native_flash")  # that a CPU runs
SPEC = TuneSpec(caption="a red square", spatial_steps=2, temporal_steps=3, rank=2, sparse_latents=5)


def test_the_fastest_is_chosen_if_that_is_more_than_chance() -> None:
    assert choose({}) == NATIVE
    assert choose({NATIVE: 1.0}) == NATIVE
    assert choose({NATIVE: 1.0, "flash": 0.97, "_native_cudnn": 1.2}) == NATIVE
    assert choose({NATIVE: 1.0, "flash": 0.7, "_native_cudnn": 0.5}) == "_native_cudnn"


def _attend(name: str, q_BSNK: Tensor, k_BSNK: Tensor, v_BSNK: Tensor) -> Tensor:
    """Attention as several backends might compute it."""
    if name == "raises" or (name == "refuses short ones" and q_BSNK.shape[1] < 32):
        raise RuntimeError("no kernel for this shape")
    out = attention_choice._attend(NATIVE, q_BSNK, k_BSNK, v_BSNK)
    match name:
        case "wrong":
            return 1.1 * out
        case "not a number":
            return out * float("nan")
        case "without gradients":
            return out.detach()
        case "wrong gradients":
            return out.detach() + 0.5 * (out - out.detach())
        case "of another shape":
            return out[:, :-1]
    return out


NAMES = ("right", "raises", "refuses short ones", "wrong", "not a number", "without gradients", "wrong gradients",
         "of another shape")  # fmt: skip


@pytest.mark.parametrize(
    ("learns", "right"),
    [(False, {NATIVE, "right", "without gradients", "wrong gradients"}), (True, {NATIVE, "right"})],
)
def test_only_what_comes_to_the_same_is_timed(learns: bool, right: set[str]) -> None:
    runs: list[int] = []

    def time_of(work: Callable[[], object], device: torch.device) -> float:
        work()
        runs.append(1)
        return 1.0 / len(runs)

    seconds = measure_backends(NAMES, replace(SHAPE, learns=learns), CPU, attend=_attend, time_of=time_of)
    assert set(seconds) == right and seconds[NATIVE] == 1.0 and len(runs) == len(right)
    assert choose({name: seconds[name] for name in (NATIVE, "right")}) == "right"


def test_no_more_is_tried_than_there_is_time_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention_choice, "BUDGET_S", -1.0)
    assert set(measure_backends(OTHERS, SHAPE, CPU)) == {NATIVE}


@pytest.mark.parametrize("learns", [False, True])
def test_backends_of_a_cpu_come_to_the_same(learns: bool) -> None:
    assert set(measure_backends((*OTHERS, "_native_cudnn"), replace(SHAPE, learns=learns), CPU)) == {NATIVE, *OTHERS}


def test_backends_without_their_packages_are_not_usable() -> None:
    assert usable(("_native_math", "no such backend")) == ("_native_math",)
    assert {"_native_cudnn", "_native_flash", "_native_efficient"} <= set(usable())


def test_a_finding_is_kept_for_the_same_device_and_shape(tmp_path: Path) -> None:
    path = tmp_path / "work" / "attention.json"
    first = found_attention(path, "a card", SHAPE, CPU)
    (key,) = json.loads(path.read_text())
    assert "a card" in key and torch.__version__ in key and "rendering, 4 x 16, 80, 16 tokens, float32" in key
    path.write_text(json.dumps({key: {NATIVE: 1.0, "_native_flash": 0.5, "gone": 0.1}}))
    assert first in (NATIVE, *usable()) and found_attention(path, "a card", SHAPE, CPU) == "_native_flash"
    found_attention(path, "another card", SHAPE, CPU)
    found_attention(path, "a card", replace(SHAPE, learns=True), CPU)
    assert len(json.loads(path.read_text())) == 3


@pytest.mark.parametrize("damaged", ["{", "[]", '{"a": 1}', '{"a": {"flash": 1.0}}', '{"a": {"native": "fast"}}'])
def test_a_damaged_file_is_measured_again(tmp_path: Path, damaged: str) -> None:
    (tmp_path / "attention.json").write_text(damaged)
    found_attention(tmp_path / "attention.json", "a card", SHAPE, CPU)
    (seconds,) = json.loads((tmp_path / "attention.json").read_text()).values()
    assert seconds[NATIVE] > 0


def test_on_a_cpu_nothing_is_measured(tmp_path: Path, tiny_base: VideoBase) -> None:
    assert fastest_attention(tmp_path / "attention.json", "a processor", rendering_shape(tiny_base), CPU) == NATIVE
    assert list(tmp_path.iterdir()) == []


def test_shapes_are_the_bases_own(tiny_base: VideoBase) -> None:
    whole = tiny_base.num_latents * tiny_base.frame_tokens
    learning = learning_shape(tiny_base, 3 * tiny_base.frame_tokens)
    assert rendering_shape(tiny_base).tokens == whole and not rendering_shape(tiny_base).learns
    assert learning.other_tokens == (tiny_base.frame_tokens, whole) and learning.learns
    assert learning_shape(tiny_base, whole).other_tokens == (tiny_base.frame_tokens,)


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("precision", ["fp32", "nf4", "bf16"])
def test_a_motion_is_learned_and_rendered_with_any_backend(
    tiny_base_folder: Path, square_clip: Clip, backend: str, precision: str
) -> None:
    base = open_base(str(tiny_base_folder), precision=precision, device="cpu")
    is_bf16 = precision == "bf16"  # then two ways of adding up differ, and a render's steps make much more of it
    asked = RenderSpec(prompt="a blue circle", steps=2, seed=1)
    noisy, text = full_latents().z_ZFYX[None], base.text.encode(["a blue circle"])
    native = drive(tune_work(base, square_clip, SPEC)).lora

    def seen() -> tuple[np.ndarray, Tensor]:
        with torch.no_grad(), attached(base.transformer, native):
            velocity = base.velocity(noisy, torch.tensor([0.8]), text)
        return drive(render_work(base, native, asked)).frames_THWC.astype(int), velocity

    shown, velocity = seen()
    with attending(backend):
        found = drive(tune_work(base, square_clip, SPEC)).lora
        other, other_velocity = seen()
    off = [(delta(found.layers[path]) - delta(layer)).norm() / delta(layer).norm().clamp_min(1e-9)
           for path, layer in native.layers.items()]  # fmt: skip
    assert max(off) <= (0.2 if is_bf16 else 1e-2)
    assert (other_velocity - velocity).norm() <= (0.02 if is_bf16 else 1e-3) * velocity.norm()
    assert other.shape == shown.shape and (is_bf16 or np.abs(other - shown).mean() <= 0.3)


def test_the_backend_is_for_self_attention_alone(tiny_base: VideoBase) -> None:
    text = tiny_base.text.encode(["a red square"])
    tiny_base.text_attention.bias_BM = text.bias_BM
    hidden, states = torch.randn(1, 8, WIDTH), torch.randn(1, text.states_BMD.shape[1], WIDTH)
    across = tiny_base.transformer.blocks[0].attn2
    with attending("_native_cudnn"):  # which no CPU runs
        assert torch.isfinite(across(hidden, states)).all()
        with pytest.raises(RuntimeError):
            drive(map_heads(tiny_base, full_latents(), "a red square"))
    drive(map_heads(tiny_base, full_latents(), "a red square"))
