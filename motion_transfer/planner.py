"""How much memory and time each stage will need, told from shapes alone, and what fits a machine.

What a stage keeps is counted (`model.footprint`); what it takes for a moment was rehearsed at full size
(`model.rehearsal`), and is proportional to tokens and channels, or to pixels. Time is operations by the rate that a
device was measured at (`model.device_speed`).

A LoRA that is part of a base (`lora.fuse`) becomes its weights' sum with them, and takes nothing of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motion_transfer.machine import Machine, this_machine
from motion_transfer.methods.fym_frames import default_sparse_latents
from motion_transfer.methods.fym_heads import NUM_SEEDS, SIGMAS
from motion_transfer.methods.fym_tune import rows_at_once
from motion_transfer.model.base import VideoBase
from motion_transfer.model.catalog import WAN_NATIVE, BaseSpec
from motion_transfer.model.checkpointing import ALL, RUNGS, num_checkpointed
from motion_transfer.model.device_speed import SPEED_FILE, DeviceSpeed, read_speed
from motion_transfer.model.distilled import suited
from motion_transfer.model.footprint import (
    FLOAT32,
    PATCH_PX,
    TEXT_WIDTH,
    forward_flops,
    lora_bytes,
    saved_bytes,
    step_flops,
    weight_bytes,
)
from motion_transfer.model.offload import VISITING
from motion_transfer.model.visiting_bytes import away_bytes, visiting_bytes
from motion_transfer.model.wan_shapes import WAN_SHAPES, WanShape, shape_of
from motion_transfer.types import RenderSpec, TuneSpec

# Bytes for each token and channel that a pass takes for a moment: backwards; forwards, of the width and of the hidden.
BACKWARD, FORWARD_WIDTH, FORWARD_HIDDEN = 27, 17.5, 2.5
CODEC_WIDTH, CODEC_WEIGHTS = 96, 126_892_531  # of Wan2.1's codec
ENCODING, DECODING = 15_100, 20_500  # bytes a pixel in float32, of a codec of that width
RESERVED_GPU = 10**9  # what driver, PyTorch and their libraries take of a GPU
RESERVED_CPU = 8 * 10**8  # what the program itself takes of a machine's memory
SHOWN_PRECISIONS = ("nf4", "int8", "bf16")
MARGIN = 1.1  # allocators leave gaps
TOGETHER, APART = "together", "apart"  # guidance's rows go through the network
LEARNING_RUNGS, RENDERING_RUNGS = (*RUNGS, VISITING), (TOGETHER, APART, VISITING)  # by memory, the most first
TIMED_WIDTH = 1536  # of the block that devices are measured with; narrower ones take longer than their operations say


@dataclass(frozen=True, kw_only=True)
class ModelSize:
    """What memory follows from, of a base that need not be here.

    Attributes:
        shape: of the transformer.
        height: of its clips, in pixels.
        width: of its clips, in pixels.
        num_latents: latent frames of a clip.
        frame_tokens: tokens of a latent frame.
        codec_width: channels of the codec's first layer.
        text_width: channels of the text states.
    """

    shape: WanShape
    height: int
    width: int
    num_latents: int
    frame_tokens: int
    codec_width: int = CODEC_WIDTH
    text_width: int = TEXT_WIDTH

    def tokens(self, num_latents: int) -> int:
        """Tokens of so many latent frames."""
        return num_latents * self.frame_tokens


def _size(shape: WanShape, native: Any, codec: Any, text_width: int) -> ModelSize:
    scale = codec["scale_factor_spatial"]
    return ModelSize(
        shape=shape,
        height=native["height"],
        width=native["width"],
        num_latents=(native["num_frames"] - 1) // codec["scale_factor_temporal"] + 1,
        frame_tokens=native["height"] * native["width"] // (scale * scale * PATCH_PX),
        codec_width=codec["decoder_base_dim"] or codec["base_dim"],
        text_width=text_width,
    )


_WAN_CODEC = {"scale_factor_spatial": 8, "scale_factor_temporal": 4, "base_dim": CODEC_WIDTH, "decoder_base_dim": None}
WAN_SIZES = {
    f"Wan2.1 {name.upper()}": _size(shape, WAN_NATIVE, _WAN_CODEC, TEXT_WIDTH) for name, shape in WAN_SHAPES.items()
}


def size_in(spec: BaseSpec) -> ModelSize:
    """The size of a base that isn't opened, by its folder's configuration.

    Raises:
        OSError, ValueError, KeyError: the folder is incomplete.
    """
    config = json.loads((spec.folder / "transformer" / "config.json").read_text())
    codec = {"decoder_base_dim": None} | json.loads((spec.folder / "vae" / "config.json").read_text())
    shape = WanShape(num_blocks=config["num_layers"], num_heads=config["num_attention_heads"],
                     hidden=config["ffn_dim"], head_width=config["attention_head_dim"])  # fmt: skip
    return _size(shape, vars(spec), codec, config["text_dim"])


def size_of(base: VideoBase) -> ModelSize:
    """The size of an opened base."""
    codec = {"decoder_base_dim": None} | dict(base.codec.vae.config)
    return _size(shape_of(base.transformer), vars(base.spec), codec, base.transformer.config.text_dim)


def _sparse_latents(size: ModelSize, spec: TuneSpec) -> int:
    return spec.sparse_latents or default_sparse_latents(size.num_latents, size.frame_tokens)


def learning_tokens(size: ModelSize, spec: TuneSpec) -> int:
    """Tokens of a clip as the temporal stage sees it."""
    return size.tokens(_sparse_latents(size, spec))


def checkpointing(rung: str) -> str:
    """The checkpointing of a rung of learning: where weights visit, all that there is."""
    return ALL if rung == VISITING else rung


def learning_bytes(size: ModelSize, spec: TuneSpec, rung: str, *, itemsize: int = 2) -> int:
    """Memory that a tuning step needs beside the base's weights.

    Args:
        size: of the base.
        spec: settings.
        rung: one of `LEARNING_RUNGS`.
        itemsize: bytes of the numbers that are computed with.
    """
    shape = size.shape
    num_again = num_checkpointed(shape.num_blocks, checkpointing(rung))

    def step(rows: int, num_latents: int) -> int:
        tokens = size.tokens(num_latents)
        rows = rows_at_once(rows, tokens)
        whole = saved_bytes(shape, tokens, spec.rank, itemsize=itemsize)
        # When a checkpointed block is made anew, the last block, which never is one, has let go of what it kept.
        kept = (shape.num_blocks - num_again) * whole + num_again * tokens * shape.width * itemsize
        return rows * (kept + BACKWARD * tokens * shape.width)

    steps = [step(spec.temporal_batch, _sparse_latents(size, spec))]
    steps += [step(spec.spatial_batch, 1)] if spec.spatial_steps else []
    return max(steps) + 2 * lora_bytes(shape, spec.rank)


def forward_bytes(size: ModelSize, *, rows: int, itemsize: int = 2) -> int:
    """Memory that a pass over a whole clip needs beside the base's weights, without gradients."""
    channels = FORWARD_WIDTH * size.shape.width + FORWARD_HIDDEN * size.shape.hidden
    return round(rows * size.tokens(size.num_latents) * channels * itemsize / 2)


def _codec_bytes(size: ModelSize, a_pixel: int) -> int:
    """Memory of the codec, its weights included, that takes so many bytes a pixel where it is as wide as Wan2.1's."""
    narrower = size.codec_width / CODEC_WIDTH
    return round(FLOAT32 * CODEC_WEIGHTS * narrower**2 + a_pixel * narrower * size.height * size.width)


def tuning_bytes(size: ModelSize, spec: TuneSpec, rung: str, *, itemsize: int = 2) -> int:
    """Memory that a whole tuning needs beside the base's weights: to encode the clip, label heads and learn."""
    heads = forward_bytes(size, rows=1, itemsize=itemsize)
    return max(_codec_bytes(size, ENCODING), heads, learning_bytes(size, spec, rung, itemsize=itemsize))


def rendering_bytes(size: ModelSize, rung: str, *, itemsize: int = 2) -> int:
    """Memory that a guided render needs beside the base's weights, on one of `RENDERING_RUNGS`."""
    rows = 2 if rung == TOGETHER else 1
    return max(_codec_bytes(size, DECODING), forward_bytes(size, rows=rows, itemsize=itemsize))


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Peak memory in bytes, weights included, of learning and of rendering; and the rungs that it is for."""

    learning: int
    rendering: int
    rung: str
    rendering_rung: str = TOGETHER

    @property
    def way(self) -> str:
        """What of this costs the most time: one of `LEARNING_RUNGS`."""
        return VISITING if self.rendering_rung == VISITING else self.rung

    def fits(self, capacity: int) -> bool:
        """Whether both fit."""
        return max(self.learning, self.rendering) <= capacity


def needs(
    size: ModelSize, precision: str, spec: TuneSpec, rung: str, *, rendering_rung: str = TOGETHER, itemsize: int = 2
) -> Needs:
    """What a base needs in some precision.

    Args:
        size: of the base.
        precision: of its weights.
        spec: settings of learning.
        rung: of learning.
        rendering_rung: of rendering.
        itemsize: bytes of the numbers that are computed with.
    """
    whole = weight_bytes(size.shape, precision, itemsize=itemsize, text_width=size.text_width)
    visiting = visiting_bytes(size.shape, precision, itemsize=itemsize, text_width=size.text_width)
    learning = tuning_bytes(size, spec, rung, itemsize=itemsize)
    rendering = rendering_bytes(size, rendering_rung, itemsize=itemsize)
    learns_with, renders_with = (visiting if each == VISITING else whole for each in (rung, rendering_rung))
    return Needs(learning=round(learns_with + MARGIN * learning), rendering=round(renders_with + MARGIN * rendering),
                 rung=rung, rendering_rung=rendering_rung)  # fmt: skip


def plan(
    size: ModelSize, precision: str, spec: TuneSpec, capacity: int, *, itemsize: int = 2, beside: int = 0
) -> Needs:
    """The needs on the first rungs that fit; on the last ones where none does.

    Weights visit a device only where it has room for them at rest too, for that is how a base is opened.

    Args:
        size: of the base.
        precision: of its weights.
        spec: settings of learning.
        capacity: bytes that the device has.
        itemsize: bytes of the numbers that are computed with.
        beside: bytes that the machine has beside a GPU's; 0 without one, where neither weights nor rows step aside.
    """
    whole = weight_bytes(size.shape, precision, itemsize=itemsize, text_width=size.text_width)
    visits = whole <= capacity and away_bytes(size.shape, precision, itemsize=itemsize) <= beside
    learning: Sequence[str] = LEARNING_RUNGS if visits else RUNGS
    rendering: Sequence[str] = (RENDERING_RUNGS if visits else RENDERING_RUNGS[:-1]) if beside else (TOGETHER,)

    def found(rung: str, rendering_rung: str) -> Needs:
        return needs(size, precision, spec, rung, rendering_rung=rendering_rung, itemsize=itemsize)

    rung = next((one for one in learning if found(one, TOGETHER).learning <= capacity), learning[-1])
    return found(rung, next((one for one in rendering if found(rung, one).rendering <= capacity), rendering[-1]))


def speed_of(machine: Machine, workspace: Path) -> DeviceSpeed | None:
    """How fast a machine computes, if that was measured and is kept in the workspace."""
    return read_speed(workspace / SPEED_FILE, machine.computes_on)


def learning_seconds(size: ModelSize, spec: TuneSpec, rung: str, speed: DeviceSpeed) -> float:
    """Time that the network takes to learn a clip, heads included; codec and text encoder come on top.

    Args:
        size: of the base.
        spec: settings.
        rung: one of `LEARNING_RUNGS`; how long weights travel isn't counted.
        speed: of the device.
    """
    again = num_checkpointed(size.shape.num_blocks, checkpointing(rung))

    def steps(number: int, rows: int, num_latents: int) -> float:
        number = number + spec.gradient_draws if number else 0
        return number * rows * step_flops(size.shape, size.tokens(num_latents), checkpointed=again)

    learned = steps(spec.spatial_steps, spec.spatial_batch, 1)
    learned += steps(spec.temporal_steps, spec.temporal_batch, _sparse_latents(size, spec))
    labelled = len(SIGMAS) * NUM_SEEDS * forward_flops(size.shape, size.tokens(size.num_latents))
    return 1e-12 * (learned / speed.step + labelled / speed.forward)


def rendering_seconds(size: ModelSize, spec: RenderSpec, speed: DeviceSpeed) -> float:
    """Time that the network takes for one render; codec and text encoder come on top."""
    rows = 2 if max(spec.guidance, spec.early_guidance) > 1 else 1
    flops = spec.steps * rows * forward_flops(size.shape, size.tokens(size.num_latents))
    return 1e-12 * flops / speed.forward


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A base in some precision, what it needs on a machine, and whether that is there.

    The seconds that learning and one render take are None where the device was not measured, or weights visit it, whose
    way was not.
    """

    name: str
    precision: str
    needs: Needs
    fits: bool
    learning_s: float | None = None
    rendering_s: float | None = None


def what_fits(
    machine: Machine, sizes: Mapping[str, ModelSize], spec: TuneSpec, speed: DeviceSpeed | None = None,
    renders: Mapping[str, RenderSpec] | None = None,
) -> list[Fit]:  # fmt: skip
    """Which bases a machine can learn and render with, memory being free, in each precision for blocks' weights.

    Args:
        machine: whose GPU counts, or whose memory where there is none.
        sizes: of bases, by name.
        spec: settings of learning.
        speed: of the device, if it was measured.
        renders: settings of a render, of bases that are not rendered as usual, by name.
    """
    return [_fit(machine, name, size, precision, spec, (renders or {}).get(name, RenderSpec()), speed)
            for name, size in sizes.items() for precision in SHOWN_PRECISIONS]  # fmt: skip


def _capacity(machine: Machine) -> int:
    """Bytes that a base can have where nothing else runs."""
    free = machine.gpu_memory_gb * 1e9 - RESERVED_GPU if machine.gpu else machine.memory_gb * 1e9 - RESERVED_CPU
    return int(free)


def _fit(
    machine: Machine, name: str, size: ModelSize, precision: str, tune: TuneSpec, render: RenderSpec,
    speed: DeviceSpeed | None,
) -> Fit:  # fmt: skip
    capacity = _capacity(machine)
    beside = int(machine.memory_gb * 1e9) - RESERVED_CPU if machine.gpu else 0
    itemsize = 2 if machine.gpu or precision == "bf16" else FLOAT32
    found = plan(size, precision, tune, capacity, itemsize=itemsize, beside=beside)
    timed = speed if size.shape.width >= TIMED_WIDTH and found.way != VISITING else None
    return Fit(
        name=name, precision=precision, needs=found, fits=found.fits(capacity),
        learning_s=learning_seconds(size, tune, found.rung, timed) if timed else None,
        rendering_s=rendering_seconds(size, render, timed) if timed else None,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a job should need before any like it was done: memory in MB, seconds if the device was measured, and whether
    this machine has the memory.
    """

    memory_mb: float
    seconds: float | None
    fits: bool


def planned(
    base: BaseSpec, precision: str, workspace: Path, *, tune: TuneSpec | None = None, render: RenderSpec | None = None,
    num_renders: int = 1,
) -> Planned | None:  # fmt: skip
    """What a job needs by the base's shapes; None of a base whose folder is incomplete.

    Args:
        base: that will be used.
        precision: of its weights.
        workspace: whose disk counts, and which may hold what `benchmark-device` measured.
        tune: settings, if it learns.
        render: settings, if it renders; of its previews, if it learns.
        num_renders: how many; of a job that learns, its previews.
    """
    try:
        size = size_in(base)
    except (OSError, ValueError, KeyError):
        return None
    machine = this_machine(workspace)
    speed = speed_of(machine, workspace)
    shown = render or suited(RenderSpec(), base.distilled)
    fit = _fit(machine, base.name, size, precision, tune or TuneSpec(), shown, speed)
    needed = fit.needs.learning if tune else fit.needs.rendering
    seconds = None
    if fit.learning_s is not None and fit.rendering_s is not None:
        seconds = num_renders * fit.rendering_s * (render is not None) + (fit.learning_s if tune else 0.0)
    beside = 0 if machine.gpu else RESERVED_CPU  # a GPU's memory is told without what its driver takes
    return Planned(memory_mb=(needed + beside) / 1e6, seconds=seconds, fits=needed <= _capacity(machine))
