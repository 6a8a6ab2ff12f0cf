"""Which of diffusers' attention backends is fastest at a base's own shapes: timed once on a GPU, kept, and applied.

All that are tried compute the same sums, in another order at most; those that round queries and keys to 8 bit
(SageAttention, arXiv 2410.02367) are not among them. On a CPU nothing is tried: PyTorch's own choice stays.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.models.attention_dispatch import attention_backend, dispatch_attention_fn
from torch import Tensor

from motion_transfer.atomic import write_json
from motion_transfer.model.base import VideoBase

ATTENTION_FILE = "attention.json"  # in the workspace, beside what `benchmark-device` measured
NATIVE = "native"
BACKENDS = ("_native_cudnn", "_flash_3", "_native_flash", "flash", "xformers", "_native_efficient")
MOST_OFF = {torch.bfloat16: 0.02, torch.float16: 0.005, torch.float32: 1e-4}  # of the size of the native result
LEAST_GAIN = 0.05  # of the native time; less may be chance
BUDGET_S = 2.0  # after which no further backend is tried
TURNS = 3  # of which the fastest counts
PROBED_HEADS = 4  # fill a GPU at the lengths where attention matters, and take little memory
PEAKED = 3.0  # how much larger queries are than normal ones, that maps have peaks as trained ones do

Attend = Callable[[str, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """The self-attention of a stage.

    Attributes:
        num_heads: of a block.
        head_width: channels of each head.
        tokens: at which time counts.
        other_tokens: at which a backend must be right as well.
        dtype: of queries, keys and values.
        learns: gradients are computed, too.
    """

    num_heads: int
    head_width: int
    tokens: int
    other_tokens: tuple[int, ...] = ()
    dtype: torch.dtype = torch.bfloat16
    learns: bool = False

    @property
    def name(self) -> str:
        """Under which its finding is kept."""
        lengths = ", ".join(map(str, (self.tokens, *self.other_tokens)))
        use = "learning" if self.learns else "rendering"
        return f"{use}, {self.num_heads} x {self.head_width}, {lengths} tokens, {self.dtype}".replace("torch.", "")


def rendering_shape(base: VideoBase) -> AttentionShape:
    """The self-attention of a render."""
    tokens = base.num_latents * base.frame_tokens
    return AttentionShape(num_heads=base.num_heads, head_width=base.head_width, tokens=tokens, dtype=base.dtype)


def learning_shape(base: VideoBase, tokens: int) -> AttentionShape:
    """The self-attention of learning, most of it on clips of so many tokens; pictures and whole clips pass, too."""
    whole = rendering_shape(base)
    others = {base.frame_tokens, whole.tokens} - {tokens}
    return replace(whole, tokens=tokens, other_tokens=tuple(sorted(others)), learns=True)


def attending(backend: str) -> AbstractContextManager[None]:
    """While open, self-attention of all of diffusers' models is computed by a backend; our text attention is not.

    Raises:
        RuntimeError: its package is not installed.
        ValueError: there is no such backend.
    """
    return attention_backend(backend)


def usable(names: Iterable[str] = BACKENDS) -> tuple[str, ...]:
    """Those of the backends whose packages are installed; whether a device runs them shows when they are tried."""
    found = []
    for name in names:
        with suppress(RuntimeError, ValueError), attending(name):
            found.append(name)
    return tuple(found)


def choose(seconds: Mapping[str, float]) -> str:
    """The fastest backend, if it is faster than the native one by more than chance; else the native one."""
    fastest = min(seconds, key=lambda name: seconds[name], default=NATIVE)
    return fastest if seconds and seconds[fastest] < (1 - LEAST_GAIN) * seconds[NATIVE] else NATIVE


def _attend(name: str, q_BSNK: Tensor, k_BSNK: Tensor, v_BSNK: Tensor) -> Tensor:
    with attending(name):
        return dispatch_attention_fn(q_BSNK, k_BSNK, v_BSNK)


def _inputs(shape: AttentionShape, tokens: int, device: torch.device) -> tuple[Tensor, ...]:
    """Queries, keys and values, and what comes back to their result."""
    generator = torch.Generator(device).manual_seed(tokens)
    size = (1, tokens, min(PROBED_HEADS, shape.num_heads), shape.head_width)
    q, k, v, back = (torch.randn(size, generator=generator, device=device).to(shape.dtype) for _ in range(4))
    return *(x.requires_grad_(shape.learns) for x in (PEAKED * q, k, v)), back


def _results(attend: Attend, name: str, inputs: Sequence[Tensor], learns: bool) -> list[Tensor]:
    """The result, and the gradients of what went in if those are wanted."""
    *given, back = inputs
    with torch.set_grad_enabled(learns):
        out = attend(name, *given)
    return [out.detach(), *(torch.autograd.grad(out, given, back) if learns else ())]


def _is_close(found: Sequence[Tensor], native: Sequence[Tensor], most_off: float) -> bool:
    """Whether all results are as the native ones; what is no number is not."""
    pairs = [(one.float(), true.float()) for one, true in zip(found, native, strict=True)]
    return all(bool((one - true).norm() <= most_off * true.norm()) for one, true in pairs)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """The fastest of some turns."""
    took = []
    for _ in range(TURNS):
        begin_s = time.monotonic()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        took.append(time.monotonic() - begin_s)
    return max(min(took), 1e-9)


def measure_backends(
    names: Sequence[str], shape: AttentionShape, device: torch.device, *, attend: Attend = _attend,
    time_of: Callable[[Callable[[], object], torch.device], float] = _seconds,
) -> dict[str, float]:  # fmt: skip
    """Seconds of the native backend and of those others that run here and come to the same, within `MOST_OFF`.

    Args:
        names: of the others, the likeliest first; those for which no time is left are not tried.
        shape: of the self-attention.
        device: where to compute.
        attend: computes attention by the backend of a name.
        time_of: seconds of some work on a device.
    """
    until_s = time.monotonic() + BUDGET_S
    lengths = (shape.tokens, *shape.other_tokens)
    inputs = {tokens: _inputs(shape, tokens, device) for tokens in lengths}
    native = {tokens: _results(attend, NATIVE, inputs[tokens], shape.learns) for tokens in lengths}

    def timed(name: str) -> float:
        return time_of(lambda: _results(attend, name, inputs[shape.tokens], shape.learns), device)

    seconds = {NATIVE: timed(NATIVE)}
    for name in names:
        if time.monotonic() > until_s:
            break
        # Kernels refuse shapes, types and devices by errors of many kinds, and memory may not suffice for all of them.
        with suppress(Exception):
            found = (_results(attend, name, inputs[tokens], shape.learns) for tokens in lengths)
            if all(_is_close(one, native[n], MOST_OFF[shape.dtype]) for one, n in zip(found, lengths, strict=True)):
                seconds[name] = timed(name)
    return seconds


def _kept(path: Path) -> dict[str, dict[str, float]]:
    """Findings by name; none of a file that can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: {str(k): float(v) for k, v in seconds.items()} for name, seconds in found.items()
                if NATIVE in seconds}  # fmt: skip
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def fastest_attention(path: Path, device_name: str, shape: AttentionShape, device: torch.device) -> str:
    """The backend for a stage: on a GPU the fastest; on a CPU the native one stays, and nothing is measured.

    Args:
        path: where findings are kept; one that can't be written is made again next time.
        device_name: as the driver calls it.
        shape: of the self-attention.
        device: where to compute.
    """
    return found_attention(path, device_name, shape, device) if device.type == "cuda" else NATIVE


def found_attention(path: Path, device_name: str, shape: AttentionShape, device: torch.device) -> str:
    """The fastest backend as it was found before, on such a device with this PyTorch and these packages, or now."""
    names = usable()
    key = "; ".join((device_name, f"torch {torch.__version__}", shape.name, ", ".join(names)))
    seconds = _kept(path).get(key)
    if seconds is None:
        try:
            seconds = measure_backends(names, shape, device)
        except torch.OutOfMemoryError:  # the job itself may need less, and says so if it does not
            return NATIVE
        finally:
            torch.cuda.empty_cache()
        with suppress(OSError):
            write_json(path, _kept(path) | {key: seconds})
    return choose({name: taken for name, taken in seconds.items() if name in (NATIVE, *names)})
