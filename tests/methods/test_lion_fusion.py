"""Mixing: rules keep what they promise, in any order, and strength 0 leaves a motion out."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.lora.algebra import delta, norm
from motion_transfer.methods.lion_fusion import (
    MOST_RESCALED,
    apart,
    by_block,
    compile_mix,
    evened,
    likeness,
    meet,
    orthogonalized,
    overlap,
)
from motion_transfer.types import MIX_RULES, Lora, LowRank, Mix

WIDTH, RANK = 32, 3
PATHS = [f"blocks.{block}.attn1.{module}" for block in (0, 1) for module in ("to_q", "to_v")]


def _lora(seed: int, size: float = 1.0, paths=PATHS) -> Lora:
    generator = torch.Generator().manual_seed(seed)
    layers = {path: LowRank(down_RI=torch.randn(RANK, WIDTH, generator=generator),
                            up_OR=size * torch.randn(WIDTH, RANK, generator=generator)) for path in paths}  # fmt: skip
    return Lora(layers=layers, info={"base": "tiny"})


@pytest.mark.parametrize("rule", MIX_RULES)
def test_a_mix_is_the_same_in_any_order(rule):
    items = [(_lora(0), 0.5), (_lora(1, 2.0), -1.0), (_lora(2, 0.5, PATHS[:2]), 1.0)]
    mixes = [compile_mix(Mix(items=order, rule=rule)) for order in permutations(items)]
    for mixed in mixes[1:]:
        assert mixed.layers.keys() == mixes[0].layers.keys()
        for path, layer in mixed.layers.items():
            torch.testing.assert_close(delta(layer), delta(mixes[0].layers[path]), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rule", MIX_RULES)
def test_one_motion_alone_is_itself(rule):
    lora = _lora(0)
    mixed = compile_mix(Mix(items=((lora, 0.5),), rule=rule))
    for path, layer in lora.layers.items():
        torch.testing.assert_close(delta(mixed.layers[path]), 0.5 * delta(layer), atol=1e-5, rtol=1e-5)


def test_the_sum_adds_up():
    a, b = _lora(0), _lora(1)
    mixed = compile_mix(Mix(items=((a, 1.0), (b, -0.5))))
    for path in PATHS:
        wanted = delta(a.layers[path]) - 0.5 * delta(b.layers[path])
        torch.testing.assert_close(delta(mixed.layers[path]), wanted, atol=1e-5, rtol=1e-5)


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
