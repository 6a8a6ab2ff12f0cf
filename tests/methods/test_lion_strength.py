"""Learning a control: only its own parameters move, layers come out equally loud, and files bring it back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.lora.algebra import at_strength, delta
from motion_transfer.lora.attach import attached, watched
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.methods.lion_strength import (
    ARMS,
    UNKEPT_ARMS,
    ControlSpec,
    Example,
    Loudness,
    learn_control,
    spread,
)
from motion_transfer.model.motion_losses import relative_motion_loss
from motion_transfer.model.strength import tokens_at_work
from motion_transfer.types import Progress
from motion_transfer.work import drive
from tests.conftest import Z_DIM
from tests.methods.tuning import is_bare, velocity, weights

SPEC = ControlSpec(blocks=(0, 1), steps=30, rank=4, batch=2, rate=1e-2, lowest_noise=0.6, caption_drop=0.1,
                   amount_weight=0.0)  # fmt: skip


def _examples() -> list[Example]:
    generator = torch.Generator().manual_seed(3)
    return [Example(z_ZFYX=torch.randn(Z_DIM, 5, 4, 4, generator=generator), strength=s, caption="a red square")
            for s in (-1.0, 0.0, 0.5, 1.0) for _ in range(2)]  # fmt: skip


def _at(base, lora, strength):
    set_lora = at_strength(lora, strength)
    with attached(base.transformer, set_lora), tokens_at_work(base.transformer, set_lora.tokens):
        return velocity(base)


@pytest.mark.parametrize("arm", ARMS)
def test_only_the_control_learns_and_its_strength_is_felt(tiny_base, arm, tmp_path):
    before, bare = weights(tiny_base), velocity(tiny_base)
    losses = []
    lora = drive(learn_control(tiny_base, _examples(), replace(SPEC, arm=arm)), lambda p: losses.append(p.loss))
    assert is_bare(tiny_base)
    assert all(torch.equal(before[name], now) for name, now in weights(tiny_base).items())
    assert all(path.startswith(("blocks.0.attn1.", "blocks.1.attn1.")) for path in lora.layers)
    outs = [_at(tiny_base, lora, s) for s in (0.0, 0.5, 1.0)]
    assert all((a - b).abs().max() > 1e-3 for a, b in itertools.pairwise(outs))
    assert torch.equal(outs[0], bare) == (arm in ("scaled", "vanilla"))
    save_lora(lora, tmp_path / "control.safetensors")
    assert torch.equal(_at(tiny_base, load_lora(tmp_path / "control.safetensors"), 0.5), outs[1])
    assert len(losses) == SPEC.steps


@pytest.mark.parametrize("arm", UNKEPT_ARMS)
def test_other_arms_act_while_they_are_there(tiny_base, arm):
    bare, seen = velocity(tiny_base), []

    def at_end(feel, acting):
        for strength in (0.0, 1.0):
            feel(strength)
            seen.append(velocity(tiny_base))
        assert len(acting) == 1
        yield Progress(stage="look", step=1, total=1)

    drive(learn_control(tiny_base, _examples(), replace(SPEC, arm=arm), at_end))
    assert (seen[0] - seen[1]).abs().max() > 1e-4 and (seen[1] - bare).abs().max() > 1e-3
    assert is_bare(tiny_base) and torch.equal(velocity(tiny_base), bare)


def test_layers_come_out_equally_loud(tiny_base):
    spec = replace(SPEC, steps=120, rate=3e-3, arm="scaled", even=True)
    lora = drive(learn_control(tiny_base, _examples(), spec))
    uneven = drive(learn_control(tiny_base, _examples(), replace(spec, even=False)))

    def measured(control):
        loudness = Loudness(sorted(control.layers))
        with attached(tiny_base.transformer, control), watched(tiny_base.transformer, "motion", loudness.look):
            velocity(tiny_base)
        return spread(loudness.ratios)

    assert measured(lora) < min(1.5, 0.8 * measured(uneven))


def test_the_scale_evens_out_the_loudness():
    paths = [f"blocks.{block}.attn1.{module}" for block in (0, 1) for module in ("to_q", "to_v")]
    loudness = Loudness(paths)
    loud = {paths[0]: 0.1, paths[1]: 0.2, paths[2]: 0.4, paths[3]: 0.2}
    for path, ratio in loud.items():
        loudness.look(path, torch.empty(0), torch.tensor([ratio]), torch.tensor([1.0]))
    assert spread(loudness.ratios) == pytest.approx(4)
    assert set(loudness.scales(0.0).values()) == {1.0}
    evened = {path: loudness.scales(1.0)[path] * ratio for path, ratio in loud.items()}
    assert evened[paths[0]] == evened[paths[2]] == pytest.approx(0.2)  # the geometric mean of its module
    assert evened[paths[1]] == pytest.approx(0.2)


def test_compiled_blocks_learn_the_same(tiny_base, monkeypatch):
    spec = replace(SPEC, steps=6, arm="affine")
    plain = drive(learn_control(tiny_base, _examples(), spec))
    graphs = []

    def backend(graph, _):  # that needs no C++ compiler
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    found = drive(learn_control(tiny_base, _examples(), spec, compiled=True))
    assert graphs
    assert is_bare(tiny_base) and all("forward" not in vars(block) for block in tiny_base.transformer.blocks)
    for path, layer in plain.layers.items():
        torch.testing.assert_close(delta(found.layers[path]), delta(layer), atol=1e-4, rtol=1e-3)


def test_the_same_seed_learns_the_same(tiny_base):
    a, b = (drive(learn_control(tiny_base, _examples(), replace(SPEC, steps=3))) for _ in range(2))
    assert all(torch.equal(delta(a.layers[n]), delta(b.layers[n])) for n in a.layers)


@pytest.mark.parametrize(("spec", "examples", "words"), [
    (SPEC, [replace(one, strength=0.5) for one in _examples()], "none is of 1"),
    (replace(SPEC, blocks=(2,)), _examples(), "blocks between 0 and 1"),
    (replace(SPEC, blocks=()), _examples(), "blocks between 0 and 1"),
])  # fmt: skip
def test_what_cannot_be_learned_is_refused(tiny_base, spec, examples, words):
    with pytest.raises(BadSpec, match=words):
        drive(learn_control(tiny_base, examples, spec))


def test_the_amount_of_motion_is_told_by_the_error_of_differences():
    clean = torch.randn(2, 3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    assert relative_motion_loss(clean, clean) == 0
    still = clean[:, :, :1].expand_as(clean)
    assert relative_motion_loss(still, clean) == pytest.approx(1)
    assert relative_motion_loss(2 * clean, clean) == pytest.approx(1)
    assert relative_motion_loss(clean + 3, clean) < 1e-10  # what lasts doesn't count
