"""Who takes part in the benchmark: ours, the bare base, published methods, the truth, and all of them with changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from motion_transfer.contenders import Contender
from motion_transfer.errors import BadSpec
from motion_transfer.methods.ditflow import FlowGuidance
from motion_transfer.types import TuneSpec

# Ranks and rates are those that the search of `docs/results/search.md` found best; the noise shift, and how often
# MotionDirector's temporal stage goes without the spatial LoRA (its released code: 0.2), are told in docs/decisions.md.
PLAIN = TuneSpec(decoupled=False, inference_weight=1.0, up_rate_ratio=1.0, lowest_noise=0.0, gradient_draws=0,
                 check_every=0, spatial_rate=1e-2, temporal_rate=1e-2, temporal_steps=300)  # fmt: skip
NAIVE = replace(PLAIN, spatial_steps=0, motion_loss="off", rank=8, noise_shift=12.0)
MOTION_DIRECTOR = replace(PLAIN, spatial_steps=40, motion_loss="debiased", motion_weight=1.0, rank=16, noise_shift=4.0,
                          spatial_drop=0.5)  # fmt: skip
EVENLY = {"motion_until": 0.6, "late_strength": 1.0}  # what suits published methods better than our own way
SEARCHED_RANKS, SEARCHED_RATES = (8, 16), (1.6e-3, 4e-3, 1e-2)
SEARCHED_SHARES, SEARCHED_GUIDING_RATES = (0.2, 0.7), (2e-3, 2e-2, 1e-1)

# One thing each that ours could do otherwise. nano has 13 latent frames; 7 are every second one.
ABLATIONS: dict[str, dict[str, Any]] = {
    "no-decoupling": {"decoupled": False},
    "no-spatial-stage": {"spatial_steps": 0},
    "random-start": {"gradient_draws": 0},
    "random-start-300-steps": {"gradient_draws": 0, "temporal_steps": 300},
    "all-noise-levels": {"lowest_noise": 0.0},
    "one-rate": {"spatial_rate": 1e-2, "temporal_rate": 1e-2, "up_rate_ratio": 1.0},
    "spatial-lora-always": {"spatial_drop": 0.0},
    "both-loras": {"keep": "both"},
    "no-output-projections": {"include_output": False},
    "rule-code": {"head_rule": "code"},
    "rule-paper": {"head_rule": "paper"},
    "no-motion-loss": {"motion_loss": "off"},
    "motion-loss-vmc": {"motion_loss": "vmc"},
    "motion-loss-debiased": {"motion_loss": "debiased"},
    "motion-loss-in-x0": {"motion_space": "x0"},
    "bell-weighting": {"loss_weighting": "bell"},
    "caption-always": {"caption_drop": 0.0},
    "weight-as-learned": {"inference_weight": 1.0},
    "noise-shift-12": {"noise_shift": 12.0},
    "sparse": {"sparse_latents": 7},
    "sparse-pixel": {"sparse_latents": 7, "sampling": "pixel"},
    "sparse-paper-positions": {"sparse_latents": 7, "positions": "paper"},
    "sparse-no-positions": {"sparse_latents": 7, "positions": "none"},
}

CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender(name="ceiling", true=True),
        Contender(name="truth-led", led_by_truth=True),
        Contender(name="bare"),
        Contender(name="naive", learns=NAIVE, dense=True, renders=EVENLY),
        Contender(name="motiondirector", learns=MOTION_DIRECTOR, dense=True, renders=EVENLY),
        Contender(name="ditflow", guides=FlowGuidance()),
        Contender(name="ours", learns=TuneSpec()),
    )
}


def chosen(names: Sequence[str]) -> list[Contender]:
    """Contenders by name.

    Raises:
        BadSpec: one is unknown.
    """
    unknown = [name for name in names if name not in CONTENDERS]
    if unknown:
        raise BadSpec(f"methods are {', '.join(CONTENDERS)}, but {unknown[0]!r} is asked for; choose among them.")
    return [CONTENDERS[name] for name in names]


def grid(contender: Contender) -> list[Contender]:
    """The contender at three rates and two sizes, the search that all methods get alike; itself if it has none.

    Of methods that learn, the rates are learning rates and the sizes ranks; of those that guide, the rates are their
    optimizer's and the sizes the share of the steps that they lead.
    """
    name, learns, guides = contender.name, contender.learns, contender.guides
    if learns is not None:
        return [
            replace(contender, name=f"{name}-rank{rank}-rate{rate:g}", variant_of=name,
                    learns=replace(learns, rank=rank, spatial_rate=rate, temporal_rate=rate))
            for rank in SEARCHED_RANKS for rate in SEARCHED_RATES
        ]  # fmt: skip
    if guides is not None:
        return [
            replace(contender, name=f"{name}-share{share:g}-rate{rate:g}", variant_of=name,
                    guides=replace(guides, guided_share=share, first_rate=rate, last_rate=rate / 2))
            for share in SEARCHED_SHARES for rate in SEARCHED_GUIDING_RATES
        ]  # fmt: skip
    return [contender]


def ablations(contender: Contender) -> list[Contender]:
    """The contender, and beside it every `ABLATIONS` of it; itself alone if it learns nothing."""
    learns = contender.learns
    if learns is None:
        return [contender]
    return [contender] + [
        replace(contender, name=f"{contender.name}-{name}", learns=replace(learns, **change))
        for name, change in ABLATIONS.items()
    ]


def variants(contender: Contender, changes: Mapping[str, Mapping[str, Any]]) -> list[Contender]:
    """The contender, and beside it one for each set of changes to its settings; itself alone if it learns nothing.

    Args:
        contender: a method.
        changes: by the variant's name, settings of `TuneSpec`.

    Raises:
        BadSpec: a name can't be a file's, or a setting is unknown or out of range.
    """
    learns, found, known = contender.learns, [contender], {field.name for field in fields(TuneSpec)}
    if learns is None:
        return found
    for name, change in changes.items():
        if not re.fullmatch(r"[\w.-]+", name) or not isinstance(change, Mapping) or set(change) - known:
            raise BadSpec(f"a variant is a short name and settings of tuning, but one is {name!r:.40}: {change!r:.80}; "
                          f"settings are {', '.join(sorted(known))}.")  # fmt: skip
        found.append(replace(contender, name=f"{contender.name}-{name}", learns=replace(learns, **change)))
    return found
