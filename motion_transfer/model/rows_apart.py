"""Rows of a batch that go through the network one after the other: guidance's two take half of the memory so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from motion_transfer.model.base import VideoBase


@contextmanager
def rows_apart(base: VideoBase) -> Iterator[None]:
    """While open, passes without gradients take one row at a time; as before but for the order of some sums."""
    whole, text = base.transformer.forward, base.text_attention

    def apart(z_BZFYX: Tensor, time_B: Tensor, states_BMD: Tensor, **settings: object) -> tuple[Tensor]:
        if torch.is_grad_enabled() or len(z_BZFYX) == 1:
            return whole(z_BZFYX, time_B, states_BMD, **settings)
        bias_BM, found = text.bias_BM, []
        assert bias_BM is not None
        for row in (slice(number, number + 1) for number in range(len(z_BZFYX))):
            text.bias_BM = bias_BM[row]
            found.append(whole(z_BZFYX[row], time_B[row], states_BMD[row], **settings)[0])
        text.bias_BM = bias_BM
        return (torch.cat(found),)

    base.transformer.forward = apart
    try:
        yield
    finally:
        del base.transformer.forward
