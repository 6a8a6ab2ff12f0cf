"""Who says how well a picture fits a text: nano-clip for the procedural world's words, OpenAI's CLIP for all others.

CLIP (arXiv 2103.00020) is used where its weights are on this machine already; nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from motion_transfer.errors import MissingWeights
from motion_transfer.model.contrast import open_contrast

CLIP_NAME = "openai/clip-vit-base-patch32"
FRAMES_AT_ONCE = 16


class Embedder(Protocol):
    """Puts pictures and texts on one unit sphere."""

    def embed_frames(self, frames_THWC: np.ndarray) -> Tensor:
        """Unit vectors `(T, D)` of uint8 frames of any size."""

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(B, D)` of texts."""


class ReleasedClip:
    """CLIP as OpenAI released it, from a folder or from the Hub's cache.

    Raises:
        MissingWeights: they are not there.
    """

    def __init__(self, place: str | Path = CLIP_NAME) -> None:
        try:
            self.model = CLIPModel.from_pretrained(place, local_files_only=True).eval().requires_grad_(False)
            self.tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True)
        except OSError as error:
            raise MissingWeights(
                f"CLIP's weights are expected in {place}, but are not on this machine; `hf download {CLIP_NAME}` "
                "fetches them."
            ) from error
        self.side_px = self.model.config.vision_config.image_size
        self.max_tokens = self.model.config.text_config.max_position_embeddings

    @torch.no_grad()
    def embed_frames(self, frames_THWC: np.ndarray) -> Tensor:
        """Unit vectors `(T, D)` of the frames' middle squares, prepared as in CLIP's release."""
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
        parts = []
        for part_THWC in np.array_split(frames_THWC, range(FRAMES_AT_ONCE, len(frames_THWC), FRAMES_AT_ONCE)):
            height, width = part_THWC.shape[1:3]
            side, top, left = min(height, width), (height - width) // 2, (width - height) // 2
            square = part_THWC[:, max(0, top) :, max(0, left) :][:, :side, :side]
            pictures = torch.from_numpy(np.ascontiguousarray(square)).permute(0, 3, 1, 2).float()
            pictures = F.interpolate(pictures, (self.side_px, self.side_px), mode="bicubic", antialias=True)
            pixels = (pictures.clamp(0, 255) / 255 - mean) / std
            parts.append(self.model.get_image_features(pixel_values=pixels).pooler_output)
        return F.normalize(torch.cat(parts), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `(B, D)`; what is longer than CLIP's 77 tokens is cut off."""
        tokens = self.tokenizer(
            list(texts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        return F.normalize(self.model.get_text_features(**tokens).pooler_output, dim=-1)


@lru_cache(maxsize=1)
def world_embedder() -> Embedder:
    """nano-clip, for texts in the procedural world's words.

    Raises:
        MissingWeights: it is not there.
    """
    return open_contrast()


@lru_cache(maxsize=1)
def general_embedder() -> Embedder:
    """CLIP, for all other texts.

    Raises:
        MissingWeights: it is not there.
    """
    return ReleasedClip()
