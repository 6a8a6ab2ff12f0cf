"""What a Wan transformer takes of memory and arithmetic, from its shape alone.

Weights are counted as diffusers builds them. What a tuning step keeps for its backward pass was read off diffusers' and
peft's code tensor by tensor, and is measured on blocks of Wan2.1's own shapes by `python -m motion_transfer
block-check`. Arithmetic counts two operations per multiplication and addition.
"""

from __future__ import annotations

from dataclasses import dataclass

from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WanShape

TEXT_TOKENS, TEXT_WIDTH = 512, 4096  # of Wan's text encoder
PATCH_PX, FREQUENCIES = 4, 256  # latent pixels of a token; channels of the noise level's embedding
FLOAT32 = 4
STATES_PER_WEIGHT = 4  # a LoRA's weight, its gradient, and AdamW's two moments

# NF4 (QLoRA, arXiv 2305.14314, section 3): 4 bits, one 8-bit scale for 64 weights, one float32 for 256 scales.
_QUANTIZED_BYTES = {"nf4": 0.5 + 1 / 64 + FLOAT32 / (64 * 256), "int8": 1.0}


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """How many weights there are: `linear` in the blocks' linear layers, which are quantized; `sensitive` ones, which
    diffusers keeps in float32; and all `other` ones.
    """

    linear: int
    sensitive: int
    other: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.linear + self.sensitive + self.other


def count_parameters(shape: WanShape, *, text_width: int = TEXT_WIDTH) -> Parameters:
    """The weights of a text-to-video transformer of this shape."""
    d, f = shape.width, shape.hidden
    biases, query_key_norms, cross_norm, modulation = 9 * d + f, 4 * d, 2 * d, 6 * d
    noise_level = FREQUENCIES * d + d + d * d + d
    text = text_width * d + d + d * d + d
    patches = LATENT_CHANNELS * PATCH_PX
    return Parameters(
        linear=shape.num_blocks * (8 * d * d + 2 * d * f),
        sensitive=shape.num_blocks * (cross_norm + modulation) + noise_level + 2 * d,
        other=shape.num_blocks * (biases + query_key_norms) + text + 6 * (d * d + d) + 2 * patches * d + d + patches,
    )


def weight_bytes(shape: WanShape, precision: str, *, itemsize: int = 2, text_width: int = TEXT_WIDTH) -> int:
    """Bytes of the weights at rest.

    Args:
        shape: of the transformer.
        precision: one of `PRECISIONS`.
        itemsize: bytes of the numbers that are computed with: 2 on a GPU and for bf16, else 4.
        text_width: channels of the text states.
    """
    counted = count_parameters(shape, text_width=text_width)
    each = _QUANTIZED_BYTES.get(precision, float(itemsize))
    rows = shape.num_blocks * (9 * shape.width + shape.hidden) if precision == "int8" else 0  # one scale each
    return round(counted.linear * each + FLOAT32 * (counted.sensitive + rows) + counted.other * itemsize)


def lora_bytes(shape: WanShape, rank: int, num_modules: int = 4) -> int:
    """Bytes of a LoRA on `num_modules` square layers of every block while it learns: weights, gradients and moments."""
    return FLOAT32 * STATES_PER_WEIGHT * shape.num_blocks * num_modules * rank * 2 * shape.width


def saved_bytes(shape: WanShape, tokens: int, rank: int, *, itemsize: int = 2, text_tokens: int = TEXT_TOKENS) -> int:
    """Bytes that one block keeps from the forward pass for the backward pass, of one clip without checkpointing.

    By token and in units of the width d: six float32 tensors (norms, gates, residual sums) are 24 d. In bfloat16 six
    queries, keys, values and their like are 12 d, and the float32 copies that peft makes of the inputs of four LoRA
    layers 16 d; in float32 they are 24 d and 4 d, for no copies are needed: the same sum. The feed-forward layer keeps
    its hidden channels once, each LoRA layer its `rank` products, attention two numbers for each head, norms nine.

    Left out is what isn't kept by autograd: the inputs that bitsandbytes' int8 layers hold; and the maps of attention
    without a fused kernel.

    Args:
        shape: of the transformer.
        tokens: of the clip.
        rank: of the LoRA on the self-attention's four layers.
        itemsize: bytes of the numbers that are computed with.
        text_tokens: of the prompt.
    """
    numbers = 4 * rank + 2 * shape.num_heads + 9
    by_token = 52 * shape.width + itemsize * shape.hidden + FLOAT32 * numbers
    return tokens * by_token + 2 * text_tokens * shape.width * itemsize


def forward_flops(shape: WanShape, tokens: int, *, text_tokens: int = TEXT_TOKENS) -> float:
    """Operations of one forward pass on one clip, embeddings left out."""
    linear, attention = _block_flops(shape, tokens, text_tokens)
    return shape.num_blocks * (linear + attention)


def step_flops(shape: WanShape, tokens: int, *, checkpointed: int = 0, text_tokens: int = TEXT_TOKENS) -> float:
    """Operations of one tuning step on one clip, with the base frozen.

    The backward pass takes once what the linear layers took, whose own weights get no gradient, and 2.5 times what
    attention took, whose scores are made anew (FlashAttention-2, arXiv 2307.08691, section 4.1); checkpointed blocks
    run forward once more.

    Args:
        shape: of the transformer.
        tokens: of the clip.
        checkpointed: blocks that keep nothing but their input.
        text_tokens: of the prompt.
    """
    linear, attention = _block_flops(shape, tokens, text_tokens)
    return shape.num_blocks * (2 * linear + 3.5 * attention) + checkpointed * (linear + attention)


def _block_flops(shape: WanShape, tokens: int, text_tokens: int) -> tuple[float, float]:
    """Operations of one block's linear layers and of its attentions."""
    d, f = shape.width, shape.hidden
    linear = tokens * (12 * d * d + 4 * d * f) + 4 * text_tokens * d * d
    return float(linear), float(tokens * 4 * d * (tokens + text_tokens))
