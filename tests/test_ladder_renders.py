"""Renders that run out of memory begin again with less, to the same picture; and either kind lets weights visit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from motion_transfer import ladder, transfer
from motion_transfer.errors import NotEnoughMemory
from motion_transfer.ladder import first_rendering_rung, first_rung, render_within_memory, tune_within_memory
from motion_transfer.model.base import VideoBase
from motion_transfer.model.codec import Codec
from motion_transfer.planner import LEARNING_RUNGS, MARGIN, RENDERING_RUNGS, rendering_bytes, size_of, tuning_bytes
from motion_transfer.transfer import render_work, tune_work
from motion_transfer.types import Clip, Lora, LowRank, Progress, RenderSpec, TuneSpec
from motion_transfer.work import drive
from tests.methods.tuning import SPEC, is_bare

GUIDED = RenderSpec(prompt="a red square", steps=3, seed=1)
UNGUIDED = RenderSpec(prompt="a red square", steps=3, seed=1, guidance=1.0, early_guidance=1.0)
FULL = torch.OutOfMemoryError("out of memory, as the test wants it")
VISITS = "visit the GPU block by block"


@pytest.fixture
def lora(tiny_base: VideoBase) -> Lora:
    generator = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, 64, generator=generator), torch.randn(64, 2, generator=generator)
    return Lora(layers={"blocks.1.attn1.to_v": LowRank(down_RI=down, up_OR=up)}, info={"base_hash": tiny_base.hash})


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU as a device that weights may visit."""
    monkeypatch.setattr(ladder, "can_visit", lambda *_: True)
    monkeypatch.setattr(ladder, "first_rung", lambda *_: "none")


def _are_out(base: VideoBase) -> bool:
    first, second = (block.attn1.norm_q.weight for block in base.transformer.blocks)
    return first.data_ptr() == second.data_ptr()


def _failing(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, fails: Callable[..., bool]) -> None:
    """Calls run out of memory where asked: given their number, from 1 on, and what they were called with."""
    call, number = getattr(owner, name), 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal number
        number += 1
        if fails(number, *args):
            raise FULL
        return call(*args, **kwargs)

    monkeypatch.setattr(owner, name, wrapped)


def _rows(base: VideoBase, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Passes of more rows than so many run out of memory."""
    block = type(base.transformer.blocks[0])
    _failing(monkeypatch, block, "forward", lambda _, __, hidden, *___: len(hidden) > most)


def _rendered(base: VideoBase, lora: Lora | None, spec: RenderSpec) -> tuple[np.ndarray, list[str]]:
    said: list[str] = []
    clip = drive(render_within_memory(base, lora, spec), lambda p: said.append(p.note) if p.note else None)
    assert is_bare(base) and not _are_out(base) and "forward" not in vars(base.transformer)
    return clip.frames_THWC, said


def _plain(base: VideoBase, lora: Lora | None, spec: RenderSpec) -> np.ndarray:
    return drive(render_work(base, lora, spec)).frames_THWC


def _changes(lora: Lora) -> dict[str, Tensor]:
    return {name: layer.up_OR @ layer.down_RI for name, layer in lora.layers.items()}


def test_where_memory_suffices_nothing_is_said(tiny_base: VideoBase, lora: Lora) -> None:
    found, said = _rendered(tiny_base, lora, GUIDED)
    assert np.array_equal(found, _plain(tiny_base, lora, GUIDED)) and not said


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_guidance_goes_apart(tiny_base: VideoBase, lora: Lora, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
    """At whatever step; the order of sums may tip a rounded pixel."""
    plain = _plain(tiny_base, lora, GUIDED)
    _failing(monkeypatch, VideoBase, "velocity", lambda number, *_: number == fails_at)
    found, said = _rendered(tiny_base, lora, GUIDED)
    assert np.abs(found.astype(int) - plain).max() <= 1
    assert len(said) == 1 and f"after step {fails_at - 1} of the render; the render begins again" in said[0]


@pytest.mark.usefixtures("visits")
@pytest.mark.parametrize("fails_at", [1, 3])
def test_without_guidance_weights_visit_at_once_to_the_same_bits(
    tiny_base: VideoBase, lora: Lora, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    plain = _plain(tiny_base, lora, UNGUIDED)
    _failing(monkeypatch, VideoBase, "velocity", lambda number, *_: number == fails_at)
    found, said = _rendered(tiny_base, lora, UNGUIDED)
    assert np.array_equal(found, plain) and len(said) == 1 and VISITS in said[0]


@pytest.mark.usefixtures("visits")
def test_every_rung_in_turn(tiny_base: VideoBase, lora: Lora, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = _plain(tiny_base, lora, GUIDED)
    _failing(monkeypatch, VideoBase, "velocity", lambda _, base, *__: not _are_out(base))
    found, said = _rendered(tiny_base, lora, GUIDED)
    assert np.abs(found.astype(int) - plain).max() <= 1
    assert len(said) == 2 and "one after the other" in said[0] and VISITS in said[1]


def test_batches_of_two_do_not_fit(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows apart really are: no pass sees two."""
    _rows(tiny_base, monkeypatch, 1)
    assert len(_rendered(tiny_base, None, GUIDED)[1]) == 1


@pytest.mark.usefixtures("visits")
def test_decoding_that_fails_even_in_tiles_lets_weights_visit(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guidance is over by then, and is no more taken apart than for another reason."""
    plain = _plain(tiny_base, None, UNGUIDED)
    _failing(monkeypatch, Codec, "decode", lambda number, *_: number == 1)
    found, said = _rendered(tiny_base, None, UNGUIDED)
    assert np.array_equal(found, plain) and len(said) == 1 and "while latents became pixels" in said[0]


def test_decoding_that_never_fits_is_said_at_once(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    _failing(monkeypatch, Codec, "decode", lambda *_: True)
    shown: list[Progress] = []
    with pytest.raises(NotEnoughMemory, match="close other programs"):
        drive(render_within_memory(tiny_base, None, GUIDED), shown.append)
    assert not [progress for progress in shown if progress.note] and is_bare(tiny_base)


@pytest.mark.usefixtures("visits")
def test_a_render_that_never_fits_is_said_once(
    tiny_base: VideoBase, lora: Lora, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _plain(tiny_base, lora, GUIDED)
    with monkeypatch.context() as patch:
        _failing(patch, VideoBase, "velocity", lambda *_: True)
        with pytest.raises(NotEnoughMemory, match="close other programs"):
            drive(render_within_memory(tiny_base, lora, GUIDED))
    assert is_bare(tiny_base) and not _are_out(tiny_base)
    assert np.array_equal(_plain(tiny_base, lora, GUIDED), plain)


@pytest.mark.usefixtures("visits")
@pytest.mark.parametrize("where", ["encode", "heads", "check"])
def test_what_checkpointing_does_not_help_lets_weights_visit(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    checked = TuneSpec(**{**SPEC.__dict__, "temporal_steps": 8, "check_every": 2})
    spec = checked if where == "check" else SPEC
    plain = _changes(drive(tune_work(tiny_base, square_clip, spec)).lora)
    owner, name = {"encode": (Codec, "encode"), "heads": (VideoBase, "velocity"), "check": (transfer, "_followed")}[
        where
    ]
    _failing(monkeypatch, owner, name, lambda number, *_: number == (3 if where == "heads" else 1))
    said: list[str] = []
    work = tune_within_memory(tiny_base, square_clip, spec)
    found = _changes(drive(work, lambda p: said.append(p.note) if p.note else None).lora)
    assert all(torch.equal(found[path], change) for path, change in plain.items())
    assert VISITS in said[0] and not _are_out(tiny_base) and is_bare(tiny_base)
    assert {"encode": "before the first step", "heads": "of the heads stage", "check": "in a check"}[where] in said[0]


@pytest.mark.usefixtures("visits")
def test_learning_steps_down_all_rungs_to_the_same_bits(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a start along gradients, then in the spatial stage, then in the temporal one."""
    spec = TuneSpec(**{**SPEC.__dict__, "gradient_draws": 2, "temporal_steps": 5})
    plain = _changes(drive(tune_work(tiny_base, square_clip, spec)).lora)
    _failing(monkeypatch, Tensor, "backward", lambda number, *_: number in (2, 6, 10))
    said: list[str] = []
    work = tune_within_memory(tiny_base, square_clip, spec)
    found = _changes(drive(work, lambda p: said.append(p.note) if p.note else None).lora)
    assert all(torch.equal(found[path], change) for path, change in plain.items())
    assert len(said) == 3 and VISITS in said[2] and not _are_out(tiny_base)


def test_work_begins_with_visits_where_shapes_ask_for_them(tiny_base: VideoBase) -> None:
    tuning = int(MARGIN * tuning_bytes(size_of(tiny_base), SPEC, "all", itemsize=4))
    assert first_rung(tiny_base, SPEC, tuning - 1, LEARNING_RUNGS) == "visiting"
    assert first_rung(tiny_base, SPEC, tuning + 1, LEARNING_RUNGS) != "visiting"
    assert first_rendering_rung(tiny_base, 0, RENDERING_RUNGS) == "together"
    card = VideoBase(**{**vars(tiny_base), "device": torch.device("cuda")})
    rendering = int(MARGIN * rendering_bytes(size_of(tiny_base), "together", itemsize=4))
    assert first_rendering_rung(card, rendering + 1, RENDERING_RUNGS) == "together"
    assert first_rendering_rung(card, 0, RENDERING_RUNGS) == "visiting"


def test_a_render_that_begins_with_visits_says_so(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder, "can_visit", lambda *_: True)
    monkeypatch.setattr(ladder, "first_rendering_rung", lambda *_: "visiting")
    found, said = _rendered(tiny_base, None, UNGUIDED)
    assert np.array_equal(found, _plain(tiny_base, None, UNGUIDED)) and len(said) == 1 and VISITS in said[0]
