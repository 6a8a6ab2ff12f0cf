"""How fast a device computes what Wan2.1 is made of: matrix products, attention, a block forward and back."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from motion_transfer.atomic import write_json
from motion_transfer.errors import BadSpec
from motion_transfer.lora.attach import add_group_adapter
from motion_transfer.lora.heads import group_masks
from motion_transfer.model.attention import weigh_text
from motion_transfer.model.block_check import as_opened
from motion_transfer.model.footprint import PATCH_PX, TEXT_TOKENS, TEXT_WIDTH, forward_flops, step_flops
from motion_transfer.model.quantize import product_dtype
from motion_transfer.model.wan_shapes import LATENT_CHANNELS, WanShape, random_transformer

SPEED_FILE = "device.json"  # in the workspace
TIMESTEP = 800.0
TURNS = 3  # of which the middle one counts, after one that does not


@dataclass(frozen=True, kw_only=True)
class DeviceSpeed:
    """Operations a second, in 10^12, as measured.

    Attributes:
        device: its name.
        products: of large matrix products, in the type that they are computed in.
        attention: of self-attention forward.
        forward: of one NF4 block forward.
        step: of one NF4 block forward and back, with a LoRA in every second self-attention head.
        tokens: of the clip that all but the first are measured on.
    """

    device: str
    products: float
    attention: float
    forward: float
    step: float
    tokens: int

    def share(self, measured: float) -> float:
        """How much of the large products' rate another one is."""
        return measured / self.products


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The middle one of some turns, after a first that does not count."""
    took = []
    for _ in range(TURNS + 1):
        begin = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.monotonic() - begin)
    return max(median(took[1:]), 1e-9)


def measure_speed(name: str, device: torch.device, shape: WanShape, *, num_frames: int, side: int) -> DeviceSpeed:
    """Measures a device; takes about a minute on two CPU cores at 1024 tokens of Wan2.1-1.3B's shape.

    Args:
        name: of the device.
        device: where to compute.
        shape: of the transformer; one block of it is made, with random weights.
        num_frames: latent frames of the clip.
        side: its latent pixels on each side.

    Raises:
        BadSpec: the side is odd.
    """
    if side % 2:
        raise BadSpec(f"latent pixels come in pairs, but a side of {side} is asked for; choose an even one.")
    shape, tokens = replace(shape, num_blocks=1), num_frames * side * side // PATCH_PX
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    products = product_dtype(device, dtype)
    given = torch.randn(tokens, shape.hidden, device=device, dtype=products)
    weight = torch.randn(shape.hidden, shape.width, device=device, dtype=products)
    products_s = _seconds(lambda: given @ weight, device)
    heads = torch.randn(1, shape.num_heads, tokens, shape.head_width, device=device, dtype=dtype)
    attention_s = _seconds(lambda: F.scaled_dot_product_attention(heads, heads, heads), device)

    block = random_transformer(shape, text_width=TEXT_WIDTH)
    as_opened(block, "nf4", dtype, device)
    weigh_text(block).bias_BM = torch.zeros(1, TEXT_TOKENS, device=device)
    latents = torch.randn(1, LATENT_CHANNELS, num_frames, side, side, device=device, dtype=dtype)
    text = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, device=device, dtype=dtype)
    timestep = torch.tensor([TIMESTEP], device=device)

    def forward() -> torch.Tensor:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            return block(latents, timestep, text, return_dict=False)[0]

    with torch.no_grad():
        forward_s = _seconds(forward, device)
    temporal_LN = (torch.arange(shape.num_heads) % 2 == 0)[None]
    masks = group_masks(temporal_LN, shape.head_width)
    add_group_adapter(block, "temporal", masks, rank=16, generator=torch.Generator().manual_seed(0))
    latents.requires_grad_()  # as what a block of many is given
    step_s = _seconds(lambda: forward().float().square().mean().backward(), device)
    return DeviceSpeed(
        device=name,
        products=2e-12 * tokens * shape.hidden * shape.width / products_s,
        attention=4e-12 * tokens * tokens * shape.width / attention_s,
        forward=1e-12 * forward_flops(shape, tokens) / forward_s,
        step=1e-12 * step_flops(shape, tokens) / step_s,
        tokens=tokens,
    )


def save_speed(speed: DeviceSpeed, path: Path) -> None:
    """Writes what was measured, for `read_speed`."""
    write_json(path, asdict(speed))


def read_speed(path: Path, name: str) -> DeviceSpeed | None:
    """What was measured of the device of this name; None if nothing that can be read was."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        speed = DeviceSpeed(**{field.name: found[field.name] for field in fields(DeviceSpeed)})
        rates = (speed.products, speed.attention, speed.forward, speed.step)
        is_usable = all(isinstance(rate, float) and 0 < rate < math.inf for rate in rates)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return speed if speed.device == name and is_usable else None
