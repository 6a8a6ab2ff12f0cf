"""A control: a LoRA with a motion strength that is linear in the motion seen (LiON-style).

arXiv 2507.05678 names three principles: a controllable token sets how strong a motion is, shallow blocks carry it, and
the LoRA's outputs are equally loud in all layers. Its formulas are not public; those here are ours. A control learns
from examples of known strength, in the self-attention of some blocks, with every strength drawn equally often.

How the strength reaches the network is the `arm`:

- "scaled": the LoRA acts `strength` times as strong while it learns, and so afterwards. At 0 the base decides.
- "affine": a LoRA of half the rank acts always, another one `strength` times.
- "token": the LoRA acts always, and a strength token beside it (`model.strength`).
- "vanilla": learned from full strength alone; `strength` scales it afterwards, as a LoRA's weight does elsewhere.

"sequence" and "modulation" (`model.strength_arms`) are there to be compared with; no file keeps them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from motion_transfer.errors import BadSpec, Diverged
from motion_transfer.lora.algebra import ALWAYS_RANK
from motion_transfer.lora.attach import (
    add_group_adapter,
    per_row,
    read_adapter,
    remove_adapters,
    scale_adapter,
    watched,
)
from motion_transfer.lora.heads import MODULES, group_masks
from motion_transfer.model.base import VideoBase
from motion_transfer.model.flow import keyed_generator, mix, shifted, unshifted
from motion_transfer.model.motion_losses import frame_motion_loss, relative_motion_loss
from motion_transfer.model.strength import Acting, ActingToken, new_token, tokens_at_work
from motion_transfer.model.strength_arms import OtherArm, modulation_arm, sequence_arm
from motion_transfer.types import Lora, Progress, Work, _Checked, knob

ARMS = ("scaled", "affine", "token", "vanilla")
UNKEPT_ARMS = ("sequence", "modulation")
SCALED_ARMS = ("scaled", "affine", "vanilla")  # by what the LoRA's ranks put out
ADAPTER = "control"
RISE_STEPS, FALL_SHARE, LEAST_RATE = 10, 0.4, 0.05
MAX_GRADIENT_NORM = 1.0
LOOK_EVERY = 4  # steps between looks at how loud the layers are
MEMORY = 0.8  # of the running mean of that
LOUD_FROM, LOUD_RAMP = 0.2, 0.2  # of the steps: when equal loudness begins, and how long it takes to come
AtEnd = Callable[[Callable[[float], None], Sequence[Acting]], Work[None]]
MOST_SCALED = 10.0  # times as loud, or as soft


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """A clip's latents, how strong the control's motion is in it, and what it shows."""

    z_ZFYX: Tensor
    strength: float
    caption: str


@dataclass(frozen=True, kw_only=True)
class ControlSpec(_Checked):
    """Settings of learning a control."""

    arm: str = knob("affine", choices=(*ARMS, *UNKEPT_ARMS), help="How the strength reaches the network.")
    blocks: tuple[int, ...] = ()
    seed: int = knob(0, low=0, high=2**31 - 1, help="Seed of the random numbers.")
    steps: int = knob(2000, low=1, high=20000, unit="steps", help="Steps of learning.")
    rank: int = knob(16, low=2, high=256, help="Rank of the LoRA.")
    batch: int = knob(8, low=1, high=64, help="Examples per step.")
    rate: float = knob(3e-3, low=1e-7, high=0.1, help="Learning rate of the LoRA's down matrices.")
    up_rate_ratio: float = knob(4.0, low=0.01, high=100.0, help="How many times faster the up matrices learn.")
    token_rate: float = knob(1e-2, low=1e-7, high=0.1, help="Learning rate of the strength token.")
    decay: float = knob(0.01, low=0.0, high=10.0, help="Weight decay of the LoRA.")
    even: bool = knob(False, help="All layers' outputs are made equally loud, beside what the base's weights put out.")
    motion_weight: float = knob(10.0, low=0.0, high=100.0, help="Weight of the motion loss beside the denoising loss.")
    amount_weight: float = knob(
        10.0, low=0.0, high=100.0, help="Weight of the error of frame-to-frame differences, beside the motion loss."
    )
    noise_shift: float = knob(4.0, low=0.1, high=20.0, help="Shift of the training noise levels toward noise.")
    lowest_noise: float = knob(0.7, low=0.0, high=0.99, help="Noise levels below this are not learned from.")
    caption_drop: float = knob(
        0.5, low=0.0, high=1.0, help="Share of the examples with an empty caption: guidance takes both ways alike."
    )


class Loudness:
    """How loud an adapter is in each layer, beside the base's weights there, and the scales that make it even.

    `m = E|u| / E|W h|` by layer, u what the adapter puts out; the scale is `kappa / m`, kappa the geometric mean over
    the layers of the same module, so that a control stays as strong as it is on the whole.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        self.ratios: dict[str, float] = {}

    def look(self, path: str, _: Tensor, change: Tensor, of_weights: Tensor) -> None:
        """Takes note of one pass through a layer."""
        found = float(change.float().norm() / of_weights.float().norm().clamp_min(1e-12))
        before = self.ratios.get(path, found)
        self.ratios[path] = MEMORY * before + (1 - MEMORY) * found

    def scales(self, share: float) -> dict[str, float]:
        """By layer, on the way from 1 (share 0) to even loudness (share 1)."""
        if share <= 0 or not all(self.ratios.get(path, 0.0) > 0 for path in self.paths):
            return dict.fromkeys(self.paths, 1.0)
        logs = {path: math.log(self.ratios[path]) for path in self.paths}
        out = {}
        for path in self.paths:
            alike = [logs[other] for other in self.paths if module_of(other) == module_of(path)]
            scale = math.exp(share * (sum(alike) / len(alike) - logs[path]))
            out[path] = min(max(scale, 1 / MOST_SCALED), MOST_SCALED)
        return out


def module_of(path: str) -> str:
    """`attn1.to_q` of `blocks.3.attn1.to_q`."""
    return path.split(".", 2)[2]


def spread(ratios: Mapping[str, float]) -> float:
    """The loudest layer beside the softest one of the same module; the worst module counts."""
    modules = {module_of(path) for path in ratios}
    of_module = ([ratio for path, ratio in ratios.items() if module_of(path) == module] for module in modules)
    return max(max(values) / min(values) for values in of_module)


class _Learner:
    """What learns in one arm: parameters with their rates, and how a batch's strengths reach the network."""

    def __init__(self, base: VideoBase, spec: ControlSpec, stack_: ExitStack) -> None:
        self.base, self.spec = base, spec
        heads_LN = torch.zeros(len(base.transformer.blocks), base.num_heads, dtype=torch.bool)
        heads_LN[list(spec.blocks)] = True
        masks = group_masks(heads_LN, base.head_width, MODULES)
        init = keyed_generator(spec.seed, "control", "init")
        self.matrices = add_group_adapter(base.transformer, ADAPTER, masks, rank=spec.rank, generator=init)
        self.loudness = Loudness(sorted(masks))
        self.token: ActingToken | None = None
        self.other: OtherArm | None = None
        self._act: Callable[[Tensor], None] | None = None
        if spec.arm in SCALED_ARMS:
            self._act = stack_.enter_context(per_row(base.transformer, ADAPTER, self.always_rank))
        elif spec.arm == "sequence":
            self.other = stack_.enter_context(sequence_arm(base.transformer, spec.blocks, init))
        elif spec.arm == "modulation":
            self.other = stack_.enter_context(modulation_arm(base.transformer, init))
        else:
            width = base.num_heads * base.head_width
            (self.token,) = stack_.enter_context(
                tokens_at_work(base.transformer, [new_token(spec.blocks, base.num_heads, width, init)])
            )

    @property
    def always_rank(self) -> int:
        """So many of the first ranks act whatever the strength."""
        return self.spec.rank // 2 if self.spec.arm == "affine" else 0

    def groups(self) -> list[dict[str, Any]]:
        """For the optimizer."""
        spec = self.spec
        found = [([m for name, m in self.matrices.items() if name.endswith(side)], rate, spec.decay)
                 for side, rate in ((".down", spec.rate), (".up", spec.rate * spec.up_rate_ratio))]  # fmt: skip
        if self.token is not None:
            found.append((list(self.token.parameters().values()), spec.token_rate, 0.0))
        if self.other is not None:
            found.append((self.other.parameters(), spec.token_rate, 0.0))
        return [{"params": p, "lr": r, "whole_rate": r, "weight_decay": d} for p, r, d in found]

    def feel(self, strength_B: Tensor) -> None:
        """Lets the next pass feel a strength in each row."""
        if self._act is not None:
            self._act(strength_B)
        if self.token is not None:
            self.token.strength_B = strength_B
        if self.other is not None:
            self.other.feel(strength_B)

    def feel_all(self, strength: float) -> None:
        """Lets passes feel one strength in all rows."""
        self.feel(torch.tensor([strength], device=self.base.device))

    @property
    def beside(self) -> tuple[Acting, ...]:
        """What acts beside the adapters."""
        return tuple(one for one in (self.token, self.other) if one is not None)

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """While open, passes tell how loud the layers are."""
        with watched(self.base.transformer, ADAPTER, self.loudness.look):
            yield

    def even_out(self, share: float) -> None:
        """Scales the layers toward equal loudness."""
        scale_adapter(self.base.transformer, ADAPTER, self.loudness.scales(share))


def _by_strength(examples: Sequence[Example]) -> list[list[Example]]:
    """Examples of each strength; every strength is drawn equally often."""
    strengths = sorted({example.strength for example in examples})
    return [[example for example in examples if example.strength == one] for one in strengths]


def _drawn(groups: Sequence[Sequence[Example]], rows: int, generator: torch.Generator) -> list[Example]:
    """So many examples, spread evenly over the strengths."""
    first = float(torch.rand((), generator=generator))
    chosen = [int((first + row / rows) % 1.0 * len(groups)) for row in range(rows)]
    return [groups[g][int(torch.randint(len(groups[g]), (), generator=generator))] for g in chosen]


def rate_share(step: int, steps: int) -> float:
    """Of the whole learning rate, at a step from 0 on: up in ten steps, level, and down over the last part."""
    return min(1.0, (step + 1) / RISE_STEPS, max(LEAST_RATE, (steps - step) / (FALL_SHARE * steps)))


def _loss(
    base: VideoBase, drawn: Sequence[Example], spec: ControlSpec, step: int, feel: Callable[[Tensor], None]
) -> Tensor:
    """Denoising loss plus weighted motion losses of a batch at random noise levels, spread evenly over it."""
    generator = keyed_generator(spec.seed, "control", step, "noise")
    rows = len(drawn)
    clean = torch.stack([example.z_ZFYX for example in drawn])
    order = torch.randperm(rows, generator=generator)  # strengths are spread over the rows too
    uniform = (order + torch.rand(rows, generator=generator)) / rows
    lowest = unshifted(spec.lowest_noise, spec.noise_shift)
    sigma_B = shifted(lowest + (1 - lowest) * uniform, spec.noise_shift)
    noise = torch.randn(clean.shape, generator=generator)
    dropped = torch.rand(rows, generator=generator) < spec.caption_drop
    captions = ["" if drop else example.caption for drop, example in zip(dropped, drawn, strict=True)]
    feel(torch.tensor([example.strength for example in drawn], device=base.device))
    noisy = mix(clean, noise, sigma_B)
    predicted = base.velocity(noisy, sigma_B, base.text.encode(captions))
    clean, noisy, sigma_B, noise = (x.to(base.device) for x in (clean, noisy, sigma_B, noise))
    loss = (predicted - (noise - clean)).square().mean()
    found = noisy - sigma_B.view(-1, 1, 1, 1, 1) * predicted  # the clean clips that the velocities lead to
    if spec.motion_weight:
        loss = loss + spec.motion_weight * frame_motion_loss(found, clean)
    if spec.amount_weight:
        loss = loss + spec.amount_weight * relative_motion_loss(found, clean)
    return loss


@contextmanager
def _compiled(base: VideoBase, asked: bool) -> Iterator[None]:
    """While open, the blocks run compiled, if asked for."""
    blocks = list(base.transformer.blocks) if asked else []
    for block in blocks:
        block.forward = torch.compile(block.forward, dynamic=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward  # the class's own is there again


def _steps(base: VideoBase, examples: Sequence[Example], spec: ControlSpec, learner: _Learner) -> Work[None]:
    """All steps of learning."""
    groups = _by_strength(examples)
    optimizer = torch.optim.AdamW(learner.groups(), betas=(0.9, 0.99), fused=True)
    for step in range(spec.steps):
        if spec.even and step % LOOK_EVERY == 0 and step:
            learner.even_out(min(1.0, (step / spec.steps - LOUD_FROM) / LOUD_RAMP))
        looked = learner.looked_at() if spec.even and step % LOOK_EVERY == 0 else ExitStack()
        with looked:
            drawn = _drawn(groups, spec.batch, keyed_generator(spec.seed, "control", step, "data"))
            loss = _loss(base, drawn, spec, step, learner.feel)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if not math.isfinite(value := loss.item()):
            raise Diverged(f"a finite loss is expected, but step {step + 1} gave {value}; choose a smaller "
                           "learning rate.")  # fmt: skip
        learning = [one for group in optimizer.param_groups for one in group["params"]]
        nn.utils.clip_grad_norm_(learning, MAX_GRADIENT_NORM)
        for group in optimizer.param_groups:
            group["lr"] = group["whole_rate"] * rate_share(step, spec.steps)
        optimizer.step()
        yield Progress(stage="control", step=step + 1, total=spec.steps, loss=value)


def learn_control(
    base: VideoBase, examples: Sequence[Example], spec: ControlSpec, at_end: AtEnd | None = None,
    *, compiled: bool = False,
) -> Work[Lora]:  # fmt: skip
    """Learns a control from examples of known strength.

    Args:
        base: left bare, whatever happens.
        examples: of several strengths; 1 is the whole motion, 0 none, negative ones the motion backwards.
        spec: settings.
        at_end: work to do while the control is still in the base, given what sets its strength, and what acts beside
            its adapters.
        compiled: learn with compiled blocks. On a CPU a step takes half the time then, the first one a minute or two; a
            C++ compiler is needed. Arms with parts beside the LoRA, and looking at loudness, go on as they are:
            compiled blocks don't notice hooks that come and go.

    Returns:
        The control at strength 1; `lora.algebra.at_strength` sets others.

    Raises:
        BadSpec: no example is of full strength, or a block doesn't exist.
        Diverged: the loss is no number any more.
    """
    _check(base, examples, spec)
    remove_adapters(base.transformer)
    used = [one for one in examples if one.strength == 1.0] if spec.arm == "vanilla" else examples
    try:
        with ExitStack() as stack_:
            learner = _Learner(base, spec, stack_)
            with _compiled(base, compiled and spec.arm in SCALED_ARMS and not spec.even):
                yield from _steps(base, used, spec, learner)
            if at_end is not None:
                yield from at_end(learner.feel_all, learner.beside)
            return _control(base, learner, spec)
    finally:
        remove_adapters(base.transformer)


def _check(base: VideoBase, examples: Sequence[Example], spec: ControlSpec) -> None:
    if not any(example.strength == 1.0 for example in examples):
        raise BadSpec("a control learns from examples of strength 1 and others, but none is of 1; give it some.")
    num_blocks = len(base.transformer.blocks)
    if not spec.blocks or not all(0 <= block < num_blocks for block in spec.blocks):
        raise BadSpec(f"blocks between 0 and {num_blocks - 1} are expected, but got {spec.blocks}; choose some.")


def _control(base: VideoBase, learner: _Learner, spec: ControlSpec) -> Lora:
    info: dict[str, Any] = {
        "base": base.spec.name, "base_hash": base.hash, "precision": base.precision, "kind": "control",
        "method": "lion-style", "arm": spec.arm, "spec": asdict(spec),
    }  # fmt: skip
    if learner.always_rank:
        info[ALWAYS_RANK] = learner.always_rank
    tokens = (learner.token.taken(),) if learner.token is not None else ()
    return Lora(layers=read_adapter(base.transformer, ADAPTER), tokens=tokens, info=info)
