"""What LoRAs put out, layer by layer: how alike that is between them, and how loud beside the base's own weights.

arXiv 2507.05678 says that features of LoRAs for different motions hardly correlate in shallow blocks, and that their
outputs differ in size from layer to layer. Both are measured on inputs of the bare base, the same for all LoRAs:
with features `u_i = B_i A_i h` and the base's `W h`, over all tokens of all inputs,

    cosine = sum <u_i, u_j> / sqrt(sum |u_i|^2 sum |u_j|^2)        loudness = sqrt(sum |u_i|^2 / sum |W h|^2)

beside it the cosine where `u_j` is of the same tokens in another order, which knows nothing of what is where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor, nn

from motion_transfer.methods.lion_fusion import overlap
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import keyed_generator
from motion_transfer.model.text import TextStates
from motion_transfer.types import Lora, LowRank

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkInput:
    """Noisy latents `(B, Z, F, Y, X)` at noise levels `(B,)`, with their texts."""

    noisy_BZFYX: Tensor
    sigma_B: Tensor
    texts: TextStates


@dataclass(frozen=True, kw_only=True)
class LayerFeatures:
    """Of one layer: by pair of LoRAs the cosine, the same for shuffled tokens, and the share of directions in common;
    by LoRA its loudness.
    """

    cosine: Mapping[Pair, float]
    shuffled: Mapping[Pair, float]
    shared: Mapping[Pair, float]
    loudness: Mapping[str, float]


@dataclass
class _Sums:
    """Running sums of one layer."""

    inner: dict[Pair, float] = field(default_factory=dict)
    shuffled: dict[Pair, float] = field(default_factory=dict)
    square: dict[str, float] = field(default_factory=dict)
    of_weights: float = 0.0

    def add(self, features: Mapping[str, Tensor], order_S: Tensor, of_weights: Tensor) -> None:
        for name, u_BSO in features.items():
            self.square[name] = self.square.get(name, 0.0) + float(u_BSO.square().sum())
        for a, b in combinations(features, 2):
            mixed = features[b][:, order_S]
            self.inner[a, b] = self.inner.get((a, b), 0.0) + float((features[a] * features[b]).sum())
            self.shuffled[a, b] = self.shuffled.get((a, b), 0.0) + float((features[a] * mixed).sum())
        self.of_weights += float(of_weights.float().square().sum())


@torch.no_grad()
def layer_features(
    base: VideoBase, loras: Mapping[str, Lora], inputs: Iterable[NetworkInput], seed: int = 0
) -> dict[str, LayerFeatures]:
    """By path of each layer that all LoRAs change.

    Args:
        base: without adapters.
        loras: by name, two or more.
        inputs: what the base is given.
        seed: of the shuffled tokens' order.
    """
    paths = sorted(set.intersection(*(set(lora.layers) for lora in loras.values())))
    sums = {path: _Sums() for path in paths}

    def watching(path: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def watch(layer: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            h_BSI = given[0].float()
            features = {name: h_BSI @ lora.layers[path].down_RI.to(h_BSI).T @ lora.layers[path].up_OR.to(h_BSI).T
                        for name, lora in loras.items()}  # fmt: skip
            order_S = torch.randperm(h_BSI.shape[1], generator=keyed_generator(seed, "shuffle", path))
            bias = getattr(layer, "bias", None)
            sums[path].add(features, order_S.to(h_BSI.device), out if bias is None else out - bias)

        return watch

    hooks = [base.transformer.get_submodule(path).register_forward_hook(watching(path)) for path in paths]
    try:
        for one in inputs:
            base.velocity(one.noisy_BZFYX, one.sigma_B, one.texts)
    finally:
        for hook in hooks:
            hook.remove()
    return {path: _features(sums[path], {name: lora.layers[path] for name, lora in loras.items()}) for path in paths}


def _features(sums: _Sums, layers: Mapping[str, LowRank]) -> LayerFeatures:
    def cosine(inner: Mapping[Pair, float]) -> dict[Pair, float]:
        return {(a, b): value / max((sums.square[a] * sums.square[b]) ** 0.5, 1e-12) for (a, b), value in inner.items()}

    return LayerFeatures(
        cosine=cosine(sums.inner),
        shuffled=cosine(sums.shuffled),
        shared={(a, b): overlap(layers[a], layers[b]) for a, b in sums.inner},
        loudness={name: (square / max(sums.of_weights, 1e-12)) ** 0.5 for name, square in sums.square.items()},
    )
