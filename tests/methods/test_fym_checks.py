"""Tuning that measures what it has learned, and ends where that grows no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from motion_transfer import transfer
from motion_transfer.ladder import tune_within_memory
from motion_transfer.lora.attach import LoraLayer
from motion_transfer.methods.fym_course import Course
from motion_transfer.model.base import VideoBase
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, Progress, TuneSpec, TuneState
from motion_transfer.work import drive
from tests.methods.tuning import SPEC, is_bare

CHECKED = TuneSpec(**{**SPEC.__dict__, "spatial_steps": 1, "temporal_steps": 30, "check_every": 2})


def _finds(monkeypatch: pytest.MonkeyPatch, *found: float | None) -> Iterator[float | None]:
    """Lets checks find this, one after the other, and tells what none asked for."""
    left = iter(found)
    monkeypatch.setattr(transfer, "motion_fidelity", lambda *_: next(left))
    return left


def test_a_course_ends_where_a_check_finds_no_more() -> None:
    """Gains below three hundredths over the best before are none; the rate falls in ten steps then."""
    course = Course(100, check_every=10)
    for found in (0.2, 0.5, 0.54):
        course.add(found)
    assert course.steps == 100 and course.rate_share(59) == 1.0
    course.add(0.56)
    assert course.steps == 50
    assert [course.rate_share(step) for step in (39, 40, 45, 49)] == pytest.approx([1.0, 1.0, 0.5, 0.1])
    again = Course(100, check_every=10, checks=(0.2, 0.5, 0.54, 0.56))
    assert again.steps == 50 and again.rate_share(45) == course.rate_share(45)


def test_checks_are_due_while_the_rate_is_level() -> None:
    course = Course(50, check_every=10)
    due = []
    for done in range(1, 51):
        if course.is_check_due(done):
            due.append(done)
            course.add(done / 50)
    assert due == [10, 20]
    assert not Course(50).is_check_due(10)
    assert not any(Course(33, check_every=10).is_check_due(done) for done in range(34))  # one alone can end nothing


def test_checks_that_were_not_made_are_not_made_up_for() -> None:
    """Those of a run whose checks ran out of memory, or could not tell."""
    course = Course(1000, check_every=100, done=250)
    assert course.checks == (None, None) and not course.is_check_due(250) and course.is_check_due(300)
    for found in (0.3, None, 0.3):
        assert course.steps == 1000
        course.add(found)
    assert course.steps == 510
    pending = Course(1000, check_every=100, checks=(0.3,), done=200)
    assert pending.checks == (0.3,) and pending.is_check_due(200)


def test_where_nothing_can_be_measured_all_steps_are_done(
    studio: Studio, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = _finds(monkeypatch, *[None] * 16, 0.1)
    work = studio.tune_work(square_clip, CHECKED)
    steps = [progress.step for progress in work if progress.stage == "temporal"]
    assert steps[-1] == 30 and list(left) == [0.1]


def test_learning_ends_early_and_says_so(studio: Studio, square_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    _finds(monkeypatch, 0.3, 0.3, 0.6, 0.6, 0.5, 0.6)
    seen = list(studio.tune_work(square_clip, CHECKED))
    steps = [progress for progress in seen if progress.stage == "temporal"]
    assert [progress.step for progress in steps] == list(range(1, 17))
    assert [progress.total for progress in steps[4:7]] == [30, 30, 16]
    assert [progress.followed for progress in seen if progress.followed is not None] == pytest.approx([0.3, 0.6, 0.55])
    assert [progress.note for progress in seen if progress.note] == [
        "short renders show no more of the motion than before, so learning ends with step 16."]  # fmt: skip
    assert is_bare(studio.base)


def test_checks_change_nothing_but_the_end(studio: Studio, square_clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    _finds(monkeypatch, *(step / 20 for step in range(1, 20)))
    plain, checked = (
        studio.tune(square_clip, TuneSpec(**{**CHECKED.__dict__, "check_every": every})).lora for every in (0, 2)
    )
    assert all(torch.equal(plain.layers[path].up_OR, checked.layers[path].up_OR) for path in plain.layers)


def test_a_check_renders_the_motion_lora_alone(
    studio: Studio, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for nothing, and from two noises."""
    found: list[tuple[str, int, set[str]]] = []
    moved = transfer.carried_work

    def noted(base: VideoBase, spec, **others):  # type: ignore[no-untyped-def]
        layers = [module for module in base.transformer.modules() if isinstance(module, LoraLayer)]
        found.append((spec.prompt, spec.seed, {name for layer in layers for name in layer.active_adapters}))
        return (yield from moved(base, spec, **others))

    monkeypatch.setattr(transfer, "carried_work", noted)
    drive(studio.tune_work(square_clip, TuneSpec(**{**CHECKED.__dict__, "check_every": 8, "seed": 2**31 - 1})))
    assert found == 2 * [("", 2**31 - 1, {"temporal"}), ("", 0, {"temporal"})]


@pytest.mark.parametrize("after", ["temporal", "check"])
def test_going_on_ends_at_the_same_step_in_the_same_bits(
    studio: Studio, square_clip: Clip, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    """Whether tuning was left off before, in or after a check."""
    findings = (0.3, 0.3, 0.6, 0.6, 0.6, 0.6)
    _finds(monkeypatch, *findings)
    states: list[TuneState] = []

    def note(progress: Progress) -> None:
        if progress.stage == after:
            assert progress.state is not None
            states.append(progress.state())

    whole = studio.tune(square_clip, CHECKED, on_progress=note).lora.layers
    for state in (states[0], states[len(states) // 2], states[-1]):
        _finds(monkeypatch, *findings[2 * len(state.checks) :])
        again = drive(studio.tune_work(square_clip, CHECKED, resume=state)).lora.layers
        assert all(torch.equal(whole[path].up_OR, again[path].up_OR) for path in whole)


def test_where_a_check_runs_out_of_memory_all_steps_are_done(
    tiny_base: VideoBase, square_clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "carried_work", lambda *_: (_ for _ in ()).throw(MemoryError()))
    seen = list(tune_within_memory(tiny_base, square_clip, CHECKED))
    assert [progress.note for progress in seen if progress.note] == [
        "memory ran out in a check; it goes on without checks, to its last step."]  # fmt: skip
    assert seen[-1].step == 30 and {progress.total for progress in seen if progress.stage == "temporal"} == {30}
