"""A motion that is learned slower too: what its file says, what acts at strength 0, how it goes on after a stop."""

from __future__ import annotations

import pytest
import torch

from motion_transfer.errors import BadSpec
from motion_transfer.lora.algebra import ALWAYS_RANK, at_strength
from motion_transfer.lora.files import load_lora, save_lora
from motion_transfer.model.base import VideoBase
from motion_transfer.transfer import tune_work
from motion_transfer.types import Clip, Lora, TuneSpec, TuneState
from motion_transfer.work import drive
from tests.methods.tuning import SPEC, is_bare

SLOWER = TuneSpec(**{**SPEC.__dict__, "slow_share": 0.5, "spatial_steps": 1, "temporal_steps": 6, "check_every": 0})
HALF = SPEC.rank // 2


def _learned(base: VideoBase, clip: Clip, **changes: object) -> Lora:
    return drive(tune_work(base, clip, TuneSpec(**{**SLOWER.__dict__, **changes}))).lora


@pytest.mark.parametrize("sampling", ["latent", "pixel"])
def test_half_of_the_ranks_act_at_any_strength(tiny_base, square_clip, tmp_path, sampling):
    lora = _learned(tiny_base, square_clip, sampling=sampling)
    assert lora.info[ALWAYS_RANK] == HALF and is_bare(tiny_base)
    save_lora(lora, tmp_path / "slower.safetensors")
    rest = at_strength(load_lora(tmp_path / "slower.safetensors"), 0.0)
    for path, layer in lora.layers.items():
        assert torch.equal(rest.layers[path].up_OR[:, :HALF], layer.up_OR[:, :HALF])
        assert not rest.layers[path].up_OR[:, HALF:].any()


def test_only_what_goes_by_strength_is_weighed(tiny_base, square_clip):
    one, two = (_learned(tiny_base, square_clip, inference_weight=weight) for weight in (1.0, 2.0))
    for path, layer in one.layers.items():
        torch.testing.assert_close(two.layers[path].up_OR[:, :HALF], layer.up_OR[:, :HALF])
        torch.testing.assert_close(two.layers[path].up_OR[:, HALF:], 2 * layer.up_OR[:, HALF:])


def test_the_look_is_not_kept_with_it(tiny_base, square_clip):
    with pytest.raises(BadSpec, match="slow share"):
        _learned(tiny_base, square_clip, keep="both")


def test_it_goes_on_to_the_same_bits(tiny_base, square_clip):
    states: list[TuneState] = []
    whole = drive(tune_work(tiny_base, square_clip, SLOWER),
                  lambda p: states.append(p.state()) if p.stage == "temporal" and p.state else None).lora  # fmt: skip
    state = next(state for state in states if state.step == 3)
    again = drive(tune_work(tiny_base, square_clip, SLOWER, resume=state)).lora
    assert all(torch.equal(again.layers[path].up_OR, layer.up_OR) for path, layer in whole.layers.items())
