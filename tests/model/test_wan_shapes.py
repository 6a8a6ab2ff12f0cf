"""Random transformers of Wan2.1's shapes: exact parameter counts, on the meta device where they are large."""

from __future__ import annotations

import pytest
import torch

from motion_transfer.model.wan_shapes import WAN_SHAPES, random_transformer

PARAMETERS = {"1.3b": 1_418_996_800, "14b": 14_288_491_584}  # of the checkpoints' transformers


@pytest.mark.parametrize("name", WAN_SHAPES)
def test_the_whole_shape_has_as_many_parameters_as_the_checkpoint(name: str) -> None:
    with torch.device("meta"):
        transformer = random_transformer(WAN_SHAPES[name])
    assert sum(p.numel() for p in transformer.parameters()) == PARAMETERS[name]


def test_weights_follow_from_the_seed_and_leave_other_draws_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = (
        random_transformer(WAN_SHAPES["1.3b"], text_width=32, num_blocks=0, seed=seed).proj_out.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same) and not torch.equal(one, other)
