"""Arithmetic on `Lora` values: weight change, norm, scaling, sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from motion_transfer.errors import WrongBase
from motion_transfer.types import Lora, LowRank


def delta(layer: LowRank) -> Tensor:
    """The full weight change, `(O, I)` float32."""
    return layer.up_OR @ layer.down_RI


def norm(layer: LowRank) -> float:
    """Frobenius norm of the weight change, without forming it: tr(U'U DD')."""
    inner = (layer.up_OR.T @ layer.up_OR) * (layer.down_RI @ layer.down_RI.T)
    return float(inner.sum().clamp_min(0).sqrt())


def scaled(lora: Lora, factor: float) -> Lora:
    """The same LoRA, `factor` times as strong."""
    layers = {n: LowRank(down_RI=x.down_RI, up_OR=x.up_OR * factor) for n, x in lora.layers.items()}
    return replace(lora, layers=layers)


def stack(items: Sequence[tuple[Lora, float]]) -> Lora:
    """One LoRA whose change is the weighted sum: ranks are laid side by side.

    Raises:
        WrongBase: the LoRAs were made for different bases.
    """
    bases = {(str(lora.info.get("base")), str(lora.info.get("base_hash"))[:8]) for lora, _ in items}
    if len(bases) > 1:
        names = ", ".join(" ".join(base) for base in sorted(bases))
        raise WrongBase(f"all LoRAs of a mix must share one version of one base, but these were made for {names}; "
                        "choose ones of the same.")  # fmt: skip
    layers: dict[str, LowRank] = {}
    for lora, weight in items:
        for name, x in lora.layers.items():
            before = layers.get(name)
            down = x.down_RI if before is None else torch.cat([before.down_RI, x.down_RI])
            up = x.up_OR * weight if before is None else torch.cat([before.up_OR, x.up_OR * weight], 1)
            layers[name] = LowRank(down_RI=down, up_OR=up)
    return Lora(layers=layers, info=dict(items[0][0].info) if items else {})
