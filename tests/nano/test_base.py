"""The base's training objective."""

import pytest
import torch

from motion_transfer.model.flow import TIMESTEPS, keyed_generator, mix
from motion_transfer.nano import base
from motion_transfer.nano.base import (
    KEEP_SHARES,
    LAYOUT_WEIGHT,
    Nano,
    base_loss,
    clip_share,
    noise_levels,
    object_weights,
    thinning,
)
from motion_transfer.nano.latents import Items
from motion_transfer.nano.layout import SAMPLES_PER_CELL


@pytest.fixture(scope="module")
def nano() -> Nano:
    torch.manual_seed(0)
    return Nano()


def _items(z: torch.Tensor, near: bool) -> Items:
    b, _, f, y, x = z.shape
    layout = torch.full((b, f, SAMPLES_PER_CELL * y, SAMPLES_PER_CELL * x), int(near), dtype=torch.uint8)
    captions = ["a red star on a white background"] * len(z)
    return Items(z_BZFYX=z, captions=captions, layout_BFHW=layout, times_F=tuple(map(float, range(f))))


def test_an_untrained_network_predicts_nothing(nano: Nano) -> None:
    z = torch.randn(4, 16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    loss, figures = base_loss(nano, _items(z, False), keyed_generator(0))
    assert figures["velocity"] == pytest.approx(2.0, abs=0.2)  # mean square of noise - z, of unit variance
    assert loss.item() == pytest.approx(figures["velocity"] + LAYOUT_WEIGHT * figures["layout"], rel=1e-5)
    near, figures_near = base_loss(nano, _items(z, True), keyed_generator(0))
    assert figures_near["velocity"] == figures["velocity"] and near.item() > 3 * figures["velocity"]


def test_the_right_velocity_costs_nothing(nano: Nano, monkeypatch: pytest.MonkeyPatch) -> None:
    """With z = 0 the noisy latents are sigma * noise, and the right velocity is the noise itself."""
    monkeypatch.setattr(Nano, "forward", lambda _, x, sigma, *__: x / sigma.view(-1, 1, 1, 1, 1))
    monkeypatch.setattr(Nano, "layout_loss", lambda *_: torch.zeros(()))
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


def test_thinned_clips_keep_their_places_in_time(nano: Nano) -> None:
    z = torch.arange(13.0).view(1, 1, 13, 1, 1).expand(2, 16, 13, 8, 8)
    thin = _items(z, False).thinned(3, 1)
    assert thin.times_F == (1.0, 4.0, 7.0, 10.0)
    assert thin.z_BZFYX[0, 0, :, 0, 0].tolist() == [1.0, 4.0, 7.0, 10.0] and thin.layout_BFHW.shape[1] == 4
    whole = [thinning(step) == (1, 0) for step in range(500)]
    assert sum(whole) / 500 == pytest.approx(KEEP_SHARES[0], abs=0.07)
    assert all(offset < every for every, offset in map(thinning, range(500)))


def test_places_in_time_reach_the_network(nano: Nano) -> None:
    torch.manual_seed(1)
    for parameter in nano.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    z, sigma, padded = torch.randn(1, 16, 3, 8, 8), torch.tensor([0.7]), torch.tensor([20])
    with torch.no_grad():
        plain = nano(z, sigma, ["a red star"], padded)
        assert torch.equal(plain, nano(z, sigma, ["a red star"], padded, (0.0, 1.0, 2.0)))
        assert not torch.allclose(plain, nano(z, sigma, ["a red star"], padded, (0.0, 4.0, 8.0)), atol=1e-4)


def test_trembling_counts_and_a_lasting_error_does_not() -> None:
    weights = torch.ones(2, 1, 6, 4, 4)
    lasting = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).expand(-1, -1, 6, -1, -1)
    assert base.unsteadiness(lasting, weights) == 0
    independent = torch.randn(2, 3, 6, 32, 32, generator=torch.Generator().manual_seed(1))
    assert base.unsteadiness(independent, torch.ones(2, 1, 6, 32, 32)).item() == pytest.approx(1, abs=0.05)
    assert base.unsteadiness(independent[:, :, :1], weights[:, :, :1]) == 0
