"""Codec and text encoder that work in the first process and tell the others what they found.

So all see the same latents and states to the last bit, and one alone has the weights at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from torch import Tensor

from motion_transfer.model.codec import Codec
from motion_transfer.model.tensor_cache import TensorCache
from motion_transfer.model.text import MIN_TOKENS, TextEncoder, TextStates

Found = TypeVar("Found")


class Same(Protocol):
    """Gives every process what the first one computes; nothing of it may be on a GPU."""

    def __call__(self, compute: Callable[[], Found], /) -> Found:
        """The first process's result."""


class FirstRankText:
    """A text encoder of the first process.

    Args:
        encoder: of the first process; the others need none.
        tokenizer: its own.
        device: where the states go.
        same: tells the others.
    """

    def __init__(self, encoder: TextEncoder | None, *, tokenizer: Any, device: torch.device, same: Same) -> None:
        self.tokenizer = tokenizer
        self._encoder, self._device, self._same = encoder, device, same

    def _encode(self, prompts: Sequence[str], min_tokens: int) -> TextStates:
        assert self._encoder is not None
        found = self._encoder.encode(prompts, min_tokens=min_tokens)
        return TextStates(states_BMD=found.states_BMD.cpu(), bias_BM=found.bias_BM.cpu())

    def encode(self, prompts: Sequence[str], *, min_tokens: int = MIN_TOKENS) -> TextStates:
        """States of prompts, padded together; an empty string is the unconditional."""
        found = self._same(partial(self._encode, prompts, min_tokens))
        return TextStates(states_BMD=found.states_BMD.to(self._device), bias_BM=found.bias_BM.to(self._device))


class FirstRankCodec(Codec):
    """A codec that computes in the first process; those of the others may be without weights.

    Args:
        vae: of this process.
        device: where it computes.
        cache: keeps latents of clips, if any.
        name: says which weights these are, for the cache.
        same: tells the others.
    """

    def __init__(
        self, vae: AutoencoderKLWan, device: torch.device, *, cache: TensorCache | None, name: str, same: Same
    ) -> None:
        super().__init__(vae, device, cache, name)
        self._same = same

    def _encode(self, frames_BCTHW: Tensor) -> Tensor:
        return self._same(partial(super()._encode, frames_BCTHW))

    def decode(self, z_ZFYX: Tensor) -> np.ndarray:
        """Frames `(T, H, W, 3)` uint8."""
        return self._same(partial(super().decode, z_ZFYX))
