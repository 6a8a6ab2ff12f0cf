"""Which latent frames of a clip its motion is learned from (Follow-Your-Motion, arXiv 2506.05207, section 3.3)."""

from __future__ import annotations

from motion_transfer.types import Latents

CHEAP_TOKENS = 1024  # a clip this short is learned whole


def sparse_latents(latents: Latents, num_sparse: int, offset: int = 0) -> Latents:
    """Every m-th latent frame of the full clip from `offset` on, each keeping its place in time."""
    stride = (latents.z_ZFYX.shape[1] - 1) // (num_sparse - 1)
    keep = list(range(offset, latents.z_ZFYX.shape[1], stride))
    return Latents(z_ZFYX=latents.z_ZFYX[:, keep], times_F=tuple(latents.times_F[i] for i in keep))


def legal_sparse_latents(num_latents: int) -> tuple[int, ...]:
    """Lengths whose evenly spaced frames fall on whole latent frames of the full clip."""
    return tuple(n for n in range(2, num_latents + 1) if (num_latents - 1) % (n - 1) == 0)


def default_sparse_latents(num_latents: int, frame_tokens: int) -> int:
    """All latent frames where that is cheap; else the shortest legal length of at least five.

    That is 17 of Wan's 81 frames (arXiv 2506.05207, section 3.3). Sparse sampling saves time on long sequences; a
    small model learns the path much better from all frames.
    """
    if num_latents * frame_tokens <= CHEAP_TOKENS:
        return num_latents
    return next(n for n in legal_sparse_latents(num_latents) if n >= min(5, num_latents))
