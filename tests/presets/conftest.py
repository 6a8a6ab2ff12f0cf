"""Presets that several modules test with."""

from __future__ import annotations

import hashlib
import random

import pytest

from motion_transfer.presets import (
    Preset,
    PresetLora,
)
from motion_transfer.types import RenderSpec, TuneSpec
from tests.presets.samples import COMMIT, random_preset


@pytest.fixture(scope="module")
def presets() -> list[Preset]:
    rng = random.Random(0)
    return [random_preset(rng) for _ in range(1000)]


@pytest.fixture(scope="module")
def typical() -> Preset:
    """Three LoRAs, a sentence of a prompt, and some settings of each kind changed."""
    loras = [
        PresetLora(name="dancing square", sha256=hashlib.sha256(b"1").hexdigest(), strength=0.8),
        PresetLora(name="pan left", sha256=hashlib.sha256(b"2").hexdigest(), strength=-0.35),
        PresetLora(name="zoom", sha256=hashlib.sha256(b"3").hexdigest(), strength=1, hub=f"some-one/zoom@{COMMIT}"),
    ]
    prompt = "a green star on a white background, walking through tall grass at sunset, in cinematic light"
    return Preset.of(
        name="A star takes a walk",
        description="The square's dance, given to a star.",
        base="Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
        render=RenderSpec(prompt=prompt, negative_prompt="blurry, low quality", seed=123456, steps=30),
        tune=TuneSpec(caption="a red square on a blue background", rank=32, temporal_steps=500, head_rule="paper"),
        loras=loras,
        credits="made by someone",
    )
