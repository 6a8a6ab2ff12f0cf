"""Mixing motions: several LoRAs and their strength tokens become one (LiON-style).

arXiv 2507.05678 mixes LoRAs whose features are nearly orthogonal and equally loud, by adding them up. These rules bring
LoRAs nearer to that which were not made so; its formulas are not public, so they are ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from motion_transfer.errors import BadSpec
from motion_transfer.lora.algebra import ALWAYS_RANK, CURVE, at_strength, check_one_base, norm, stack
from motion_transfer.types import CONTROLS_FIRST, SHAPES_FORM, TOGETHER, Lora, LowRank, Mix, RenderSpec

_LEAST = 1e-8  # of the largest singular value; smaller ones are no directions
_TOO_NEAR = 0.1  # least singular value of all directions side by side: nearer ones can't be turned apart
_OF_CONTROLS = ("name", "kind", "control", "unit", "amplitude", "reversible")  # facts that say nothing of a mix
MOST_RESCALED = 3.0  # a motion's change is made so many times larger or smaller at most


def compile_mix(mix: Mix) -> Lora:
    """One LoRA, with the tokens of all, that acts as the mix.

    Strengths are set last: motions are brought together as if each were at its whole strength. What brings things to
    rest in each of several controls would stop the others' motion too: they share it. The mix takes its facts,
    as the rate at which it plays, from the first LoRA that was learned from a clip.

    Raises:
        WrongBase: the LoRAs were made for different bases.
    """
    loras = [lora for lora, _ in mix.items]
    check_one_base(loras)
    if mix.rule == "norm":
        loras = evened(loras)
    elif mix.rule == "orthogonal":
        loras = orthogonalized(loras)
    loras = _rest_shared(loras)
    mixed_at = [(at_strength(lora, strength), 1.0) for lora, (_, strength) in zip(loras, mix.items, strict=True)]
    return replace(stack(mixed_at), info=_facts(loras))


def _rest_shared(loras: Sequence[Lora]) -> list[Lora]:
    """The LoRAs with what acts in controls at any strength: each has its part of it, none beside a learned motion."""
    controls = [lora for lora in loras if lora.info.get("kind") == "control"]
    share = 1 / len(controls) if len(controls) == len(loras) else 0.0
    found = []
    for lora in loras:
        always = int(lora.info.get(ALWAYS_RANK, 0)) if lora in controls else 0
        layers = {
            path: LowRank(down_RI=x.down_RI, up_OR=torch.cat([share * x.up_OR[:, :always], x.up_OR[:, always:]], 1))
            for path, x in lora.layers.items()
        }
        found.append(replace(lora, layers=layers))
    return found


def _facts(loras: Sequence[Lora]) -> dict[str, Any]:
    """Of a mix: those of the first LoRA that was learned from a clip, without what says nothing of a mix."""
    told = next((lora.info for lora in loras if "clip" in lora.info), loras[0].info)
    return {name: value for name, value in told.items() if name not in (*_OF_CONTROLS, CURVE, ALWAYS_RANK)}


def mixed(motions: Sequence[tuple[Lora, float]], spec: RenderSpec) -> tuple[Lora | None, RenderSpec]:
    """What to render some motions with: one LoRA, none for no motion, and the settings without the strength it has.

    Where controls and learned motions are to act one after the other, the LoRA is of those that come first, and its
    `late` one of the others; where there is only one kind, it acts all the time.

    Args:
        motions: each with its own strength; the settings' strength multiplies it.
        spec: says by which rule they come together, and when they act.

    Raises:
        WrongBase: the LoRAs were made for different bases.
        BadSpec: by the settings, no motion acts any more once things take their shapes, but one kind was to come then.
    """
    items = tuple((lora, strength * spec.strength) for lora, strength in motions)
    rendered = replace(spec, strength=1.0)
    if not items:
        return None, rendered
    loras = [lora for lora, _ in items]
    check_one_base(loras)
    controls = tuple(item for item in items if item[0].info.get("kind") == "control")
    others = tuple(item for item in items if item[0].info.get("kind") != "control")
    if spec.schedule == TOGETHER or not controls or not others:
        return compile_mix(Mix(items=items, rule=spec.mix)), rendered
    if spec.motion_until >= SHAPES_FORM or not spec.late_strength:
        raise BadSpec(f"with the schedule {spec.schedule!r} some motions act below noise level {SHAPES_FORM:g}, but by "
                      "the settings none does; lower the level down to which motion acts, raise the late strength, or "
                      f"choose {TOGETHER!r}.")  # fmt: skip
    first, then = (controls, others) if spec.schedule == CONTROLS_FIRST else (others, controls)
    early, late = (compile_mix(Mix(items=some, rule=spec.mix)) for some in (first, then))
    return replace(early, info=_facts(loras), late=late), rendered


def _module(path: str) -> str:
    """`attn1.to_q` of `blocks.3.attn1.to_q`."""
    return path.split(".", 2)[-1]


def _log_size(lora: Lora, module: str) -> float | None:
    """Mean logarithm of the norms of a module's changes over the blocks; None where there is none."""
    norms = [norm(layer) for path, layer in lora.layers.items() if _module(path) == module]
    logs = [math.log(size) for size in norms if size > 0]
    return sum(logs) / len(logs) if logs else None


def evened(loras: Sequence[Lora]) -> list[Lora]:
    """The LoRAs with changes that are, module by module, as large as their geometric mean over the LoRAs.

    One factor for all blocks of a module, so that what each LoRA does where stays as it was. A control with a curve
    stays as it is, for its curve would be wrong.
    """
    modules = {_module(path) for lora in loras for path in lora.layers}
    factors: list[dict[str, float]] = [{} for _ in loras]
    for module in modules:
        sizes = [_log_size(lora, module) for lora in loras]
        known = [size for size in sizes if size is not None]
        for lora, factor, size in zip(loras, factors, sizes, strict=True):
            if size is not None and CURVE not in lora.info:
                most = math.log(MOST_RESCALED)
                factor[module] = math.exp(min(max(sum(known) / len(known) - size, -most), most))
    return [
        replace(lora, layers={
            path: LowRank(down_RI=layer.down_RI, up_OR=layer.up_OR * factor.get(_module(path), 1.0))
            for path, layer in lora.layers.items()
        })
        for lora, factor in zip(loras, factors, strict=True)
    ]  # fmt: skip


def _directions(up_OR: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of what a change puts out, `(O, R')`, and `up` in it, `(R', R)`."""
    left_OR, sizes_R, right_RR = torch.linalg.svd(up_OR.double(), full_matrices=False)
    kept = sizes_R > _LEAST * sizes_R.max().clamp_min(1e-30)
    return left_OR[:, kept], (sizes_R[kept, None] * right_RR[kept])


def apart(ups: Sequence[Tensor]) -> list[Tensor]:
    """`up` matrices of several changes of one layer, turned so that no two put out a common direction.

    The nearest orthonormal frame to all their bases laid side by side (Loewdin's symmetric orthogonalization): none
    comes first, and each change keeps its size. A layer too narrow for all their ranks is left as it is,
    and so are changes of which two put out nearly the same direction.
    """
    found = [_directions(up) for up in ups]
    bases_OC = torch.cat([basis for basis, _ in found], 1)
    if bases_OC.shape[1] > bases_OC.shape[0]:
        return list(ups)
    left, sizes, right = torch.linalg.svd(bases_OC, full_matrices=False)
    if sizes.min() < _TOO_NEAR:  # two put out nearly the same direction: what would tell them apart is chance
        return list(ups)
    frames = (left @ right).split([basis.shape[1] for basis, _ in found], 1)
    return [(frame @ inner).to(up.dtype) for frame, (_, inner), up in zip(frames, found, ups, strict=True)]


def orthogonalized(loras: Sequence[Lora]) -> list[Lora]:
    """The LoRAs with outputs that share no direction in a layer; see `apart` for the layers that stay.

    What a LoRA puts out in some attention heads alone may spread to others.
    """
    layers: list[dict[str, LowRank]] = [dict(lora.layers) for lora in loras]
    for path in {path for lora in loras for path in lora.layers}:
        here = [number for number, lora in enumerate(loras) if path in lora.layers]
        if len(here) > 1 and len({layers[number][path].up_OR.shape[0] for number in here}) == 1:
            ups = apart([layers[number][path].up_OR for number in here])
            for number, up_OR in zip(here, ups, strict=True):
                layers[number][path] = replace(layers[number][path], up_OR=up_OR)
    return [replace(lora, layers=own) for lora, own in zip(loras, layers, strict=True)]


def overlap(a: LowRank, b: LowRank) -> float:
    """Share of the smaller output space that both changes have in common, 0..1 (`|Qa' Qb|^2 / r`)."""
    bases = [_directions(layer.up_OR)[0] for layer in (a, b)]
    smaller = min(basis.shape[1] for basis in bases)
    return float((bases[0].T @ bases[1]).square().sum() / smaller) if smaller else 0.0


def likeness(a: LowRank, b: LowRank) -> float:
    """Cosine between two weight changes, -1..1: of what they put out for inputs of no particular direction."""
    inner = float(((a.up_OR.T @ b.up_OR) * (a.down_RI @ b.down_RI.T)).sum())
    size = norm(a) * norm(b)
    return inner / size if size else 0.0


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """How two LoRAs meet in a block that both change: means over its layers.

    Attributes:
        overlap: of what they put out, see `overlap`.
        likeness: of their changes, without its sign, see `likeness`.
        ratio: of the larger change's size to the smaller one's.
    """

    overlap: float
    likeness: float
    ratio: float


def by_block(a: Lora, b: Lora) -> dict[int, Meeting]:
    """How two LoRAs meet in each block that both change."""
    found: dict[int, list[Meeting]] = {}
    for path in sorted(a.layers.keys() & b.layers.keys()):
        one, other = a.layers[path], b.layers[path]
        sizes = sorted((norm(one), norm(other)))
        alike = (one.up_OR.shape[0], one.down_RI.shape[1]) == (other.up_OR.shape[0], other.down_RI.shape[1])
        if alike and path.startswith("blocks.") and sizes[0] > 0:
            meeting = Meeting(
                overlap=overlap(one, other), likeness=abs(likeness(one, other)), ratio=sizes[1] / sizes[0]
            )
            found.setdefault(int(path.split(".")[1]), []).append(meeting)
    return {block: _mean(meetings) for block, meetings in sorted(found.items())}


def _mean(meetings: Iterable[Meeting]) -> Meeting:
    """Of several: ratios by their logarithms."""
    some = list(meetings)
    return Meeting(
        overlap=mean(one.overlap for one in some),
        likeness=mean(one.likeness for one in some),
        ratio=math.exp(mean(math.log(one.ratio) for one in some)),
    )


def meet(a: Lora, b: Lora) -> Meeting | None:
    """How two LoRAs meet in all; None where no block is changed by both."""
    blocks = by_block(a, b).values()
    return _mean(blocks) if blocks else None
