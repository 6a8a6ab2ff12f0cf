"""Mixing: rules keep what they promise, in any order, and strength 0 leaves a motion out."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.lora.algebra import delta, norm
from motion_transfer.lora.attach import LoraLayer
from motion_transfer.methods.lion_fusion import (
    MOST_RESCALED,
    apart,
    by_block,
    compile_mix,
    evened,
    likeness,
    meet,
    mixed,
    orthogonalized,
    overlap,
)
from motion_transfer.model import sampling
from motion_transfer.transfer import render_work
from motion_transfer.types import MIX_RULES, SCHEDULES, SHAPES_FORM, Lora, LowRank, Mix, RenderSpec
from motion_transfer.work import drive
from tests.conftest import HEAD_WIDTH, HEADS
from tests.methods.tuning import is_bare

WIDTH, RANK = 32, 3
PATHS = [f"blocks.{block}.attn1.{module}" for block in (0, 1) for module in ("to_q", "to_v")]


def _lora(seed: int, size: float = 1.0, paths=PATHS, width: int = WIDTH) -> Lora:
    generator = torch.Generator().manual_seed(seed)
    layers = {path: LowRank(down_RI=torch.randn(RANK, width, generator=generator),
                            up_OR=size * torch.randn(width, RANK, generator=generator)) for path in paths}  # fmt: skip
    return Lora(layers=layers, info={"base": "tiny"})


@pytest.mark.parametrize("rule", MIX_RULES)
def test_a_mix_is_the_same_in_any_order(rule):
    items = [(_lora(0), 0.5), (_lora(1, 2.0), -1.0), (_lora(2, 0.5, PATHS[:2]), 1.0)]
    mixes = [compile_mix(Mix(items=order, rule=rule)) for order in permutations(items)]
    for other in mixes[1:]:
        assert other.layers.keys() == mixes[0].layers.keys()
        for path, layer in other.layers.items():
            torch.testing.assert_close(delta(layer), delta(mixes[0].layers[path]), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rule", MIX_RULES)
def test_one_motion_alone_is_itself(rule):
    lora = _lora(0)
    alone = compile_mix(Mix(items=((lora, 0.5),), rule=rule))
    for path, layer in lora.layers.items():
        torch.testing.assert_close(delta(alone.layers[path]), 0.5 * delta(layer), atol=1e-5, rtol=1e-5)


def test_the_sum_adds_up():
    a, b = _lora(0), _lora(1)
    both = compile_mix(Mix(items=((a, 1.0), (b, -0.5))))
    for path in PATHS:
        wanted = delta(a.layers[path]) - 0.5 * delta(b.layers[path])
        torch.testing.assert_close(delta(both.layers[path]), wanted, atol=1e-5, rtol=1e-5)


def test_evened_changes_are_equally_large():
    a, b = evened([_lora(0, 0.5), _lora(1, 2.0)])

    def size(lora, module):
        return torch.tensor([norm(x) for path, x in lora.layers.items() if path.endswith(module)]).log().mean()

    for module in ("to_q", "to_v"):
        assert size(a, module) == pytest.approx(float(size(b, module)), abs=1e-4)
    ratios = [norm(a.layers[path]) / norm(_lora(0, 0.5).layers[path]) for path in PATHS]
    assert ratios[0] == pytest.approx(ratios[2]) and ratios[1] == pytest.approx(ratios[3])  # of one module
    far = evened([_lora(0, 0.01), _lora(1, 100.0)])[0]
    assert norm(far.layers[PATHS[0]]) == pytest.approx(MOST_RESCALED * norm(_lora(0, 0.01).layers[PATHS[0]]), rel=1e-4)


def test_orthogonalized_outputs_share_no_direction():
    loras = [_lora(seed) for seed in range(4)]
    turned = orthogonalized(loras)
    for path in PATHS:
        for i, one in enumerate(turned):
            assert norm(one.layers[path]) == pytest.approx(norm(loras[i].layers[path]), rel=1e-4)
            for other in turned[:i]:
                assert overlap(one.layers[path], other.layers[path]) < 1e-9
                assert overlap(loras[i].layers[path], loras[0].layers[path]) > 1e-3
    x = torch.randn(5, WIDTH)
    outs = [x @ delta(lora.layers[PATHS[0]]).T for lora in turned]
    assert float((outs[0] * outs[1]).sum(-1).abs().max()) < 1e-3


def test_what_is_apart_already_stays():
    eye = torch.eye(WIDTH)
    ups = [3 * eye[:, :3], eye[:, 3:6]]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(apart(ups), ups, strict=True))


def test_ranks_beyond_the_width_and_equal_changes_are_left_as_they_are():
    wide = [torch.randn(4, 3) for _ in range(2)]
    assert all(a is b for a, b in zip(apart(wide), wide, strict=True))
    same = torch.randn(WIDTH, 2)
    assert all(torch.equal(up, same) for up in apart([same, same]))


def test_the_meter_knows_equal_opposite_and_unlike_changes():
    a = _lora(0)
    twice = compile_mix(Mix(items=((a, -2.0),)))
    assert set(by_block(a, twice)) == {0, 1}
    same = meet(a, twice)
    assert (same.overlap, same.likeness, same.ratio) == pytest.approx((1.0, 1.0, 2.0), rel=1e-4)
    assert likeness(a.layers[PATHS[0]], twice.layers[PATHS[0]]) == pytest.approx(-1)
    other = meet(a, _lora(1))
    assert other.likeness < 0.1 and other.overlap < 0.4
    assert meet(a, _lora(1, paths=["blocks.5.attn1.to_q"])) is None


def test_an_unknown_rule_is_refused():
    with pytest.raises(BadSpec, match="sum, norm, orthogonal"):
        Mix(items=(), rule="loudest")


def test_controls_and_motions_can_act_one_after_the_other(tiny_base):
    """Which of them is felt at which noise level, by the velocities that each step is given."""
    width = HEADS * HEAD_WIDTH
    control, motion = (replace(_lora(seed, 0.05, width=width), info={"kind": kind})
                       for seed, kind in enumerate(("control", "motion")))  # fmt: skip
    seen = {}
    for schedule in SCHEDULES:
        spec = RenderSpec(prompt="a red square", steps=12, schedule=schedule, guidance=1.0, early_guidance=1.0)
        mix_, rendered = mixed([(control, 1.0), (motion, 1.0)], spec)
        alone = mixed([(control, 1.0)], spec)[0]
        assert alone is not None and alone.late is None  # one kind alone always acts
        felt = []

        def watched(base, z, sigma, texts, guidance, smoothing, felt=felt):
            layers = [m for m in base.transformer.modules() if isinstance(m, LoraLayer)]
            shares = {name: layers[0].scaling[name] for name in layers[0].lora_A}
            felt.append((sigma, {name for name, share in shares.items() if share and not layers[0].disable_adapters}))
            return torch.zeros_like(z)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampling, "_guided", watched)
            drive(render_work(tiny_base, mix_, rendered))
        seen[schedule] = felt
        assert is_bare(tiny_base)
    assert all(names == ({"motion"} if sigma >= spec.motion_until else set()) for sigma, names in seen["together"])
    for sigma, names in seen["controls first"]:
        early, acts = sigma >= SHAPES_FORM, sigma >= spec.motion_until
        assert names == ({"motion"} if early else {"late"} if acts else set())
    first, then = (mixed([(control, 1.0), (motion, 0.5)], RenderSpec(schedule=s))[0] for s in SCHEDULES[1:])
    path = next(iter(control.layers))
    for a, b in ((first.layers, then.late.layers), (first.late.layers, then.layers)):
        assert torch.equal(delta(a[path]), delta(b[path]))
    assert torch.allclose(delta(first.late.layers[path]), 0.5 * delta(motion.layers[path]), atol=1e-6)


def test_controls_share_what_brings_things_to_rest():
    control = {"base": "tiny", "kind": "control", "always_rank": 1}
    loras = [replace(_lora(seed), info=control) for seed in (0, 1)]
    resting = compile_mix(Mix(items=((loras[0], 0.0), (loras[1], 0.0))))
    beside_motion = compile_mix(Mix(items=((loras[0], 0.0), (_lora(2), 1.0))))
    alone = compile_mix(Mix(items=((loras[0], 0.0),)))
    for path in PATHS:
        rests = [lora.layers[path].up_OR[:, :1] @ lora.layers[path].down_RI[:1] for lora in loras]
        torch.testing.assert_close(delta(resting.layers[path]), (rests[0] + rests[1]) / 2)
        torch.testing.assert_close(delta(alone.layers[path]), rests[0])
        torch.testing.assert_close(delta(beside_motion.layers[path]), delta(_lora(2).layers[path]))
