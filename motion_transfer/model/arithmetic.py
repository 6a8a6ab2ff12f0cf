"""Operations of a whole Wan transformer, forward and in a tuning step, from its shape.

A multiplication and an addition are two. `model.footprint` counts the blocks alone, for plans; here all matrix products
count, a LoRA's own and the embeddings' too, for they are set against those that a device was measured at.
"""

from __future__ import annotations

from dataclasses import dataclass

from motion_transfer.model.footprint import FREQUENCIES, PATCH_PX, TEXT_TOKENS, TEXT_WIDTH, forward_flops, step_flops
from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WanShape


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What operations follow from.

    Attributes:
        shape: of the transformer.
        text_tokens: of a prompt.
        text_width: channels of the text states.
        channels: of the latents.
    """

    shape: WanShape
    text_tokens: int = TEXT_TOKENS
    text_width: int = TEXT_WIDTH
    channels: int = LATENT_CHANNELS

    def forward(self, tokens: int) -> float:
        """Operations of a forward pass on one clip."""
        return forward_flops(self.shape, tokens, text_tokens=self.text_tokens) + self._embeddings(tokens)

    def step(self, tokens: int, *, rank: int, num_modules: int = 4, checkpointed: int = 0) -> float:
        """Operations of a tuning step on one clip, with the base frozen.

        Gradients end at the first block's queries, keys and values, and where text comes in. Attention's backward pass
        counts as 2.5 forward ones (FlashAttention-2, arXiv 2307.08691, section 4.1).

        Args:
            tokens: of the clip.
            rank: of the LoRA that learns; others are left out.
            num_modules: square layers of each self-attention that it is on: queries, keys and values, and the output.
            checkpointed: blocks that run forward twice.
        """
        d, blocks = self.shape.width, self.shape.num_blocks
        whole = step_flops(self.shape, tokens, checkpointed=checkpointed, text_tokens=self.text_tokens)
        whole += self._embeddings(tokens) + self._patches(tokens)
        whole -= blocks * 4 * self.text_tokens * d * d + 6 * tokens * d * d  # gradients that nothing asks for
        lora = 4 * tokens * rank * d  # of one layer, forward; the backward pass is twice that
        return whole + (3 * blocks + checkpointed) * num_modules * lora - 3 * lora / 2

    def _patches(self, tokens: int) -> float:
        """Into the width or out of it."""
        return 2.0 * tokens * self.channels * PATCH_PX * self.shape.width

    def _embeddings(self, tokens: int) -> float:
        """Of patches, in and out, of the text, and of the noise level."""
        d = self.shape.width
        text = 2 * self.text_tokens * (self.text_width * d + d * d)
        return 2 * self._patches(tokens) + text + 2 * (FREQUENCIES * d + 7 * d * d)
