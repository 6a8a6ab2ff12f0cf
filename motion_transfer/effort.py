"""How much of a device's measured rate of matrix products each stage reaches."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TypeVar

import torch
from torch import Tensor, nn

from motion_transfer.ladder import CHECK, PREVIEW
from motion_transfer.lora.heads import MODULES, ROW_MODULES
from motion_transfer.model.arithmetic import Arithmetic
from motion_transfer.model.base import VideoBase
from motion_transfer.model.checkpointing import now_checkpointed
from motion_transfer.model.device_speed import DeviceSpeed
from motion_transfer.model.footprint import PATCH_PX
from motion_transfer.model.wan_shapes import shape_of
from motion_transfer.types import TuneSpec, Work

T = TypeVar("T")


class Effort:
    """Operations of the latest work, by stage.

    Previews and checks count to the temporal stage, which they interrupt, as their seconds do.
    """

    def __init__(self) -> None:
        self.flops: dict[str, float] = {}

    def counting(self, work: Work[T], base: VideoBase, learned: TuneSpec | None = None) -> Work[T]:
        """The same work; what the network does meanwhile is added to the stage that is told of next.

        Args:
            work: on the base.
            base: whose network is watched.
            learned: settings of the LoRA that learns, if one does; what other LoRAs take is left out.
        """
        passes = 0.0  # since the last progress

        def add(network: nn.Module, given: tuple[Tensor, ...]) -> None:
            nonlocal passes
            passes += _operations(base, given[0], given[2], learned)

        watching = base.transformer.register_forward_pre_hook(add)
        try:
            with closing(work):
                while True:
                    try:
                        progress = next(work)
                    except StopIteration as end:
                        return end.value
                    self._add(progress.stage, passes)
                    passes = 0.0
                    yield progress
        finally:
            watching.remove()

    def _add(self, stage: str, flops: float) -> None:
        stage = "temporal" if stage in (PREVIEW, CHECK) else stage
        self.flops[stage] = self.flops.get(stage, 0.0) + flops

    def shares(self, seconds: Mapping[str, float], speed: DeviceSpeed | None) -> dict[str, float]:
        """Operations of each stage by what its seconds would allow; of no stage where the device was not measured.

        Args:
            seconds: by stage, of the same work.
            speed: of the device.
        """
        if speed is None:
            return {}
        return {stage: round(flops / (1e12 * speed.products * seconds[stage]), 4)
                for stage, flops in self.flops.items() if flops and seconds.get(stage)}  # fmt: skip


def _operations(base: VideoBase, z_BZFYX: Tensor, text_BMD: Tensor, learned: TuneSpec | None) -> float:
    """What the network takes for some clips, and with gradients the backward pass that follows."""
    rows, channels = z_BZFYX.shape[:2]
    tokens = z_BZFYX[0, 0].numel() // PATCH_PX
    arithmetic = Arithmetic(shape=shape_of(base.transformer), text_tokens=text_BMD.shape[1],
                            text_width=text_BMD.shape[2], channels=channels)  # fmt: skip
    if learned is None or not torch.is_grad_enabled():
        return rows * arithmetic.forward(tokens)
    num_modules = len(MODULES if learned.include_output else ROW_MODULES)
    again = now_checkpointed(base.transformer)
    return rows * arithmetic.step(tokens, rank=learned.rank, num_modules=num_modules, checkpointed=again)
