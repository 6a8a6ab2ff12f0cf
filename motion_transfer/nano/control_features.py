"""Why controls might fight: what LoRAs of single motions put out in each layer of nano.

`python -m motion_transfer.nano control-features` takes LoRAs that were learned in the usual way (`usual_loras`, all
blocks) and those that ship, and remakes `docs/results/control-features.json` and `.svg`: how
alike their features are in each block, beside shuffled tokens and beside random directions, how loud each is there, and
how bent the usual weight is as a slider. arXiv 2507.05678 claims small likeness in shallow blocks and uneven loudness.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from motion_transfer.atomic import replacing, write_json
from motion_transfer.evaluate.line_chart import Panel, line_chart
from motion_transfer.evaluate.lora_features import LayerFeatures, NetworkInput, layer_features
from motion_transfer.evaluate.stamps import ResultFile, stamp
from motion_transfer.lora.algebra import at_strength, uncalibrated
from motion_transfer.lora.files import load_lora
from motion_transfer.methods.lion_strength import spread
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import keyed_generator, mix
from motion_transfer.nano.control_study import OWN, VANILLA, key_of, study_stamp
from motion_transfer.nano.controls import PREFIX, SHIPPED, drawn, opened
from motion_transfer.nano.usual_loras import USUAL_LORAS, usual_loras
from motion_transfer.types import Lora
from motion_transfer.video.synth.scene import sample_scene

NUM_SCENES = 16
SIGMAS = (0.98, 0.92, 0.85, 0.75)  # where renders let controls act


def _inputs(base: VideoBase) -> Iterator[NetworkInput]:
    """Scenes of all kinds at all noise levels, each with noise of its own."""
    for number in range(NUM_SCENES):
        clip = drawn(sample_scene(f"control-features/{number}"))
        clean = base.codec.encode(clip).z_ZFYX
        noise = torch.randn(clean.shape, generator=keyed_generator(number, "control-features"))
        for sigma in SIGMAS:
            sigma_B = torch.tensor([sigma])
            yield NetworkInput(noisy_BZFYX=mix(clean[None], noise[None], sigma_B), sigma_B=sigma_B,
                               texts=base.text.encode([clip.caption]))  # fmt: skip


def _block(path: str) -> int:
    return int(path.split(".")[1])


def by_block(layers: Mapping[str, LayerFeatures]) -> list[dict[str, float]]:
    """Means over pairs and layers of each block: likeness without its sign, as chance has it, shared directions."""
    found = []
    for block in sorted({_block(path) for path in layers}):
        here = [layer for path, layer in layers.items() if _block(path) == block]
        found.append({
            "block": block,
            "likeness": round(mean(abs(x) for layer in here for x in layer.cosine.values()), 4),
            "likeness, tokens shuffled": round(mean(abs(x) for layer in here for x in layer.shuffled.values()), 4),
            "shared directions": round(mean(x for layer in here for x in layer.shared.values()), 4),
        })  # fmt: skip
    return found


def loudness_of(layers: Mapping[str, LayerFeatures], name: str) -> dict[str, Any]:
    """One LoRA's loudness by block, and the loudest layer beside the softest of the same module."""
    ratios = {path: layer.loudness[name] for path, layer in layers.items()}
    blocks = sorted({_block(path) for path in ratios})
    return {
        "by block": [round(mean(value for path, value in ratios.items() if _block(path) == b), 4) for b in blocks],
        "spread": round(spread(ratios), 3),
    }


def _facts(base: VideoBase, loras: Mapping[str, Lora]) -> dict[str, Any]:
    layers = layer_features(base, loras, _inputs(base))
    rank = next(iter(next(iter(loras.values())).layers.values())).down_RI.shape[0]
    pairs = sorted({pair for layer in layers.values() for pair in layer.cosine})
    return {
        "blocks": by_block(layers),
        "pairs": {" and ".join(pair): [round(mean(abs(layer.cosine[pair]) for path, layer in layers.items()
                                                  if _block(path) == block), 4)
                                       for block in sorted({_block(path) for path in layers})] for pair in pairs},
        "shared by random directions": round(rank / base.transformer.config.num_attention_heads
                                             / base.transformer.config.attention_head_dim, 4),
        "loudness": {name: loudness_of(layers, name) for name in loras},
    }  # fmt: skip


def _curves(rows: Iterable[Mapping[str, Any]], controls: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """Mean amplitude at each weight of the LoRAs that were learned in the usual way."""
    found: dict[str, list[tuple[float, float]]] = {}
    for control in controls:
        shown: dict[float, list[float]] = {}
        for row in rows:
            if row["variant"] == key_of(control, VANILLA) and row[OWN] is not None:
                shown.setdefault(float(row["strength"]), []).append(float(row[OWN]))
        if shown:
            found[control] = [(strength, round(mean(values), 4)) for strength, values in sorted(shown.items())]
    return found


def _chart(facts: Mapping[str, Any], curves: Mapping[str, list[tuple[float, float]]]) -> str:
    usual = facts["vanilla"]
    likeness = {
        name: [(one["block"], one[column]) for one in usual["blocks"]]
        for name, column in (("features of two motions", "likeness"), ("*tokens shuffled", "likeness, tokens shuffled"),
                             ("directions in common", "shared directions"))
    }  # fmt: skip
    likeness["*random directions"] = [(one["block"], usual["shared by random directions"]) for one in usual["blocks"]]
    loudness = {name: list(zip((block["block"] for block in usual["blocks"]), one["by block"], strict=True))
                for name, one in usual["loudness"].items()}  # fmt: skip
    panels = [Panel(title="likeness (|cosine|)", x_name="block", lines=likeness),
              Panel(title="output beside the base's", x_name="block", lines=loudness)]  # fmt: skip
    if curves:
        straight = [(x, x) for x, _ in next(iter(curves.values()))]
        panels.append(Panel(title="motion shown at a weight", x_name="weight", lines={**curves, "*even": straight}))
    return line_chart(panels)


def features_stamp(shipped: Path) -> str:
    """What the figures follow from."""
    return stamp(modules=[__name__], folders=[opened().spec.folder, shipped], settings={})


def diagnose_controls(
    shipped: Path, results: Path, num_processes: int = 2, learned: Path = USUAL_LORAS, compiled: bool = False
) -> dict[str, Any]:
    """Measures and draws; writes `control-features.json` and `.svg`.

    Args:
        shipped: folder of the controls that ship.
        results: where the figures go, and where `study-controls` left its own.
        num_processes: that learn usual LoRAs, where there are none.
        learned: folder of the usual LoRAs.
        compiled: learn them with compiled blocks, in half the time.
    """
    base = opened()
    ours = {name: at_strength(uncalibrated(load_lora(shipped / f"{PREFIX}{name}.safetensors")), 1.0)
            for name in SHIPPED}  # fmt: skip
    facts = {
        "stamp": features_stamp(shipped),
        "vanilla": _facts(base, usual_loras(SHIPPED, learned, num_processes, compiled)),
        "shipped": _facts(base, ours),
    }
    rows = ResultFile(results / "control-study.json", study_stamp()).rows.values()  # none that other code made
    curves = _curves(rows, SHIPPED)
    write_json(results / "control-features.json", facts)
    with replacing(results / "control-features.svg") as partial:
        partial.write_text(_chart(facts, curves), encoding="utf-8")
    return facts
