"""Arithmetic on `Lora` values: weight change, norm, scaling, sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from motion_transfer.errors import WrongBase
from motion_transfer.types import Lora, LowRank

ALWAYS_RANK = "always_rank"  # in a recipe: so many of the first ranks act whatever the strength
CURVE = "curve"  # in a control's recipe: pairs of a strength and the share of its motion that it shows


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
    return replace(lora, layers=layers, late=scaled(lora.late, factor) if lora.late else None)


def uncalibrated(lora: Lora) -> Lora:
    """A control whose strengths are those it learned with, whatever motion they show."""
    return replace(lora, info={name: value for name, value in lora.info.items() if name != CURVE})


def is_curve(value: object) -> bool:
    """Whether a value from anybody's file is a control's curve: two points or more, rising in both."""
    if not isinstance(value, list) or len(value) < 2:
        return False
    pairs = all(isinstance(point, list) and len(point) == 2 for point in value)
    if not pairs or not all(type(x) in (int, float) and math.isfinite(x) for point in value for x in point):
        return False
    return all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(value))


def learned_strength(curve: Sequence[Sequence[float]], share: float) -> float:
    """The strength at which a control shows this share of its whole motion.

    Between the points of its curve lie straight lines. Beyond them the curve goes on as steeply as it is on the whole;
    but a control that never was weaker than at rest stays there.

    Args:
        curve: pairs of strength and share, both rising.
        share: asked for.
    """
    (first, first_share), (last, last_share) = curve[0], curve[-1]
    slope = (last - first) / (last_share - first_share)
    if share <= first_share:
        return first if first >= 0 else first + slope * (share - first_share)
    if share >= last_share:
        return last + slope * (share - last_share)
    later = next(i for i, (_, there) in enumerate(curve) if there > share)
    (low, low_share), (high, high_share) = curve[later - 1], curve[later]
    return low + (share - low_share) / (high_share - low_share) * (high - low)


def at_strength(lora: Lora, strength: float) -> Lora:
    """A LoRA with its motion so strong: 1 is what it was made for.

    A control's curve says which strength shows so much; its token is told, or of one without, that part is scaled which
    learned to be, as of a motion that was learned slower too. Any other LoRA is scaled.
    """
    late = at_strength(lora.late, strength) if lora.late else None
    if curve := lora.info.get(CURVE):
        strength = learned_strength(curve, strength)
    if lora.tokens:
        tokens = tuple(replace(token, strength=strength * token.strength) for token in lora.tokens)
        return replace(lora, tokens=tokens, late=late)
    always = int(lora.info.get(ALWAYS_RANK, 0))
    layers = {}
    for name, layer in lora.layers.items():
        up_OR = layer.up_OR.clone()
        up_OR[:, always:] *= strength
        layers[name] = LowRank(down_RI=layer.down_RI, up_OR=up_OR)
    return replace(lora, layers=layers, late=late)


def check_one_base(loras: Sequence[Lora]) -> None:
    """Sees that LoRAs were made for one version of one base.

    Raises:
        WrongBase: they weren't.
    """
    bases = {(str(lora.info.get("base")), str(lora.info.get("base_hash"))[:8]) for lora in loras}
    if len(bases) > 1:
        names = ", ".join(" ".join(base) for base in sorted(bases))
        raise WrongBase(f"all LoRAs of a mix must share one version of one base, but these were made for {names}; "
                        "choose ones of the same.")  # fmt: skip


def stack(items: Sequence[tuple[Lora, float]]) -> Lora:
    """One LoRA whose change is the weighted sum: ranks are laid side by side.

    Raises:
        WrongBase: the LoRAs were made for different bases.
    """
    check_one_base([lora for lora, _ in items])
    layers: dict[str, LowRank] = {}
    for lora, weight in items:
        for name, x in lora.layers.items():
            before = layers.get(name)
            down = x.down_RI if before is None else torch.cat([before.down_RI, x.down_RI])
            up = x.up_OR * weight if before is None else torch.cat([before.up_OR, x.up_OR * weight], 1)
            layers[name] = LowRank(down_RI=down, up_OR=up)
    tokens = tuple(token for lora, _ in items for token in lora.tokens)
    info = dict(items[0][0].info) if items else {}
    for name in (CURVE, ALWAYS_RANK):  # each item's strength is set by now
        info.pop(name, None)
    return Lora(layers=layers, tokens=tokens, info=info)
