"""Head classification: bands, masses, labels, and a probe that changes nothing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from motion_transfer.methods import fym_heads
from motion_transfer.methods.fym_heads import (
    NUM_SEEDS,
    SIGMAS,
    band_masks,
    band_masses,
    label_spatial,
    map_heads,
    sample_rows,
    token_major,
)
from motion_transfer.model.attention import probed_self_attention
from motion_transfer.model.base import VideoBase
from motion_transfer.types import Latents
from motion_transfer.work import drive
from tests.conftest import BLOCKS, HEADS, Z_DIM

F, N = 7, 16  # frames, and tokens of each
LONG = 13  # nano's number of latent frames


def _full_masks(num_frames: int = F, frame_tokens: int = N) -> tuple[Tensor, Tensor]:
    return band_masks(torch.arange(num_frames * frame_tokens), num_frames, frame_tokens)


def test_token_major_is_a_transposition() -> None:
    """All frames of one position stand together."""
    index = torch.arange(F * N)
    assert torch.equal(token_major(index, F, N)[index.view(F, N).T.flatten()], index)


@pytest.mark.parametrize(("num_frames", "frame_tokens"), [(7, 16), (13, 4), (5, 64), (21, 9)])
def test_both_masks_cover_the_same_area(num_frames: int, frame_tokens: int) -> None:
    spatial, temporal = _full_masks(num_frames, frame_tokens)
    tokens = num_frames * frame_tokens
    band = sum(min(i + frame_tokens, tokens - 1) - max(i - frame_tokens, 0) + 1 for i in range(tokens))
    assert spatial.sum() == temporal.sum() == band


def test_masks_by_loops() -> None:
    spatial, temporal = _full_masks()
    for i in (0, 5, 40, F * N - 1):
        for j in range(F * N):
            assert bool(spatial[i, j]) == (abs(i - j) <= N)
            u_i, u_j = (p % N * F + p // N for p in (i, j))
            assert bool(temporal[i, j]) == (abs(u_i - u_j) <= N)


def test_rows_come_evenly_from_all_frames() -> None:
    rows = sample_rows(F, N, 35, torch.Generator().manual_seed(0))
    assert len(rows) == len(set(rows.tolist())) == 35
    assert torch.bincount(rows // N).tolist() == [5] * F
    assert len(sample_rows(F, N, 10_000, torch.Generator())) == F * N


def _random_attention(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(2 * torch.randn(1, F * N, 3, 8, generator=generator) for _ in range(2))  # type: ignore[return-value]


def _row_masses(q: Tensor, k: Tensor) -> Tensor:
    """`(N, S, 2)`: each row's attention inside each mask, from the whole map in float64."""
    maps = torch.einsum("snk,tnk->nst", q[0].double(), k[0].double()).div(math.sqrt(8)).softmax(-1)
    return torch.stack([(maps * mask).sum(-1) for mask in _full_masks()], -1)


def test_all_rows_give_the_full_map() -> None:
    q, k = _random_attention(1)
    exact = _row_masses(q, k).mean(1)
    assert (band_masses(q, k, torch.arange(F * N), F) - exact).abs().max() < 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_sampled_rows_agree_with_the_full_map(seed: int) -> None:
    """Within three standard errors of a sample of R rows (without replacement, so an upper bound)."""
    q, k = _random_attention(1)
    by_row = _row_masses(q, k)
    rows = sample_rows(F, N, 35, torch.Generator().manual_seed(seed))
    error = (band_masses(q, k, rows, F) - by_row.mean(1)).abs()
    assert (error <= 3 * by_row.std(1) / len(rows) ** 0.5).all()
    assert error.max() > 0


def _synthetic_heads() -> tuple[Tensor, Tensor]:
    """Queries and keys of two heads: one attends to its own frame, one to its own position in all frames."""
    frames = torch.eye(LONG).repeat_interleave(N, 0)  # (S, F)
    places = torch.eye(N).repeat(LONG, 1)  # (S, N)
    heads_SNK = torch.stack([torch.nn.functional.pad(x, (0, 24 - x.shape[1])) for x in (frames, places)], 1)
    return 100 * heads_SNK[None], heads_SNK[None]


def test_synthetic_heads_are_told_apart_by_far() -> None:
    """Pure same-frame and pure same-position attention: the ratio of masses exceeds 3 either way.

    The spatial band holds 3 of the F frames (2 at the ends), so the second ratio is F / (3 - 2 / F).
    """
    mass_N2 = band_masses(*_synthetic_heads(), torch.arange(LONG * N), LONG)
    same_frame, same_position = mass_N2[:, 1] / mass_N2[:, 0]
    assert same_frame < 1 / 3
    assert same_position.item() == pytest.approx(LONG / (3 - 2 / LONG), rel=1e-4)
    assert same_position > 3
    assert (mass_N2 <= 1 + 1e-5).all()
    assert mass_N2[0, 0] > 0.99
    assert mass_N2[1, 1] > 0.99
    for rule in ("code", "paper"):
        assert label_spatial(mass_N2[None], rule).tolist() == [[True, False]]
    assert label_spatial(mass_N2[None], "balanced").tolist() == [[True, False]]


def _masses(*ratios: float) -> Tensor:
    """One block of heads with these ratios of temporal to spatial mass."""
    return torch.stack([torch.full((len(ratios),), 0.1), 0.1 * torch.tensor(ratios)], -1)[None]


def test_rule_of_the_released_code_leans_spatial() -> None:
    """Temporal from mass_t = 1.3 mass_s on."""
    assert label_spatial(_masses(0.5, 0.9, 1.2, 1.29, 1.31, 2.0), "code").tolist() == [[True] * 4 + [False] * 2]


def test_rule_of_the_paper_leans_temporal() -> None:
    """Temporal where mass_s < 1.3 mass_t, that is above a ratio of 0.77."""
    assert label_spatial(_masses(0.5, 0.76, 0.78, 1.0, 1.2, 2.0), "paper").tolist() == [[True] * 2 + [False] * 4]


def test_balanced_rule_splits_any_model() -> None:
    """45% of all heads of the model are spatial, those of the lowest ratio, wherever the ratios lie."""
    ratio_LN = 0.01 * (1 + torch.rand(8, 10, generator=torch.Generator().manual_seed(0)))
    spatial_LN = label_spatial(torch.stack([torch.ones(8, 10), ratio_LN], -1), "balanced")
    assert int(spatial_LN.sum()) == 36
    assert ratio_LN[spatial_LN].max() < ratio_LN[~spatial_LN].min()


def test_equal_heads_are_all_temporal_when_balanced() -> None:
    """Without any difference nothing can be called spatial; there is always a head to learn motion in."""
    assert not label_spatial(_masses(1.0, 1.0, 1.0), "balanced").any()


def _latents() -> Latents:
    generator = torch.Generator().manual_seed(6)
    return Latents(z_ZFYX=torch.randn(Z_DIM, 5, 4, 4, generator=generator), times_F=(0.0, 1.0, 2.0, 3.0, 4.0))


def test_probing_changes_nothing(tiny_base: VideoBase) -> None:
    """The output stays bitwise the same, processors come back, and the probe sees what attention uses."""
    z, sigma_B = _latents().z_ZFYX[None], torch.tensor([0.7])
    text = tiny_base.text.encode(["a red circle"])
    processors = [block.attn1.processor for block in tiny_base.transformer.blocks]
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    outputs: dict[str, Tensor] = {}
    attn = tiny_base.transformer.blocks[1].attn1
    hook = attn.register_forward_hook(lambda m, args, kwargs, out: outputs.update(x=args[0], out=out), with_kwargs=True)
    with torch.no_grad():
        bare = tiny_base.velocity(z, sigma_B, text)
        with probed_self_attention(tiny_base.transformer, lambda layer, q, k: seen.__setitem__(layer, (q, k))):
            probed = tiny_base.velocity(z, sigma_B, text)
        q, k = seen[1]
        v = attn.to_v(outputs["x"]).unflatten(2, (HEADS, -1))
        maps = torch.einsum("bsnk,btnk->bnst", q, k).div(math.sqrt(q.shape[-1])).softmax(-1)
        own = attn.to_out[0](torch.einsum("bnst,btnk->bsnk", maps, v).flatten(2))
    hook.remove()
    assert torch.equal(bare, probed)
    assert [block.attn1.processor for block in tiny_base.transformer.blocks] == processors
    assert list(seen) == [0, 1]
    assert (own - outputs["out"]).abs().max() < 1e-4


def test_processors_come_back_after_an_error(tiny_base: VideoBase) -> None:
    processors = [block.attn1.processor for block in tiny_base.transformer.blocks]
    with pytest.raises(ZeroDivisionError), probed_self_attention(tiny_base.transformer, lambda *_: 1 / 0):
        tiny_base.velocity(_latents().z_ZFYX[None], torch.tensor([0.7]), tiny_base.text.encode([""]))
    assert [block.attn1.processor for block in tiny_base.transformer.blocks] == processors


def test_head_map_of_a_base(tiny_base: VideoBase) -> None:
    """Every head has masses in 0..1 and one label; the same clip gives the same map."""
    steps = []
    heads = drive(map_heads(tiny_base, _latents(), "a red circle"), lambda p: steps.append((p.stage, p.step, p.total)))
    draws = len(SIGMAS) * NUM_SEEDS + 1  # and one to compare with
    assert steps == [("heads", i + 1, draws) for i in range(draws)]
    assert heads.mass_LN2.shape == (BLOCKS, HEADS, 2)
    assert ((heads.mass_LN2 > 0) & (heads.mass_LN2 <= 1)).all()
    assert torch.equal(heads.temporal_LN, ~heads.spatial_LN)
    assert heads.base_hash == tiny_base.hash
    again = drive(map_heads(tiny_base, _latents(), "a red circle"))
    assert torch.equal(heads.mass_LN2, again.mass_LN2)


def test_the_noise_levels_of_the_released_code_can_be_chosen(tiny_base: VideoBase) -> None:
    heads = drive(map_heads(tiny_base, _latents(), "", rule="code", sigmas=(0.9998,)))
    assert heads.facts["sigmas"] == [0.9998]
    assert torch.equal(heads.spatial_LN, label_spatial(heads.mass_LN2, heads.facts["rule"]))


def test_a_lopsided_rule_gives_way_to_the_balanced_one(tiny_base: VideoBase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fym_heads, "ALPHA", 1e9)  # every head is spatial
    heads = drive(map_heads(tiny_base, _latents(), "a red circle", rule="code"))
    assert (heads.facts["asked_rule"], heads.facts["rule"]) == ("code", "balanced")
    assert 0.25 <= heads.facts["temporal_share"] <= 0.75
    assert heads.facts["temporal_share"] == heads.temporal_LN.float().mean().item()
    assert 0 <= heads.facts["released_sigma_agrees"] <= 1
