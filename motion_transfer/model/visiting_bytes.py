"""What weights that visit the device (`model.offload`) take of it, and of the machine's memory, from shapes alone."""

from __future__ import annotations

from dataclasses import replace

from motion_transfer.model.footprint import FLOAT32, TEXT_WIDTH, count_parameters, weight_bytes
from motion_transfer.model.offload import host_bytes
from motion_transfer.model.wan_shapes import WanShape

_NF4_SCALES = 1 / 64 + FLOAT32 / (64 * 256)  # bytes for each weight, see `model.footprint`


def visiting_bytes(shape: WanShape, precision: str, *, itemsize: int = 2, text_width: int = TEXT_WIDTH) -> int:
    """Bytes on the device: the weights outside the blocks, those of one block, and the scales of all.

    Args:
        shape: of the transformer.
        precision: of its weights.
        itemsize: bytes of the numbers that are computed with.
        text_width: channels of the text states.
    """
    one = replace(shape, num_blocks=1)
    rows, linear = 9 * one.width + one.hidden, count_parameters(one).linear
    scales = {"nf4": linear * _NF4_SCALES, "int8": float(FLOAT32 * rows)}.get(precision, 0.0)
    stays = weight_bytes(one, precision, itemsize=itemsize, text_width=text_width)
    return round(stays + (shape.num_blocks - 1) * scales)


def away_bytes(shape: WanShape, precision: str, *, itemsize: int = 2) -> int:
    """Bytes of the machine's memory that hold the blocks of a GPU."""
    one, two = (weight_bytes(replace(shape, num_blocks=n), precision, itemsize=itemsize) for n in (1, 2))
    return shape.num_blocks * host_bytes(two - one)
