"""Renders a motion LoRA with stock diffusers alone; nothing of this project is imported.

python docs/stock_render.py assets/nano motion.safetensors "a yellow car on a gray background" out.mp4
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import torch
from diffusers import WanPipeline

MOTION_UNTIL = 0.7  # the noise level at which the motion has done its work
SHAPES_FORM, LATE_STRENGTH = 0.86, 0.8  # the level below which it acts with so much of its strength
EARLY_GUIDANCE, GUIDANCE = 10.0, 5.0  # down to there, and below; stock guides at all only if the first is above 1


class FadingMotion:
    """Weakens the LoRA where things take their shapes, and ends it where the base alone draws the look best.

    The solver begins anew at its end, or it would go on as if the LoRA acted.
    """

    def __init__(self, strength: float, late: float = LATE_STRENGTH, until: float = MOTION_UNTIL) -> None:
        self.strength, self.late, self.until = strength, late, until

    def __call__(self, pipeline: WanPipeline, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        """A callback at the end of a step, for the next one."""
        coming = pipeline.scheduler.timesteps[step + 1 :]
        if len(coming) and coming[0] / 1000 < SHAPES_FORM <= timestep / 1000:
            pipeline.set_adapters("motion", self.strength * self.late)
        if len(coming) and coming[0] / 1000 < self.until <= timestep / 1000:
            pipeline.disable_lora()
            pipeline.scheduler.lower_order_nums, pipeline.scheduler.last_sample = 0, None
        return tensors


class SteadyGuidance:
    """Smooths in time what early guidance adds: a hook on the network, which stock asks for prompt, then no prompt.

    Stock guides by `g` from the second answer u to the first c, to u + g (c - u). Answering c - S(c - u) in place of u
    makes that c + (g - 1) S(c - u), where S averages each latent frame with its neighbors.
    """

    def __init__(self, until: float = MOTION_UNTIL) -> None:
        self.until = until
        self.wanted: tuple[float, torch.Tensor] | None = None  # a step's time and its first answer

    def __call__(self, network: torch.nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
        """A forward hook; `output` is a tuple of one `(B, Z, F, Y, X)`."""
        time = float(kwargs["timestep"].flatten()[0])
        if self.wanted is None or self.wanted[0] != time:
            self.wanted = time, output[0]
            return output
        difference, self.wanted = self.wanted[1] - output[0], None
        if time / 1000 < self.until:
            return output
        padded = torch.cat([difference[:, :, :1], difference, difference[:, :, -1:]], dim=2)
        smooth = padded[:, :, :-2] / 4 + padded[:, :, 1:-1] / 2 + padded[:, :, 2:] / 4
        return (output[0] + difference - smooth,)


def main(base: str, lora: str, prompt: str, out: str, steps: int = 20, seed: int = 0, strength: float = 1.0) -> None:
    """Writes the video; its frames are those of `python -m motion_transfer render --precision fp32`."""
    native = json.loads((Path(base) / "native.json").read_text())
    pipeline = WanPipeline.from_pretrained(base, torch_dtype=torch.float32)
    pipeline.load_lora_weights(lora, adapter_name="motion")
    pipeline.set_adapters("motion", strength)
    # Stock changes its guidance where a second transformer takes over (Wan2.2); here both are one.
    pipeline.register_modules(transformer_2=pipeline.transformer)
    pipeline.register_to_config(boundary_ratio=MOTION_UNTIL)
    pipeline.transformer.register_forward_hook(SteadyGuidance(), with_kwargs=True)
    video = pipeline(
        prompt,
        height=native["height"],
        width=native["width"],
        num_frames=native["num_frames"],
        num_inference_steps=steps,
        guidance_scale=EARLY_GUIDANCE,
        guidance_scale_2=GUIDANCE,
        generator=torch.Generator().manual_seed(seed),
        callback_on_step_end=FadingMotion(strength),
        output_type="np",
    ).frames[0]
    frames = np.rint(video * 255).astype(np.uint8)
    iio.imwrite(out, frames, plugin="pyav", codec="libx264", fps=round(native["fps"]))


if __name__ == "__main__":
    main(*sys.argv[1:5])
