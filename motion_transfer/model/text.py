"""Prompts to text states, in the way `WanPipeline` pads them but at a fraction of its cost.

Wan2.1's text encoder is larger than its smaller transformer, and is needed for a moment only; so a large one is opened
where a prompt is new, and let go of at once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, UMT5EncoderModel

from motion_transfer.model.memory import free_memory_bytes
from motion_transfer.model.tensor_cache import TensorCache

MIN_TOKENS = 24  # short prompts are padded to, that few lengths occur
ROOM = 1.2  # beside a large encoder's weights, on the device that runs it
PADDED_TOKENS = 512  # what stock `WanPipeline` pads every prompt to, with zeros and without a mask
HIDDEN = -1e9
MAX_LISTED_WORDS = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class TextStates:
    """Text states `(B, M, text width)` and the bias `(B, M)` that cross-attention adds to their logits.

    Stock Wan attends to all zero-padded positions. They are identical tokens, so n of them weigh exactly as
    much as a single one whose logit is raised by log n: the last token here is that one.
    """

    states_BMD: Tensor
    bias_BM: Tensor

    def expand(self, batch: int) -> TextStates:
        """Repeats a single prompt for a batch."""
        return TextStates(states_BMD=self.states_BMD.expand(batch, -1, -1), bias_BM=self.bias_BM.expand(batch, -1))


def fold_padding(states_BMD: Tensor, mask_BM: Tensor, padded_tokens: int | Tensor) -> TextStates:
    """Replaces zero padding up to `padded_tokens` by one weighted zero token.

    Args:
        states_BMD: encoder output.
        mask_BM: 1 where a real token stands.
        padded_tokens: length that stock padding would reach, one number or one per prompt.
    """
    lengths_B = mask_BM.sum(1)
    pads_B = torch.as_tensor(padded_tokens, device=mask_BM.device) - lengths_B
    states = states_BMD * mask_BM[..., None].to(states_BMD.dtype)
    zero_B1D = states.new_zeros(states.shape[0], 1, states.shape[2])
    pad_bias_B = torch.where(pads_B > 0, pads_B.clamp_min(1).float().log(), torch.tensor(HIDDEN))
    bias_BM = torch.where(mask_BM > 0, 0.0, HIDDEN)
    return TextStates(states_BMD=torch.cat([states, zero_B1D], 1), bias_BM=torch.cat([bias_BM, pad_bias_B[:, None]], 1))


class TextEncoder(Protocol):
    """What turns prompts into states."""

    tokenizer: PreTrainedTokenizerBase

    def encode(self, prompts: Sequence[str], *, min_tokens: int = MIN_TOKENS) -> TextStates:
        """States of prompts, padded together; an empty string is the unconditional."""


class OpenTextEncoder:
    """A tokenizer with its UMT5 encoder, both at hand."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoder: UMT5EncoderModel, device: torch.device) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder.to(device).eval().requires_grad_(False)
        self.device = device

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], *, min_tokens: int = MIN_TOKENS) -> TextStates:
        """States of prompts, padded together; an empty string is the unconditional."""
        batch = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=PADDED_TOKENS, return_tensors="pt"
        )
        missing = min_tokens - batch.input_ids.shape[1]
        ids = torch.nn.functional.pad(batch.input_ids, (0, max(0, missing)), value=self.tokenizer.pad_token_id)
        mask = torch.nn.functional.pad(batch.attention_mask, (0, max(0, missing)))
        ids, mask = ids.to(self.device), mask.to(self.device)
        states = self.encoder(ids, mask).last_hidden_state.float()
        return fold_padding(states, mask, PADDED_TOKENS)


class VisitingTextEncoder:
    """A tokenizer, and a large UMT5 encoder that is opened where a prompt is new, and let go of at once.

    It runs on the device where that has room for it, else on the CPU, which takes some seconds for a prompt.

    Args:
        tokenizer: of the encoder.
        open_encoder: loads its weights, onto the CPU.
        num_bytes: of its weights.
        device: where the states go, and the encoder runs if there is room.
        cache: keeps the states of prompts.
        name: says which weights these are, for the cache.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        open_encoder: Callable[[], UMT5EncoderModel],
        *,
        num_bytes: int,
        device: torch.device,
        cache: TensorCache,
        name: str,
    ) -> None:
        self.tokenizer = tokenizer
        self.device = device
        self._open, self._num_bytes, self._cache, self._name = open_encoder, num_bytes, cache, name

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], *, min_tokens: int = MIN_TOKENS) -> TextStates:
        """States of prompts, padded together; an empty string is the unconditional."""
        visit = _Visit(self._open, self._num_bytes, self.device)
        try:
            states = [self._cache.get((self._name, prompt), partial(self._run, visit, prompt)) for prompt in prompts]
        finally:
            visit.end()
        longest = max(min_tokens, *(len(one) for one in states))
        states_BMD = torch.stack([torch.nn.functional.pad(one.float(), (0, 0, 0, longest - len(one)))
                                  for one in states])  # fmt: skip
        mask_BM = torch.stack([torch.arange(longest) < len(one) for one in states]).long()
        return fold_padding(states_BMD.to(self.device), mask_BM.to(self.device), PADDED_TOKENS)

    def _run(self, visit: _Visit, prompt: str) -> Tensor:
        ids = self.tokenizer([prompt], truncation=True, max_length=PADDED_TOKENS, return_tensors="pt").input_ids
        encoder = visit.encoder()
        return encoder(ids.to(encoder.device)).last_hidden_state[0].cpu()


class _Visit:
    """An encoder that is opened at its first use, and let go of at the end."""

    def __init__(self, open_encoder: Callable[[], UMT5EncoderModel], num_bytes: int, device: torch.device) -> None:
        self._open, self._num_bytes, self._device = open_encoder, num_bytes, device
        self._encoder: UMT5EncoderModel | None = None

    def encoder(self) -> UMT5EncoderModel:
        """The opened encoder, on the device if that has room, else on the CPU."""
        if self._encoder is None:
            fits = ROOM * self._num_bytes <= free_memory_bytes(self._device)
            where = self._device if fits else torch.device("cpu")
            self._encoder = self._open().to(where).eval().requires_grad_(False)
        return self._encoder

    def end(self) -> None:
        """Gives its memory back."""
        if self._encoder is None:
            return
        self._encoder = None
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


class Vocabulary:
    """The words that a base was trained on, read without opening its weights.

    Args:
        folder: of the base.

    Raises:
        OSError, ValueError: it has no tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        self._tokenizing = Lock()  # a tokenizer's settings are shared state, and pages ask at the same time

    def words(self) -> list[str]:
        """All words, sorted, of a base of few words; empty if the base reads any text."""
        words = self._tokenizer.get_vocab()
        return sorted(word for word in words if word.isalpha()) if len(words) <= MAX_LISTED_WORDS else []

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of a prompt that the vocabulary lacks; empty for tokenizers without an unknown token."""
        tokenizer = self._tokenizer
        if tokenizer.unk_token_id is None:
            return []
        words = "".join(c if c.isalnum() else " " for c in prompt.lower()).split()
        with self._tokenizing:
            nothing = tokenizer("").input_ids
            tokens = [tokenizer(word).input_ids for word in words]
        return [w for w, ids in zip(words, tokens, strict=True) if tokenizer.unk_token_id in ids or ids == nothing]
