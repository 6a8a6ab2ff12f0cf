"""Two-stage tuning: what each stage may touch, its losses, rates, batches and starts, sparse sampling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motion_transfer.errors import BadSpec, Diverged
from motion_transfer.lora.attach import LoraLayer, add_frozen, add_group_adapter, read_adapter, remove_adapters, solo
from motion_transfer.lora.heads import MODULES, group_masks
from motion_transfer.methods import fym_tune
from motion_transfer.methods.fym_course import Course
from motion_transfer.methods.fym_frames import default_sparse_latents, legal_sparse_latents, sparse_latents
from motion_transfer.methods.fym_tune import tune_spatial, tune_temporal
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import bell_weight, shifted, unshifted
from motion_transfer.model.text import TextStates
from motion_transfer.types import Lora, LowRank, TuneSpec
from motion_transfer.work import drive
from tests.conftest import BLOCKS, HEADS
from tests.methods.tuning import (
    SPATIAL_LN,
    SPEC,
    full_latents,
    heads,
    retuned,
    single_frames,
    touched_heads,
    tuned_layers,
    velocity,
    weights,
)


def test_each_stage_touches_its_own_heads_only(tiny_base: VideoBase) -> None:
    """U2, bitwise: rows of up (q, k, v), columns of down (o), the other adapter, base weights and biases."""
    before = weights(tiny_base)
    spatial = drive(tune_spatial(tiny_base, single_frames(), heads(), SPEC))
    temporal = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), SPEC))
    assert torch.equal(touched_heads(spatial), SPATIAL_LN)
    assert torch.equal(touched_heads(temporal), ~SPATIAL_LN)
    after = weights(tiny_base)
    assert set(before) == set(after)
    assert all(torch.equal(before[n], after[n]) for n in before)
    still = read_adapter(tiny_base.transformer, "spatial")
    for path, x in spatial.items():
        assert torch.equal(x.up_OR, still[path].up_OR)
        assert torch.equal(x.down_RI, still[path].down_RI)


def test_without_decoupling_both_stages_touch_all_heads(tiny_base: VideoBase) -> None:
    spec = TuneSpec(**{**SPEC.__dict__, "decoupled": False, "motion_loss": "debiased", "sparse_latents": 5})
    assert touched_heads(drive(tune_spatial(tiny_base, single_frames(), heads(), spec))).all()
    assert touched_heads(drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))).all()


def test_every_motion_loss_learns_otherwise(tiny_base: VideoBase) -> None:
    learned = {}
    for kind, space in (*product(("frame", "vmc", "debiased"), ("velocity", "x0")), ("off", "velocity")):
        remove_adapters(tiny_base.transformer)
        spec = TuneSpec(**{**SPEC.__dict__, "motion_loss": kind, "motion_space": space})
        layers = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
        learned[kind, space] = torch.cat([x.up_OR.flatten() for x in layers.values()])
    weightless = TuneSpec(**{**SPEC.__dict__, "motion_weight": 0.0})
    remove_adapters(tiny_base.transformer)
    layers = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), weightless))
    assert torch.equal(torch.cat([x.up_OR.flatten() for x in layers.values()]), learned["off", "velocity"])
    kinds = list(learned)
    assert not any(torch.equal(learned[a], learned[b]) for i, a in enumerate(kinds) for b in kinds[:i])


def test_tuning_that_diverges_ends_at_that_step(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    step_losses = fym_tune._step_losses

    def lost(*args: Any) -> Iterator[Tensor]:
        for loss in step_losses(*args):
            yield loss * (float("nan") if args[-1] == 1 else 1.0)

    monkeypatch.setattr(fym_tune, "_step_losses", lost)
    work = tune_spatial(tiny_base, single_frames(), heads(), SPEC)
    assert next(work).step == 1
    with pytest.raises(Diverged, match="step 2 of the spatial stage gave nan; choose a smaller learning rate"):
        next(work)


@pytest.mark.parametrize("kind", ["frame", "vmc", "debiased", "off"])
def test_long_clips_go_one_by_one_to_the_same_end(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    spec = TuneSpec(**{**SPEC.__dict__, "temporal_batch": 3, "motion_loss": kind})
    learned, rows = [], []
    pass_of = VideoBase.velocity
    monkeypatch.setattr(VideoBase, "velocity", lambda base, z, *rest: rows.append(len(z)) or pass_of(base, z, *rest))
    for tokens in (10**6, 1):
        monkeypatch.setattr(fym_tune, "TOKENS_AT_ONCE", tokens)
        remove_adapters(tiny_base.transformer)
        layers = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
        learned.append(torch.cat([x.up_OR.flatten() for x in layers.values()]))
    assert rows == [3] * spec.temporal_steps + [1] * 3 * spec.temporal_steps
    assert (learned[0] - learned[1]).norm() < 1e-3 * learned[0].norm()


@pytest.mark.parametrize(("rows", "tokens", "together"), [(2, 208, 2), (2, 7800, 1), (4, 1560, 2), (1, 10**6, 1)])
def test_how_many_clips_go_together(rows: int, tokens: int, together: int) -> None:
    assert fym_tune.rows_at_once(rows, tokens) == together


def test_every_matrix_of_the_group_learns(tiny_base: VideoBase) -> None:
    """Both factors move; a decay alone would only shrink `down`."""
    start = TuneSpec(**{**SPEC.__dict__, "spatial_steps": 0})
    first = drive(tune_spatial(tiny_base, single_frames(), heads(), start))
    last = retuned(tiny_base, SPEC)
    for path, x in first.items():
        moved = last[path].down_RI - x.down_RI
        along = (moved * x.down_RI).sum() / x.down_RI.square().sum() * x.down_RI
        assert (moved - along).norm() > 0.1 * moved.norm() > 0, path
        assert last[path].up_OR.abs().max() > 0, path


def test_zero_lora_is_the_base_bitwise(tiny_base: VideoBase) -> None:
    bare = velocity(tiny_base)
    masks = group_masks(SPATIAL_LN, tiny_base.head_width, MODULES)
    add_group_adapter(tiny_base.transformer, "zero", masks, rank=2, generator=torch.Generator().manual_seed(0))
    assert any(isinstance(m, LoraLayer) for m in tiny_base.transformer.modules())
    assert torch.equal(bare, velocity(tiny_base))


def test_a_few_steps_lower_the_loss_on_one_batch(tiny_base: VideoBase) -> None:
    """Learning works at all: the temporal stage on a constant clip, at a high rate."""
    spec = TuneSpec(**{**SPEC.__dict__, "temporal_steps": 40, "temporal_rate": 0.02, "temporal_batch": 8, "rank": 8})
    losses = [p.loss for p in tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec)]
    assert sum(losses[-8:]) < 0.97 * sum(losses[:8])


def test_learning_under_4_bit(tiny_nf4: VideoBase) -> None:
    """The same masks hold where the base is quantized."""
    temporal = drive(tune_temporal(tiny_nf4, full_latents(), full_latents(), heads(), SPEC))
    assert torch.equal(touched_heads(temporal), ~SPATIAL_LN)


def test_no_spatial_head_skips_the_spatial_stage(tiny_base: VideoBase) -> None:
    none = heads(torch.zeros(BLOCKS, HEADS, dtype=torch.bool))
    assert drive(tune_spatial(tiny_base, single_frames(), none, SPEC)) == {}


def test_no_temporal_head_is_refused(tiny_base: VideoBase) -> None:
    everything = heads(torch.ones(BLOCKS, HEADS, dtype=torch.bool))
    with pytest.raises(BadSpec, match="balanced"):
        drive(tune_temporal(tiny_base, full_latents(), full_latents(), everything, SPEC))


def test_the_rate_rises_and_falls() -> None:
    """Ten steps up, level, and down over the last two fifths."""
    shares = [Course(100).rate_share(step) for step in range(100)]
    assert shares[:3] == pytest.approx([0.1, 0.2, 0.3]) and set(shares[9:61]) == {1.0}
    assert shares[80] == pytest.approx(0.5) and shares[99] == 0.05
    assert shares[60:] == sorted(shares[60:], reverse=True)


@pytest.mark.parametrize(("share", "expected"), [(0.0, {"a red square"}), (1.0, {""}), (0.5, {"a red square", ""})])
def test_captions_are_dropped_as_often_as_asked(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch, share: float, expected: set[str]
) -> None:
    states = {caption: tiny_base.text.encode([caption]) for caption in ("a red square", "")}
    monkeypatch.setattr(type(tiny_base.text), "encode", lambda _, captions: states[captions[0]])
    seen, velocity = [], VideoBase.velocity

    def watched(
        base: VideoBase, z: Tensor, sigma: Tensor, text: TextStates, times: tuple[float, ...] | None = None
    ) -> Tensor:
        seen.append(next(caption for caption, kept in states.items() if kept is text))
        return velocity(base, z, sigma, text, times)

    monkeypatch.setattr(VideoBase, "velocity", watched)
    spec = TuneSpec(**{**SPEC.__dict__, "temporal_steps": 20, "caption_drop": share})
    drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
    assert set(seen) == expected


@pytest.mark.parametrize(("full", "legal"), [(5, (2, 3, 5)), (13, (2, 3, 4, 5, 7, 13)), (21, (2, 3, 5, 6, 11, 21))])
def test_legal_sparse_lengths(full: int, legal: tuple[int, ...]) -> None:
    """Spacing (F - 1) / (F_s - 1) is whole: of Wan's 21 latents 20, 10, 5, 4, 2 or 1 apart."""
    assert legal_sparse_latents(full) == legal


@pytest.mark.parametrize(
    ("full", "frame_tokens", "chosen"),
    [(2, 1560, 2), (4, 1560, 4), (5, 1560, 5), (12, 1560, 12), (13, 1560, 5), (21, 1560, 5), (13, 16, 13), (21, 64, 5)],
)
def test_default_sparse_length(full: int, frame_tokens: int, chosen: int) -> None:
    """17 of Wan's 81 frames, all of nano's, and never a length that does not fit."""
    assert default_sparse_latents(full, frame_tokens) == chosen


def test_sparse_latents_keep_their_frames_and_places() -> None:
    sparse = sparse_latents(full_latents(), 3, offset=1)
    assert sparse.times_F == (1.0, 3.0)
    assert torch.equal(sparse.z_ZFYX, full_latents().z_ZFYX[:, [1, 3]])
    assert sparse_latents(full_latents(), 3).times_F == (0.0, 2.0, 4.0)


def test_solo_is_one_adapter_and_restores_everything(tiny_base: VideoBase) -> None:
    """While open, the output is that of the temporal LoRA alone, `strength` times as strong."""
    spatial = drive(tune_spatial(tiny_base, single_frames(), heads(), SPEC))
    temporal = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), SPEC))
    both, learning = velocity(tiny_base), {n: p.requires_grad for n, p in tiny_base.transformer.named_parameters()}
    assert {n for n, on in learning.items() if on} == {n for n in learning if ".temporal." in n}
    with solo(tiny_base.transformer, "temporal", 0.7):
        alone = velocity(tiny_base)
    assert torch.equal(both, velocity(tiny_base))
    assert learning == {n: p.requires_grad for n, p in tiny_base.transformer.named_parameters()}
    retuned(tiny_base, TuneSpec(**{**SPEC.__dict__, "spatial_steps": 0}))
    add_frozen(
        tiny_base.transformer,
        "expected",
        Lora(layers={p: LowRank(down_RI=x.down_RI, up_OR=0.7 * x.up_OR) for p, x in temporal.items()}),
    )
    assert (alone - velocity(tiny_base)).abs().max() < 1e-5
    assert (alone - both).abs().max() > 1e-4
    assert spatial


def test_a_temporal_step_without_the_spatial_lora_is_one_of_the_bare_base(tiny_base: VideoBase) -> None:
    """At a share of 1 the spatial stage changes nothing, at 0 it does; its own adapter is left as learned."""

    def learned(share: float, spatial_steps: int = 3) -> dict[str, LowRank]:
        remove_adapters(tiny_base.transformer)
        spec = TuneSpec(**{**SPEC.__dict__, "spatial_steps": spatial_steps, "spatial_drop": share})
        look = drive(tune_spatial(tiny_base, single_frames(), heads(), spec))
        motion = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
        kept = read_adapter(tiny_base.transformer, "spatial")
        assert all(torch.equal(kept[name].up_OR, look[name].up_OR) for name in look)
        return motion

    without, never, always = learned(0.0, spatial_steps=0), learned(1.0), learned(0.0)
    assert all(torch.equal(without[name].up_OR, never[name].up_OR) for name in without)
    assert any(not torch.equal(without[name].up_OR, always[name].up_OR) for name in without)


def test_both_stages_begin_along_the_gradients_of_some_draws(tiny_base: VideoBase) -> None:
    """Told as steps of number 0; what is learned stays in its heads, and differs from a random start."""
    spec = TuneSpec(**{**SPEC.__dict__, "gradient_draws": 2})
    steps: list[tuple[str, int, bool]] = []
    layers = drive(tuned_layers(tiny_base, spec), lambda p: steps.append((p.stage, p.step, p.loss is None)))
    of_a_stage = [(0, True), (0, True), (1, False), (2, False), (3, False)]
    assert steps == [(stage, *step) for stage in ("spatial", "temporal") for step in of_a_stage]
    assert torch.equal(touched_heads(layers), ~SPATIAL_LN)
    plain = drive(tuned_layers(tiny_base, SPEC))
    assert not any(torch.equal(layers[n].down_RI, plain[n].down_RI) for n in layers)


def test_up_matrices_learn_faster_by_their_ratio(tiny_base: VideoBase) -> None:
    """Adam's first step is as long as the rate, whatever the gradient."""
    for ratio in (1.0, 4.0):
        remove_adapters(tiny_base.transformer)
        once = {"up_rate_ratio": ratio, "temporal_steps": 1, "temporal_rate": 1e-3, "temporal_decay": 0.0}
        layers = drive(
            tune_temporal(tiny_base, full_latents(), full_latents(), heads(), TuneSpec(**{**SPEC.__dict__, **once}))
        )
        rate = max(x.up_OR.abs().max().item() for x in layers.values())
        assert rate == pytest.approx(1e-3 * ratio * fym_tune.Course(1).rate_share(0), rel=1e-2)


def test_without_the_output_projection_queries_keys_and_values_learn(tiny_base: VideoBase) -> None:
    spec = TuneSpec(**{**SPEC.__dict__, "include_output": False})
    temporal = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
    assert {path.split(".", 2)[2] for path in temporal} == {"attn1.to_q", "attn1.to_k", "attn1.to_v"}


@pytest.mark.parametrize(
    ("rule", "places"),
    [("aligned", {(0, 2, 4), (1, 3)}), ("paper", {(0, 5 / 3, 10 / 3), (1, 8 / 3)}), ("none", {(0, 1, 2), (1, 2)})],
)
def test_kept_frames_lie_where_the_rule_says(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch, rule: str, places: set[tuple[float, ...]]
) -> None:
    seen, velocity = [], VideoBase.velocity

    def watched(
        base: VideoBase, z: Tensor, sigma: Tensor, text: TextStates, times: tuple[float, ...] | None = None
    ) -> Tensor:
        seen.append(tuple(round(time, 9) for time in times or ()))
        return velocity(base, z, sigma, text, times)

    monkeypatch.setattr(VideoBase, "velocity", watched)
    spec = TuneSpec(**{**SPEC.__dict__, "temporal_steps": 12, "positions": rule})
    drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
    assert set(seen) == {tuple(round(place, 9) for place in clip) for clip in places}


@pytest.mark.parametrize("lowest", [0.0, 0.6])
def test_no_level_below_the_lowest_is_learned_from(
    tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch, lowest: float
) -> None:
    """Each step's levels are spread over all that is left."""
    seen, velocity = [], VideoBase.velocity

    def watched(base: VideoBase, z: Tensor, sigma_B: Tensor, *others: Any) -> Tensor:
        seen.append(sigma_B)
        return velocity(base, z, sigma_B, *others)

    monkeypatch.setattr(VideoBase, "velocity", watched)
    spec = TuneSpec(**{**SPEC.__dict__, "temporal_steps": 40, "noise_shift": 2.0, "lowest_noise": lowest})
    drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
    levels = torch.cat(seen)
    assert len(levels) == 80 and lowest <= levels.min() < lowest + 0.1 and levels.max() > 0.95
    middle = shifted(torch.tensor((1 + unshifted(lowest, 2.0)) / 2), 2.0)
    assert levels.median().item() == pytest.approx(middle.item(), abs=0.07)


def test_levels_and_draws_go_both_ways() -> None:
    for level, shift in ((0.0, 4.0), (0.6, 4.0), (0.3, 1.0), (0.9, 12.0)):
        assert shifted(torch.tensor(unshifted(level, shift)), shift).item() == pytest.approx(level, abs=1e-6)


def test_bell_weights_favor_the_middle_and_are_one_on_average(tiny_base: VideoBase) -> None:
    levels = shifted(torch.linspace(0.001, 1, 1000), 5.0)
    weights = bell_weight(levels, 5.0)
    assert weights.mean().item() == pytest.approx(1.0, abs=1e-3) and weights.min().item() == pytest.approx(0, abs=1e-4)
    assert levels[weights.argmax()].item() == pytest.approx(0.5, abs=0.01)
    assert bell_weight(levels[levels >= 0.6], 5.0, 0.6).mean().item() == pytest.approx(1.0, abs=1e-3)
    learned = []
    for weighting in ("none", "bell"):
        remove_adapters(tiny_base.transformer)
        spec = TuneSpec(**{**SPEC.__dict__, "loss_weighting": weighting})
        layers = drive(tune_temporal(tiny_base, full_latents(), full_latents(), heads(), spec))
        learned.append(torch.cat([x.up_OR.flatten() for x in layers.values()]))
    assert not torch.equal(*learned)


def test_slower_examples_leave_what_acts_always(tiny_base: VideoBase) -> None:
    """Half of the ranks are felt at any strength, and learn; the others only as far as the motion goes."""
    spec = TuneSpec(**{**SPEC.__dict__, "slow_share": 0.9, "temporal_steps": 4, "temporal_batch": 2})
    full = full_latents()
    slower = {pace: replace(full, z_ZFYX=full.z_ZFYX * 0.5) for pace in (0.0, 0.5)}
    seen: list[list[float]] = []
    real = fym_tune.per_row

    @contextmanager
    def spied(transformer: nn.Module, name: str, always: int = 0) -> Iterator[Callable[[Tensor], None]]:
        with real(transformer, name, always) as act:
            assert always == fym_tune.always_rank(spec) == SPEC.rank // 2

            def told(strength_B: Tensor) -> None:
                seen.append(strength_B.tolist())
                act(strength_B)

            yield told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fym_tune, "per_row", spied)
        layers = drive(tune_temporal(tiny_base, full, full, heads(), spec, slower=slower))
    drawn = {strength for strengths in seen[::2] for strength in strengths}
    assert drawn <= {0.0, 0.5, 1.0} and len(drawn) > 1 and all(told == [1.0] for told in seen[1::2])
    always, by_strength = (torch.cat([x.up_OR[:, part].flatten() for x in layers.values()])
                           for part in (slice(0, SPEC.rank // 2), slice(SPEC.rank // 2, None)))  # fmt: skip
    assert always.any() and by_strength.any()
