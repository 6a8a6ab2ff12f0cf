"""The layouts that tools write Wan LoRAs in, told apart by their keys.

| layout | example |
|---|---|
| diffusers | `transformer.blocks.0.attn1.to_q.lora_A.weight` |
| ComfyUI | `diffusion_model.blocks.0.self_attn.q.lora_down.weight`, with `alpha` |
| kohya | `lora_unet_blocks_0_self_attn_q.lora_down.weight`, with `alpha` |
| VideoX-Fun | `lora_unet__blocks_0_self_attn_q.lora_down.weight`, with `alpha` |
| DiffSynth | `blocks.0.self_attn.q.lora_A.default.weight`, also after `pipe.dit.` |
| PEFT | `base_model.model.blocks.0.self_attn.q.lora_A.weight`, with `adapter_config.json` beside the file |
| LyCORIS | `lycoris_blocks_0_self_attn_q.lokr_w1`, `hada_w1_a`, `lora_down.weight`, with `alpha` |
| bare | `blocks.0.attn1.to_q.lora_A.weight` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from motion_transfer.lora.names import diffusers_name

DIFFUSERS, COMFYUI, KOHYA, VIDEOX_FUN, DIFFSYNTH, PEFT, LYCORIS, BARE = (
    "diffusers", "ComfyUI", "kohya", "VideoX-Fun", "DiffSynth", "PEFT", "LyCORIS", "bare",
)  # fmt: skip
_PREFIXES = (  # what a longer one begins with stands after it
    ("transformer.", DIFFUSERS),
    ("diffusion_model.", COMFYUI),
    ("lora_unet__", VIDEOX_FUN),
    ("lora_unet_", KOHYA),
    ("pipe.dit.", DIFFSYNTH),
    ("base_model.model.", PEFT),
    ("lycoris_", LYCORIS),
    ("", BARE),
)
DOWN, UP, ALPHA, DORA = "down", "up", "alpha", "dora"
_PARTS = {"lora_A": DOWN, "lora_down": DOWN, "lora_B": UP, "lora_up": UP, "alpha": ALPHA, "dora_scale": DORA,
          "lora_magnitude_vector": DORA}  # fmt: skip
_END = re.compile(
    r"(?P<module>.+)\.(?:"
    r"(?P<part>lora_A|lora_B|lora_down|lora_up|lora_magnitude_vector)(?P<adapter>\.default)?(?:\.weight)?"
    r"|(?P<plain>alpha|dora_scale|diff|diff_b|hada_w[12]_[ab]|lokr_w[12](?:_[ab])?))"
)


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a LoRA file: whose layout it has, which module it changes, by diffusers' name, and which part it is.

    Parts are `down`, `up`, `alpha`, `dora`, and those of LyCORIS by their own names; `diff` and `diff_b` are no
    low-rank changes, but whole ones of a weight and a bias.
    """

    layout: str
    module: str
    part: str


def read_key(key: str) -> Key | None:
    """What a key says; None if it is none of a Wan LoRA."""
    prefix, layout = next((prefix, layout) for prefix, layout in _PREFIXES if key.startswith(prefix))
    match = _END.fullmatch(key[len(prefix) :])
    module = match and diffusers_name(match["module"])
    if match is None or module is None:
        return None
    if layout == BARE and match["adapter"]:
        layout = DIFFSYNTH
    part = match["part"] or match["plain"]
    return Key(layout=layout, module=module, part=_PARTS.get(part, part))


def layout_of(keys: Iterable[Key]) -> str:
    """The layout of most keys; empty if there are none."""
    counts: dict[str, int] = {}
    for key in keys:
        counts[key.layout] = counts.get(key.layout, 0) + 1
    return max(counts, key=counts.__getitem__, default="")
