"""The arms that strength tokens are compared with: a silent one is not there; one in the sequence is one key more."""

from __future__ import annotations

import torch

from motion_transfer.model.strength_arms import modulation_arm, sequence_arm
from tests.methods.tuning import velocity


def _stirred(parts) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in parts.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def test_a_silent_arm_is_not_there(tiny_base):
    bare = velocity(tiny_base)
    for arm in (sequence_arm(tiny_base.transformer, (0, 1), torch.Generator()),
                modulation_arm(tiny_base.transformer, torch.Generator())):  # fmt: skip
        with arm as acting:
            _stirred(acting)
            acting.share = 0.0
            torch.testing.assert_close(velocity(tiny_base), bare, atol=1e-6, rtol=0)
            acting.share = 1.0
            strong = velocity(tiny_base)
            assert strong.shape == bare.shape and (strong - bare).abs().max() > 1e-3
            acting.feel(torch.tensor([0.0]))
            assert (velocity(tiny_base) - strong).abs().max() > 1e-4
    assert torch.equal(velocity(tiny_base), bare)


def test_a_new_modulation_adds_nothing(tiny_base):
    bare = velocity(tiny_base)
    with modulation_arm(tiny_base.transformer, torch.Generator()):
        assert torch.equal(velocity(tiny_base), bare)


def test_the_token_in_the_sequence_is_one_key_and_value_more(tiny_base):
    block = tiny_base.transformer.blocks[0].attn1
    seen = []
    with sequence_arm(tiny_base.transformer, (0,), torch.Generator()) as acting:
        _stirred(acting)
        acting.feel(torch.tensor([0.5]))
        hooks = [getattr(block, name).register_forward_hook(lambda _, __, out: seen.append(out))
                 for name in ("norm_q", "norm_k", "to_v")]  # fmt: skip
        hooks.append(block.to_out[0].register_forward_hook(lambda _, inputs, __: seen.append(inputs[0])))
        rope = tiny_base.transformer.rope.register_forward_hook(lambda _, __, out: seen.append(out))
        velocity(tiny_base)
        for hook in (*hooks, rope):
            hook.remove()
        part = acting.parts[0]
    tables = next(one for one in seen if isinstance(one, tuple))
    q, k, v, out = [one.unflatten(-1, (block.heads, -1))[0] for one in seen if not isinstance(one, tuple)][:4]

    def turn(x):
        cos, sin = tables[0][0, :, :, 0::2], tables[1][0, :, :, 1::2]
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)

    keys = torch.cat([turn(k), part.key_NK[None]])
    values = torch.cat([v, (part.rest_NK + 0.5 * part.slope_NK)[None]])
    weights = torch.einsum("snk,tnk->nst", turn(q), keys).div(q.shape[-1] ** 0.5).softmax(-1)
    torch.testing.assert_close(out, torch.einsum("nst,tnk->snk", weights, values), atol=1e-5, rtol=1e-4)
