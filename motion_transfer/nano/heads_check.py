"""Do nano's heads deserve their labels? How stable these are, and what is lost without each group.

`python -m motion_transfer.nano check-heads` remakes `docs/results/heads.json`. Labels are compared between draws of
query rows, draws of noise, noise levels and clips. Then renders lose one group or the other: where the labels mean what
they say (Follow-Your-Motion, arXiv 2506.05207, section 3.2), without temporal heads the frames of a render fit each
other less well, without spatial ones every frame by itself shows less of what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from motion_transfer.atomic import write_json
from motion_transfer.evaluate.embedders import Embedder, world_embedder
from motion_transfer.evaluate.stamps import stamp
from motion_transfer.evaluate.tables import paired_interval
from motion_transfer.evaluate.text_match import text_match
from motion_transfer.lora.heads import COLUMN_MODULES, group_masks
from motion_transfer.methods.fym_heads import RELEASED_SIGMA, SIGMAS, band_masses, label_spatial, sample_rows
from motion_transfer.model.attention import probed_self_attention
from motion_transfer.model.base import VideoBase, open_base
from motion_transfer.model.flow import keyed_generator, mix
from motion_transfer.model.sampling import denoise
from motion_transfer.types import Clip, Latents, RenderSpec
from motion_transfer.video.kept import RENDERS, kept
from motion_transfer.video.synth.draw import draw
from motion_transfer.video.synth.scene import FPS, Scene, sample_scene
from motion_transfer.work import drive

RULE = "balanced"
NUM_CLIPS, NUM_RENDERS = 8, 16
FEW_ROWS = 64  # of nano's 208, all of which are taken elsewhere
ARMS = ("whole", "without temporal", "without spatial")


def _latents(base: VideoBase, scene: Scene) -> Latents:
    return base.codec.encode(Clip(frames_THWC=draw([scene], base.spec.width)[0].numpy(), fps=FPS))


def _masses(
    base: VideoBase, latents: Latents, caption: str, sigma: float, *, noise_seed: int = 0, row_seed: int | None = None
) -> Tensor:
    """Shares of attention in both bands, `(L, N, 2)`; a row seed draws some query rows, None takes all."""
    z = latents.z_ZFYX[None]
    num_frames, frame_tokens = z.shape[2], z.shape[3] * z.shape[4] // 4
    num_rows = num_frames * frame_tokens if row_seed is None else FEW_ROWS
    rows_R = sample_rows(num_frames, frame_tokens, num_rows, keyed_generator("rows", row_seed or 0))
    mass_LN2 = torch.zeros(len(base.transformer.blocks), base.num_heads, 2)

    def probe(layer: int, q_BSNK: Tensor, k_BSNK: Tensor) -> None:
        mass_LN2[layer] = band_masses(q_BSNK, k_BSNK, rows_R, num_frames).cpu()

    sigma_B, drawn = torch.tensor([sigma]), torch.randn(z.shape, generator=keyed_generator("check heads", noise_seed))
    with torch.no_grad(), probed_self_attention(base.transformer, probe):
        base.velocity(mix(z, drawn, sigma_B), sigma_B, base.text.encode([caption]))
    return mass_LN2


def _labels(base: VideoBase, scene: Scene, latents: Latents, sigmas: Sequence[float] = SIGMAS, **draws: Any) -> Tensor:
    """Which heads are spatial, `(L, N)` bool."""
    masses = [_masses(base, latents, scene.caption, sigma, **draws) for sigma in sigmas]
    return label_spatial(torch.stack(masses).mean(0), RULE)


def _agreement(labels: Sequence[Tensor]) -> float:
    """Share of heads with the same label, over all pairs."""
    return mean((a == b).float().mean().item() for a, b in combinations(labels, 2))


def check_stability(base: VideoBase, scenes: Sequence[Scene]) -> dict[str, float]:
    """Shares of equal labels between draws of query rows and of noise, noise levels and clips."""
    found: dict[str, list[float]] = {}
    of_clips = []
    for scene in scenes:
        latents = _latents(base, scene)
        usual = _labels(base, scene, latents)
        of_clips.append(usual)
        levels = {f"noise level {sigma:g}": _labels(base, scene, latents, (sigma,)) for sigma in SIGMAS}
        levels["noise level of the released code"] = _labels(base, scene, latents, (RELEASED_SIGMA,))
        pairs = {"query rows": [_labels(base, scene, latents, row_seed=seed) for seed in (1, 2)],
                 "noise": [usual, _labels(base, scene, latents, noise_seed=1)],
                 **{name: [usual, labels] for name, labels in levels.items()}}  # fmt: skip
        for name, labels in pairs.items():
            found.setdefault(name, []).append(_agreement(labels))
    return {**{name: round(mean(values), 4) for name, values in found.items()}, "clips": round(_agreement(of_clips), 4)}


@contextmanager
def without_heads(base: VideoBase, heads_LN: Tensor) -> Iterator[None]:
    """Silences heads: what they found does not reach the output projection."""
    masks, hooks = group_masks(heads_LN, base.head_width, COLUMN_MODULES), []

    def silence(mask: Tensor) -> Any:
        return lambda module, args: (args[0].masked_fill(mask.to(args[0].device), 0.0),)

    try:
        for path, mask in masks.items():
            module: nn.Module = base.transformer.get_submodule(path)
            hooks.append(module.register_forward_pre_hook(silence(mask)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def frame_order(clip: Clip, others: Sequence[Clip]) -> float:
    """How much nearer a clip's frames are to their next ones than to frames of other clips, 0..1."""
    frames = clip.frames_THWC.astype(float)
    steps = np.abs(np.diff(frames, axis=0)).mean()
    apart = mean(float(np.abs(frames - other.frames_THWC).mean()) for other in others)
    return float(1 - steps / apart)


def picture_quality(clip: Clip, prompt: str, others: Sequence[str], model: Embedder) -> float:
    """How much better a clip's frames fit their prompt than other prompts."""
    return text_match(clip, prompt, model) - mean(text_match(clip, other, model) for other in others)


def _renders(base: VideoBase, scenes: Sequence[Scene], silent_LN: Tensor | None, folder: Path) -> list[Clip]:
    prompts = [RenderSpec(prompt=scene.caption, seed=seed) for seed, scene in enumerate(scenes)]
    with nullcontext() if silent_LN is None else without_heads(base, silent_LN):
        return [kept(folder / f"{spec.seed}.npz", lambda spec=spec: drive(denoise(base, spec))) for spec in prompts]


def check_function(base: VideoBase, scenes: Sequence[Scene], spatial_LN: Tensor, renders: Path) -> dict[str, Any]:
    """What renders lose without each group: shares of their frames' order and of their pictures' quality.

    Args:
        base: whose heads.
        scenes: whose captions are rendered.
        spatial_LN: bool, which heads are spatial; the others are temporal.
        renders: folder of the renders, to go on from.

    Returns:
        Means of both for whole renders; for each group the mean relative losses, and the mean difference between the
        loss that its label predicts and the other one, with its 95% interval over renders.
    """
    model, prompts = world_embedder(), [scene.caption for scene in scenes]
    silent = {"whole": None, "without temporal": ~spatial_LN, "without spatial": spatial_LN}
    found: dict[str, dict[str, list[float]]] = {}
    for arm in ARMS:
        clips = _renders(base, scenes, silent[arm], renders / arm.replace(" ", "-"))
        orders = [frame_order(clip, clips[:i] + clips[i + 1 :]) for i, clip in enumerate(clips)]
        qualities = [picture_quality(clip, prompts[i], prompts[:i] + prompts[i + 1 :], model)
                     for i, clip in enumerate(clips)]  # fmt: skip
        found[arm] = {"order": orders, "quality": qualities}
    whole = found["whole"]
    out: dict[str, Any] = {"whole": {name: round(mean(values), 4) for name, values in whole.items()}}
    for arm, expected, other in (("without temporal", "order", "quality"), ("without spatial", "quality", "order")):
        losses = {name: [1 - part / all_of_it for part, all_of_it in zip(found[arm][name], whole[name], strict=True)]
                  for name in whole}  # fmt: skip
        more = [a - b for a, b in zip(losses[expected], losses[other], strict=True)]
        out[arm] = {**{f"{name}_lost": round(mean(values), 4) for name, values in losses.items()},
                    f"{expected}_more": round(mean(more), 4),
                    "interval": [round(end, 4) for end in paired_interval(more) or ()]}  # fmt: skip
    return out


def heads_stamp(folder: Path, count: int) -> str:
    """What the figures of `count` renders follow from."""
    return stamp(modules=[__name__], folders=[folder], settings={"renders": count})


def check_heads(folder: Path, count: int, results: Path, renders: Path = RENDERS) -> dict[str, Any]:
    """Measures labels on eight clips and functions on `count` renders; writes `heads.json` into `results`.

    Args:
        folder: of the base.
        count: renders of each arm.
        results: where the figures go.
        renders: folder of the renders, to go on from.
    """
    made_by, base = heads_stamp(folder, count), open_base(str(folder), precision="fp32")
    scenes = [sample_scene(f"check-heads/{i}", kind="single", effects=0.0) for i in range(max(count, NUM_CLIPS))]
    spatial_LN = _common_labels(base, scenes[:NUM_CLIPS])
    found = {"stamp": made_by, "base": base.hash,
             "temporal_share": round((~spatial_LN).float().mean().item(), 4),
             "agreement": check_stability(base, scenes[:NUM_CLIPS]),
             "function": check_function(base, scenes[:count], spatial_LN, renders / f"heads-{made_by}")}  # fmt: skip
    write_json(results / "heads.json", found)
    return found


def _common_labels(base: VideoBase, scenes: Sequence[Scene]) -> Tensor:
    """Labels by the masses of several clips together."""
    masses = []
    for scene in scenes:
        latents = _latents(base, scene)
        masses += [_masses(base, latents, scene.caption, sigma) for sigma in SIGMAS]
    return label_spatial(torch.stack(masses).mean(0), RULE)
