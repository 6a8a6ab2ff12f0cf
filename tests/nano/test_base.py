"""The base's training objective."""

import pytest
import torch

from motion_transfer.model.flow import TIMESTEPS, keyed_generator, mix
from motion_transfer.nano import base
from motion_transfer.nano.base import Nano, base_loss, clip_share


@pytest.fixture(scope="module")
def nano() -> Nano:
    torch.manual_seed(0)
    return Nano()


def test_an_untrained_network_predicts_nothing(nano: Nano) -> None:
    z = torch.randn(4, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss = base_loss(nano, z, ["a red star on a white background"] * 4, keyed_generator(0))
    assert loss.item() == pytest.approx(2.0, abs=0.2)  # mean square of noise - z, both of unit variance


def test_the_right_velocity_costs_nothing(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    """With z = 0 the noisy latents are sigma * noise, and the right velocity is the noise itself."""
    monkeypatch.setattr(Nano, "forward", lambda _, x, sigma, *__: x / sigma.view(-1, 1, 1, 1, 1))
    assert base_loss(nano, torch.zeros(4, 16, 1, 8, 8), [""] * 4, keyed_generator(1)).item() < 1e-8


def test_padding_is_the_padding_of_stock(nano: Nano) -> None:
    """One folded token equals the zero tokens that it stands for."""
    torch.manual_seed(1)
    for parameter in nano.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    z, sigma = torch.randn(1, 16, 1, 8, 8), torch.tensor([0.7])
    with torch.no_grad():
        ours = nano(z, sigma, ["a red star"], torch.tensor([20]))
        batch = nano.tokenizer(["a red star"], return_tensors="pt")
        states = nano.text_encoder(**batch).last_hidden_state
        padded = torch.nn.functional.pad(states, (0, 0, 0, 20 - states.shape[1]))
        nano.text_attention.bias_BM = torch.zeros(1, 20)
        stock = nano.transformer(z, sigma * TIMESTEPS, padded, return_dict=False)[0]
    assert torch.allclose(ours, stock, atol=1e-4)


def test_noise_levels_and_phases() -> None:
    z, noise = torch.ones(2, 1), torch.zeros(2, 1)
    assert mix(z, noise, torch.tensor([0.0, 1.0])).flatten().tolist() == [1.0, 0.0]
    assert clip_share(1.0, 30.0) < 0.2 < clip_share(31.0, 30.0)
    assert set(base.KINDS) == set(base.BATCH) == set(base.GROW)
