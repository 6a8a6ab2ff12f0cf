"""The base's training objective."""

import pytest
import torch

from motion_transfer.model.flow import TIMESTEPS, keyed_generator, mix
from motion_transfer.nano import base
from motion_transfer.nano.base import Nano, base_loss, clip_share, noise_levels, object_weights
from motion_transfer.nano.latents import Items


@pytest.fixture(scope="module")
def nano() -> Nano:
    torch.manual_seed(0)
    return Nano()


def _items(z: torch.Tensor, near: bool) -> Items:
    cells = torch.full((z.shape[0], *z.shape[2:]), near)
    return Items(z_BZFYX=z, captions=["a red star on a white background"] * len(z), near_BFYX=cells)


def test_an_untrained_network_predicts_nothing(nano: Nano) -> None:
    z = torch.randn(4, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss, square = base_loss(nano, _items(z, False), keyed_generator(0))
    assert loss.item() == square.item() == pytest.approx(2.0, abs=0.2)  # mean square of noise - z, of unit variance
    near, square_near = base_loss(nano, _items(z, True), keyed_generator(0))
    assert square_near.item() == square.item() and near.item() > 3 * square.item()


def test_the_right_velocity_costs_nothing(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    """With z = 0 the noisy latents are sigma * noise, and the right velocity is the noise itself."""
    monkeypatch.setattr(Nano, "forward", lambda _, x, sigma, *__: x / sigma.view(-1, 1, 1, 1, 1))
    assert base_loss(nano, _items(torch.zeros(4, 16, 1, 8, 8), True), keyed_generator(1))[0].item() < 1e-8


def test_noise_levels_keep_to_their_slices() -> None:
    """Logit-normal around the shift, with heavier tails; every draw of a batch covers the whole range."""
    sigma = torch.cat([noise_levels(64, 3.0, keyed_generator("levels", i)) for i in range(200)])
    assert sigma.min() > 0 and sigma.max() < 1
    assert sigma.median().item() == pytest.approx(0.75, abs=0.01)  # logit 0 moved by log 3
    normal = torch.special.ndtr(torch.tensor([0.95]).logit() - torch.tensor(3.0).log()).item()
    logistic = torch.sigmoid(torch.tensor([0.95]).logit() - torch.tensor(3.0).log()).item()
    assert (sigma < 0.95).float().mean().item() == pytest.approx(0.8 * normal + 0.2 * logistic, abs=0.01)
    means = [noise_levels(64, 3.0, keyed_generator("levels", i)).logit().mean().item() for i in range(50)]
    assert max(means) - min(means) < 0.5


def test_objects_weigh_more_only_where_they_can_be_seen() -> None:
    near = torch.zeros(4, 1, 2, 2, dtype=torch.bool)
    near[:, 0, 0, 0] = True
    weights = object_weights(near, torch.tensor([0.2, 0.8, 0.875, 0.96]))
    assert weights.shape == (4, 1, 1, 2, 2)
    assert weights[:, 0, 0, 0, 0].tolist() == pytest.approx([6.0, 6.0, 3.5, 1.0])
    assert (weights[:, 0, 0, 1] == 1).all()


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
