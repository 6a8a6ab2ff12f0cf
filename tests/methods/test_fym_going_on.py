"""Tuning that was left off, and goes on to the same bits."""

from __future__ import annotations

import pytest
import torch

from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, Progress, RenderSpec, TuneSpec, TuneState
from motion_transfer.work import drive
from tests.methods.tuning import (
    SPEC,
    is_bare,
    tuned_layers,
)


@pytest.mark.parametrize("draws", [0, 2])
@pytest.mark.parametrize("fixture", ["tiny_base", "tiny_nf4"])
def test_going_on_from_any_step_ends_in_the_same_bits(fixture: str, draws: int, request: pytest.FixtureRequest) -> None:
    base, spec = request.getfixturevalue(fixture), TuneSpec(**{**SPEC.__dict__, "gradient_draws": draws})
    states: list[TuneState] = []

    def note(progress: Progress) -> None:
        if progress.step:
            assert progress.state is not None
            states.append(progress.state())

    whole = drive(tuned_layers(base, spec), note)
    assert [(s.stage, s.step) for s in states[:1] + states[-1:]] == [("spatial", 1), ("temporal", SPEC.temporal_steps)]
    for state in states:
        steps: list[tuple[str, int]] = []
        again = drive(tuned_layers(base, spec, state), lambda p, steps=steps: steps.append((p.stage, p.step)))
        assert [step for step in steps if step[1]] == [(s.stage, s.step) for s in states[states.index(state) + 1 :]]
        assert whole.keys() == again.keys()
        assert all(torch.equal(whole[n].up_OR, again[n].up_OR) for n in whole)
        assert all(torch.equal(whole[n].down_RI, again[n].down_RI) for n in whole)


def test_tuning_can_be_left_off_amid_a_preview(studio: Studio, square_clip: Clip) -> None:
    """Its steps are told one by one, with the state of the tuning step before; whoever leaves there finds a bare base,
    and goes on to the same bits."""
    preview, spec = RenderSpec(prompt="a blue circle", steps=3), TuneSpec(**{**SPEC.__dict__, "caption": ""})
    whole = studio.tune(square_clip, spec).lora.layers
    work = studio.tune_work(square_clip, spec, preview=preview, preview_every=2)
    rendered = [progress for progress in work if progress.stage == "preview"]
    steps = [(progress.step, progress.total) for progress in rendered]
    assert steps == [(0, 1), (1, 3), (2, 3), (3, 3), (3, 3)]
    assert [progress.preview is not None for progress in rendered] == [False] * 4 + [True]
    work = studio.tune_work(square_clip, spec, preview=preview, preview_every=2)
    state = next(progress for progress in work if progress.stage == "preview").state()
    work.close()
    assert is_bare(studio.base)
    assert (state.stage, state.step) == ("temporal", 2)
    again = drive(studio.tune_work(square_clip, spec, resume=state)).lora.layers
    assert all(torch.equal(whole[n].up_OR, again[n].up_OR) for n in whole)
