"""Prompts to text states, in the way `WanPipeline` pads them but at a fraction of its cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase, UMT5EncoderModel

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


class TextEncoder:
    """A tokenizer with its UMT5 encoder."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, encoder: UMT5EncoderModel, device: torch.device) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder.to(device).eval().requires_grad_(False)
        self.device = device

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], *, min_tokens: int = 24) -> TextStates:
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
