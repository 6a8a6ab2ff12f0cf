"""Presets at random and by hand, and the one sentence of a refusal."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import random
import re
import string
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motion_transfer.presets import (
    MAX_LORAS,
    BadPreset,
    Preset,
    PresetLora,
    RenderSettings,
    TuneSettings,
)
from motion_transfer.types import RenderSpec, TuneSpec

SETTINGS = {RenderSpec: RenderSettings, TuneSpec: TuneSettings}
KNOBS = [(spec, field) for spec in SETTINGS for field in dataclasses.fields(spec)]
HASH, COMMIT = "0123456789abcdef" * 4, "0123456789" * 4
SPACE = "https://huggingface.co/spaces/owner/name"
LETTERS = string.ascii_letters + "  .,:;\"'\\/&=?<>{}[]0123456789éßñøжщ中文動画العברית🤖👩‍🚀\u0301\u2028"
URL_LETTERS = string.ascii_letters + string.digits + "-_"

# From release 0.1.0 on, what a preset of format 1 leaves out means these values for ever. Whoever changes a default of
# the program then raises FORMAT and adds a migration that writes the old default out; only then may it change here.
DEFAULTS_OF_FORMAT_1: dict[type, dict[str, Any]] = {
    RenderSpec: {
        "prompt": "",
        "negative_prompt": "",
        "seed": 0,
        "steps": 20,
        "guidance": 5.0,
        "flow_shift": 3.0,
        "strength": 1.0,
        "early_guidance": 10.0,
        "guidance_smoothing": 1,
        "motion_until": 0.7,
        "late_strength": 0.8,
        "mix": "sum",
        "schedule": "together",
    },
    TuneSpec: {
        "caption": "",
        "seed": 0,
        "spatial_steps": 20,
        "temporal_steps": 150,
        "check_every": 100,
        "rank": 16,
        "spatial_rate": 5e-3,
        "temporal_rate": 5e-3,
        "up_rate_ratio": 4.0,
        "gradient_draws": 8,
        "spatial_decay": 0.1,
        "temporal_decay": 0.5,
        "spatial_drop": 0.8,
        "spatial_batch": 4,
        "temporal_batch": 2,
        "head_rule": "balanced",
        "decoupled": True,
        "include_output": True,
        "motion_loss": "frame",
        "motion_space": "velocity",
        "motion_weight": 10.0,
        "sampling": "latent",
        "sparse_latents": 0,
        "positions": "aligned",
        "noise_shift": 4.0,
        "lowest_noise": 0.6,
        "caption_drop": 0.2,
        "slow_share": 0.0,
        "loss_weighting": "none",
        "keep": "temporal",
        "inference_weight": 1.25,
    },
}
GOLDEN = Preset.of(
    name="Élan",
    base="nano",
    render=RenderSpec(prompt="a green star", steps=30, guidance=7),
    loras=[PresetLora(name="jump", sha256=HASH, strength=0.5, hub=f"owner/jump@{COMMIT}")],
)
GOLDEN_TEXT = (
    "AcrG6gBIs3gBBcFLboMwFAXQrUR3bKX-_0bZR9XBAx6kUTDINuoAsYCuqxvrOScGaoyMQmWDwLzVlTqyEnhvlRry54nnMSBj-ylcP17Hu"
    "j-k0sY6H2KSShvrfIhJKm2s8yEmqbSxzoeYIFBoZWS8jnWHQHuSdh4ZUmljnQ8x0TBOPEuljXU-xETDOPEslTbW-RATDePEs1TaWOdDTD"
    "SME88QaL1yWfoTWd7d9SVQaGVk_P2-qUCgcpm4Ip9Yju-JysjI4S4F9rqte0cG3ZbKXG6tU4VA67w3ZCOv6x843lF1"
)


def refusal(action: Callable[[], Any], *words: str) -> str:
    """The one sentence with which an action is refused."""
    with pytest.raises(BadPreset) as caught:
        action()
    sentence = str(caught.value)
    assert sentence.endswith(".") and sentence.count(". ") == 0, sentence
    assert "\n" not in sentence and len(sentence) <= 300, sentence
    assert not re.search(r"pydantic|validation|type=|input_", sentence), sentence
    assert ";" in sentence, "says what to do"
    for word in words:
        assert word in sentence, sentence
    return sentence


def link_of(content: Any, *, version: int = 1, level: int | None = None) -> str:
    """A text made by hand, with the right checksum, of some JSON or of anything."""
    if not isinstance(content, str | bytes):
        content = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    plain = content.encode("utf-8") if isinstance(content, str) else content
    if level is None:
        press = zlib.compressobj(level=9, strategy=zlib.Z_HUFFMAN_ONLY)
        payload = press.compress(plain) + press.flush()
    else:
        payload = zlib.compress(plain, level)
    return sealed(payload, version)


def sealed(payload: bytes, version: int = 1) -> str:
    data = bytes([version]) + hashlib.sha256(payload).digest()[:6] + payload
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def preset_values(**changes: Any) -> dict[str, Any]:
    """The least that a preset's JSON holds, with changes."""
    return {"format": 1, "name": "x", "base": "nano", **changes}


def lora_values(**changes: Any) -> dict[str, Any]:
    return {"name": "jump", "sha256": HASH, "strength": 0.5, **changes}


def random_words(rng: random.Random, least: int, most: int, letters: str = LETTERS) -> str:
    return "".join(rng.choice(letters) for _ in range(rng.randint(least, most)))


def random_line(rng: random.Random, least: int, most: int) -> str:
    text = random_words(rng, least, most).replace("\u2028", "-")
    return text if text.strip() or not least else "x" * least


def random_setting(rng: random.Random, field: dataclasses.Field) -> Any:
    """A valid value of one setting: its default, an end of its range, or anything between."""
    meta, default = field.metadata, field.default
    low, high = meta["low"], meta["high"]
    if rng.random() < 0.3:
        return default
    if meta["choices"]:
        return rng.choice(meta["choices"])
    if isinstance(default, bool):
        return rng.random() < 0.5
    if isinstance(default, str):
        return random_words(rng, 0, 12, LETTERS + "\n\t")
    if isinstance(default, int):
        return rng.choice([low, high, rng.randint(low, high)])
    anywhere = rng.uniform(low, high)
    return rng.choice([low, high, anywhere, round(anywhere, 2) if low <= round(anywhere, 2) <= high else low])


def random_spec(rng: random.Random, spec_class: type) -> Any:
    return spec_class(**{field.name: random_setting(rng, field) for field in dataclasses.fields(spec_class)})


def random_lora(rng: random.Random) -> PresetLora:
    hub = f"{random_words(rng, 1, 8, string.ascii_letters)}/a-b.c_{rng.randrange(99)}@{rng.randbytes(20).hex()}"
    return PresetLora(
        name=random_line(rng, 1, 12),
        sha256=rng.randbytes(32).hex(),
        strength=rng.choice([-2, 2, 0, -0.0, 1.0, round(rng.uniform(-2, 2), 2), rng.uniform(-2, 2)]),
        hub=rng.choice([None, None, hub]),
    )


def random_preset(rng: random.Random) -> Preset:
    return Preset.of(
        name=random_line(rng, 1, rng.choice([4, 80])),
        description=random_words(rng, 0, 40, LETTERS + "\n"),
        base=rng.choice(["nano", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "a_b/c", "_x"]),
        render=random_spec(rng, RenderSpec),
        tune=random_spec(rng, TuneSpec) if rng.random() < 0.6 else None,
        loras=[random_lora(rng) for _ in range(rng.randint(0, MAX_LORAS))],
        credits=random_line(rng, 0, 20),
    )


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def mutated(rng: random.Random, text: str) -> str:
    """The text with one small harm."""
    at = rng.randrange(len(text))
    other = rng.choice(URL_LETTERS.replace(text[at], ""))
    to = rng.choice([i for i, letter in enumerate(text) if letter != text[at]])
    swapped = list(text)
    swapped[at], swapped[to] = swapped[to], swapped[at]
    strange = rng.choice("+/=%. \n\t\0é中\ud83d~!&#")
    harms = [
        text[:at] + other + text[at + 1 :],
        text[:at] + text[at + 1 :],
        text[:at] + rng.choice(URL_LETTERS) + text[at:],
        text[:at],
        "".join(swapped),
        text[:at] + strange + text[at + 1 :],
        text[:at] + strange + text[at:],
        text + "=" * rng.randint(1, 3),
        text + text,
        text[at:] + text[:at],
        text[:-1] + rng.choice(URL_LETTERS.replace(text[-1], "")),
        text + rng.choice(URL_LETTERS),
        base64.b64encode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))).decode(),
        text.swapcase(),
    ]
    return rng.choice([harm for harm in harms if harm != text])
