"""Features of LoRAs: cosines, their null, shared directions and loudness, against what is put in."""

from __future__ import annotations

import pytest
import torch

from motion_transfer.evaluate.lora_features import NetworkInput, layer_features
from motion_transfer.types import Lora, LowRank
from tests.conftest import Z_DIM

PATH = "blocks.0.attn1.to_v"


def _inputs(base):
    generator = torch.Generator().manual_seed(1)
    for sigma in (0.9, 0.5):
        yield NetworkInput(noisy_BZFYX=torch.randn(1, Z_DIM, 5, 4, 4, generator=generator),
                           sigma_B=torch.tensor([sigma]), texts=base.text.encode(["a red square"]))  # fmt: skip


def _lora(base, columns, sign=1.0):
    """Puts out so many numbers of its input, at places of its own."""
    width = base.transformer.get_submodule(PATH).in_features
    eye = torch.eye(width)
    return Lora(layers={PATH: LowRank(down_RI=eye[:4], up_OR=sign * eye[:, columns])})


def test_features_are_alike_as_they_were_made(tiny_base):
    loras = {"a": _lora(tiny_base, slice(0, 4)), "b": _lora(tiny_base, slice(0, 4), -2.0),
             "c": _lora(tiny_base, slice(4, 8))}  # fmt: skip
    found = layer_features(tiny_base, loras, _inputs(tiny_base))[PATH]
    assert found.cosine["a", "b"] == pytest.approx(-1, abs=1e-5) and found.shared["a", "b"] == pytest.approx(1)
    assert found.cosine["a", "c"] == 0 == found.shuffled["a", "c"] and found.shared["a", "c"] == pytest.approx(0)
    assert abs(found.shuffled["a", "b"]) < 0.9
    assert found.loudness["b"] == pytest.approx(2 * found.loudness["a"], rel=1e-5)


def test_loudness_is_beside_what_the_weights_put_out(tiny_base):
    """A LoRA that is the layer's own weights is as loud as they are."""
    weight_OI = tiny_base.transformer.get_submodule(PATH).weight.detach().float()
    same = Lora(layers={PATH: LowRank(down_RI=weight_OI, up_OR=torch.eye(len(weight_OI)))})
    found = layer_features(tiny_base, {"a": same, "b": same}, _inputs(tiny_base))[PATH]
    assert found.loudness["a"] == pytest.approx(1, abs=1e-3) and found.cosine["a", "b"] == pytest.approx(1, abs=1e-5)
    bare = tiny_base.transformer.get_submodule(PATH)
    assert not bare._forward_hooks
