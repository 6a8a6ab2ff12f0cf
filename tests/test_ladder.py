"""Tuning that runs out of memory goes on with less, to the same bits, and says so."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from motion_transfer import ladder, transfer
from motion_transfer.errors import NotEnoughMemory
from motion_transfer.ladder import first_rung, render_within_memory, tune_within_memory
from motion_transfer.model import checkpointing
from motion_transfer.model.base import VideoBase
from motion_transfer.model.checkpointing import RUNGS
from motion_transfer.planner import MARGIN, learning_bytes, size_of
from motion_transfer.transfer import tune_work
from motion_transfer.types import Clip, Progress, RenderSpec, TuneSpec
from motion_transfer.work import drive
from tests.methods.tuning import SPEC, is_bare

WITH_START = TuneSpec(**{**SPEC.__dict__, "gradient_draws": 2, "temporal_steps": 5})
PREVIEW = RenderSpec(prompt="a red square", steps=2, guidance=1.0, early_guidance=1.0)


def _told(said: list[str]) -> Callable[[Progress], None]:
    """Keeps what a person is told."""
    return lambda progress: said.append(progress.note) if progress.note else None


def _changes(lora: Any) -> dict[str, Tensor]:
    return {name: layer.up_OR @ layer.down_RI for name, layer in lora.layers.items()}


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int, str, bool], bool]) -> None:
    """Passes fail where asked: given the number of the learning pass, the rung, and whether it learns."""
    velocity, num_learning, rung = VideoBase.velocity, 0, "none"
    opened = checkpointing.checkpointed

    def failing(base: VideoBase, *args: Any) -> Tensor:
        nonlocal num_learning
        learns = torch.is_grad_enabled()
        num_learning += learns
        if fails(num_learning, rung, learns):
            raise torch.OutOfMemoryError("out of memory, as the test wants it")
        return velocity(base, *args)

    def watched(transformer: Any, asked: str) -> Any:
        nonlocal rung
        rung = asked
        return opened(transformer, asked)

    monkeypatch.setattr(VideoBase, "velocity", failing)
    monkeypatch.setattr(ladder, "checkpointed", watched)


@pytest.mark.parametrize("spec", [SPEC, WITH_START])
@pytest.mark.parametrize("fails_at", [1, 2, 4, 6])
def test_it_goes_on_from_its_last_step_to_the_same_bits(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch, spec: TuneSpec, fails_at: int
) -> None:
    """In the first step, in a stage, between stages and in a start along gradients."""
    plain = _changes(drive(tune_work(tiny_base, square_clip, spec)).lora)
    _short_of_memory(monkeypatch, lambda number, rung, learns: rung == "none" and number == fails_at)
    said: list[str] = []
    found = _changes(drive(tune_within_memory(tiny_base, square_clip, spec), _told(said)).lora)
    assert all(torch.equal(found[name], change) for name, change in plain.items())
    assert len(said) == 1 and "every second block is computed twice" in said[0] and is_bare(tiny_base)


def test_a_start_that_fails_leaves_the_stage_before_it_done(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spatial stage takes five passes here, two of them draws; of the temporal stage the second draw fails."""
    seen: list[tuple[str, int]] = []
    _short_of_memory(monkeypatch, lambda number, rung, learns: rung == "none" and number == 7)
    drive(tune_within_memory(tiny_base, square_clip, WITH_START), lambda p: seen.append((p.stage, p.step)))
    assert seen.count(("spatial", 3)) == 1 and seen.count(("temporal", 5)) == 1


def test_a_rung_that_several_processes_agreed_on_is_not_left(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One alone that stepped down would wait for the others for ever."""
    _short_of_memory(monkeypatch, lambda number, rung, learns: number == 4)
    with pytest.raises(NotEnoughMemory):
        drive(tune_within_memory(tiny_base, square_clip, SPEC, shared_bytes=1 << 40))
    assert is_bare(tiny_base)


def test_a_render_that_several_processes_share_does_not_begin_again(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one pass fails, one process alone would compute guidance's rows apart."""
    passes: list[int] = []
    _short_of_memory(monkeypatch, lambda *_: passes.append(1) is None and len(passes) == 1)
    with pytest.raises(NotEnoughMemory):
        drive(render_within_memory(tiny_base, None, replace(PREVIEW, guidance=3.0), shared_bytes=1 << 40))
    assert len(passes) == 1
    drive(render_within_memory(tiny_base, None, replace(PREVIEW, guidance=3.0)))


def test_where_a_preview_fails_no_more_are_made(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "carried_work", lambda *_: (_ for _ in ()).throw(MemoryError()))
    said: list[str] = []
    work = tune_within_memory(tiny_base, square_clip, SPEC, preview=PREVIEW, preview_every=1)
    shown, tell = list[bool](), _told(said)
    drive(work, lambda progress: (tell(progress), shown.append(progress.preview is not None)))  # type: ignore[func-returns-value]
    assert not any(shown) and said == ["memory ran out in a preview; it goes on without previews."]


@pytest.mark.parametrize("fails", ["forward", "backward", "step"])
def test_nothing_of_the_failed_try_is_held(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Wherever in a step memory runs out, it is free again when the next try begins."""
    plain = _changes(drive(tune_work(tiny_base, square_clip, SPEC)).lora)
    held: list[weakref.ref[Tensor]] = []
    left = {"forward": 4, "backward": 4, "step": 4}

    def failing(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            learns = torch.is_grad_enabled() or name != "forward"
            left[name] -= learns
            if learns and name == fails and left[name] == 0:
                raise torch.OutOfMemoryError("out of memory, as the test wants it")
            out = call(*args, **kwargs)
            if isinstance(out, Tensor) and out.requires_grad and left["forward"] >= 0:
                held.append(weakref.ref(out))
            return out

        return wrapped

    def watched(transformer: Any, rung: str) -> Any:
        if held:
            assert not [ref for ref in held if ref() is not None]
        return checkpointing.checkpointed(transformer, rung)

    monkeypatch.setattr(VideoBase, "velocity", failing("forward", VideoBase.velocity))
    monkeypatch.setattr(Tensor, "backward", failing("backward", Tensor.backward))
    monkeypatch.setattr(torch.optim.AdamW, "step", failing("step", torch.optim.AdamW.step))
    monkeypatch.setattr(ladder, "checkpointed", watched)
    said: list[str] = []
    found = _changes(drive(tune_within_memory(tiny_base, square_clip, SPEC), _told(said)).lora)
    assert len(said) == 1 and all(torch.equal(found[name], change) for name, change in plain.items())


@pytest.mark.parametrize("learning", [True, False])
def test_what_never_fits_is_said_once(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch, learning: bool
) -> None:
    """Learning fails on every rung; what comes before it fails at once."""
    _short_of_memory(monkeypatch, lambda number, rung, learns: learns)
    if not learning:
        monkeypatch.setattr(type(tiny_base.codec), "encode", lambda *_: (_ for _ in ()).throw(MemoryError()))
    said: list[str] = []
    with pytest.raises(NotEnoughMemory, match="close other programs"):
        drive(tune_within_memory(tiny_base, square_clip, SPEC), _told(said))
    assert len(said) == (2 if learning else 0) and is_bare(tiny_base)


def test_it_begins_where_the_shapes_say_that_it_fits(tiny_base: VideoBase) -> None:
    needs = [learning_bytes(size_of(tiny_base), SPEC, rung, itemsize=4) for rung in RUNGS]
    assert needs[0] > needs[-1] > 0
    assert first_rung(tiny_base, SPEC, int(MARGIN * needs[0]) + 1) == "none"
    assert first_rung(tiny_base, SPEC, int(MARGIN * needs[0]) - 1) != "none"
    assert first_rung(tiny_base, SPEC, 0) == "all"


def test_time_of_failed_tries_counts(tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(ladder.time, "monotonic", lambda: float(next(clock)))
    plain = drive(tune_within_memory(tiny_base, square_clip, SPEC)).seconds
    _short_of_memory(monkeypatch, lambda number, rung, learns: rung == "none" and number == 6)
    spent = drive(tune_within_memory(tiny_base, square_clip, SPEC)).seconds
    assert set(spent) == set(plain) and all(spent[stage] >= plain[stage] for stage in ("heads", "spatial"))
    assert sum(spent.values()) > sum(plain.values()) + 6
