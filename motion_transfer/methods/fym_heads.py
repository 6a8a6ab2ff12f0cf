"""Which attention heads look within a frame and which along time (Follow-Your-Motion, arXiv 2506.05207, 3.2).

A head's attention map is compared with two bands of equal area: around the diagonal in frame-major token order
(spatial), and in token-major order (temporal, as in Sparse VideoGen, arXiv 2502.01776, section 3.1). The paper
says both "norm" and "cosine"; with equal areas both give the ratio of the attention masses inside the bands.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from motion_transfer.model.attention import probed_self_attention
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import keyed_generator, mix
from motion_transfer.types import HeadMap, Latents, Progress, Work

ALPHA = 1.3
BALANCED_QUANTILE = 0.45
SIGMAS = (0.95, 0.8, 0.6)
RELEASED_SIGMA = 0.9998  # the released code's: nearly pure noise, where matching is not formed yet
LEAST_SHARE = 0.25  # of all heads in either group
NUM_SEEDS = 2
NUM_ROWS = 256
ROWS_AT_ONCE = 64


def token_major(index_S: Tensor, num_frames: int, frame_tokens: int) -> Tensor:
    """Place of frame-major tokens when all frames of one position stand together."""
    return (index_S % frame_tokens) * num_frames + index_S // frame_tokens


def band_masks(rows_R: Tensor, num_frames: int, frame_tokens: int, width_frames: int = 1) -> tuple[Tensor, Tensor]:
    """Rows of the spatial and temporal mask, each `(R, S)` bool; token-granular, so tiny frames work too."""
    keys_S = torch.arange(num_frames * frame_tokens)
    half_width = width_frames * frame_tokens
    spatial = (rows_R[:, None] - keys_S).abs() <= half_width
    u_rows, u_keys = (token_major(i, num_frames, frame_tokens) for i in (rows_R, keys_S))
    return spatial, (u_rows[:, None] - u_keys).abs() <= half_width


def sample_rows(num_frames: int, frame_tokens: int, num_rows: int, generator: torch.Generator) -> Tensor:
    """Query rows, equally many from every frame, because the bands are cut off at both ends."""
    each = min(frame_tokens, math.ceil(num_rows / num_frames))
    picks = [f * frame_tokens + torch.randperm(frame_tokens, generator=generator)[:each] for f in range(num_frames)]
    return torch.cat(picks)


def band_masses(q_BSNK: Tensor, k_BSNK: Tensor, rows_R: Tensor, num_frames: int) -> Tensor:
    """Share of attention inside each band, `(N, 2)`: mean over the rows of exact softmax rows."""
    _, tokens, heads, width = q_BSNK.shape
    spatial, temporal = (m.to(q_BSNK.device) for m in band_masks(rows_R, num_frames, tokens // num_frames))
    k_NKS = k_BSNK[0].float().permute(1, 2, 0)
    mass_N2 = torch.zeros(heads, 2, device=q_BSNK.device)
    for part in torch.arange(len(rows_R)).split(ROWS_AT_ONCE):
        q_NRK = q_BSNK[0, rows_R[part]].float().permute(1, 0, 2)
        map_NRS = (q_NRK @ k_NKS / width**0.5).softmax(-1)
        mass_N2[:, 0] += (map_NRS * spatial[part]).sum((1, 2))
        mass_N2[:, 1] += (map_NRS * temporal[part]).sum((1, 2))
    return mass_N2 / len(rows_R)


def label_spatial(mass_LN2: Tensor, rule: str) -> Tensor:
    """Boolean `(L, N)`: which heads are spatial.

    "code": temporal where mass_t >= 1.3 mass_s, as the released code does; "paper": temporal where
    mass_s < 1.3 mass_t, as the text says, the opposite lean; "balanced": temporal above the 0.45 quantile of
    mass_t / mass_s, for small models whose heads would all fall on one side.
    """
    ratio_LN = mass_LN2[..., 1] / mass_LN2[..., 0].clamp_min(1e-12)
    if rule == "code":
        return ratio_LN < ALPHA
    if rule == "paper":
        return ratio_LN <= 1 / ALPHA
    return ratio_LN < torch.quantile(ratio_LN.flatten(), BALANCED_QUANTILE)


@torch.no_grad()
def _masses_at(base: VideoBase, latents: Latents, caption: str, sigma: float, seed: int) -> Tensor:
    z = latents.z_ZFYX[None]
    num_frames, frame_tokens = z.shape[2], z.shape[3] * z.shape[4] // 4
    generator = keyed_generator("heads", seed)
    rows = sample_rows(num_frames, frame_tokens, NUM_ROWS, generator)
    noise = torch.randn(z.shape, generator=generator)
    mass_LN2 = torch.zeros(len(base.transformer.blocks), base.num_heads, 2)

    def probe(layer: int, q_BSNK: Tensor, k_BSNK: Tensor) -> None:
        mass_LN2[layer] = band_masses(q_BSNK, k_BSNK, rows, num_frames).cpu()

    sigma_B = torch.tensor([sigma])
    with probed_self_attention(base.transformer, probe):
        base.velocity(mix(z, noise, sigma_B), sigma_B, base.text.encode([caption]))
    return mass_LN2


def map_heads(
    base: VideoBase, latents: Latents, caption: str, *, rule: str = "balanced", sigmas: tuple[float, ...] = SIGMAS
) -> Work[HeadMap]:
    """Labels every self-attention head on the full-length clip, conditional branch.

    Where a rule leaves less than a quarter of all heads in one group, "balanced" takes its place. The facts state the
    rule used, the share of temporal heads, and the share of labels that the released code's noise level agrees with.

    Args:
        base: without adapters.
        latents: of the whole reference clip; a sparse one would blur the bands.
        caption: of the reference clip.
        rule: see `label_spatial`.
        sigmas: noise levels whose masses are averaged, over two noise seeds each.
    """
    draws = [(sigma, seed) for sigma in sigmas for seed in range(NUM_SEEDS)]
    total_LN2 = torch.zeros(len(base.transformer.blocks), base.num_heads, 2)
    for i, (sigma, seed) in enumerate(draws):
        total_LN2 += _masses_at(base, latents, caption, sigma, seed)
        yield Progress(stage="heads", step=i + 1, total=len(draws) + 1)
    mass_LN2 = total_LN2 / len(draws)
    released_LN2 = _masses_at(base, latents, caption, RELEASED_SIGMA, 0)
    facts = {"asked_rule": rule, "alpha": ALPHA, "quantile": BALANCED_QUANTILE, "band_frames": 1,
             "sigmas": list(sigmas), "seeds": NUM_SEEDS, "rows": NUM_ROWS}  # fmt: skip
    if not LEAST_SHARE <= _share(~label_spatial(mass_LN2, rule)) <= 1 - LEAST_SHARE:
        rule = "balanced"
    spatial_LN = label_spatial(mass_LN2, rule)
    facts |= {"rule": rule, "temporal_share": _share(~spatial_LN),
              "released_sigma_agrees": _share(spatial_LN == label_spatial(released_LN2, rule))}  # fmt: skip
    heads = HeadMap(mass_LN2=mass_LN2, spatial_LN=spatial_LN, base_hash=base.hash, facts=facts)
    yield Progress(stage="heads", step=len(draws) + 1, total=len(draws) + 1, heads=heads)
    return heads


def _share(chosen_LN: Tensor) -> float:
    return round(chosen_LN.float().mean().item(), 4)
