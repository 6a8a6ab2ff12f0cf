"""One resumable training run: optimizer, averaged weights, clock, log and checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from motion_transfer.errors import WrongBase
from motion_transfer.nano.checkpoint import Ema, load_state, optimizer_tensors, restore_optimizer, save_state
from motion_transfer.nano.processes import average_gradients, first_ones, process_rank

SAVE_EVERY_S = 150
LOG_EVERY_STEPS = 100
MAX_GRADIENT_NORM = 1.0


class Run:
    """Trains a module for some minutes, going on from its checkpoint if there is one.

    A checkpoint that holds the averaged weights alone (`ema/...`) resumes too, with fresh moments.

    Args:
        module: what is trained, already on its device.
        groups: AdamW's parameter groups.
        path: the checkpoint.
        minutes: how long to train now.
        ema_decay: of the averaged weights.
        made_for: what the weights depend on, kept in the checkpoint.

    Raises:
        WrongBase: the checkpoint depends on something else.
    """

    def __init__(
        self,
        module: nn.Module,
        groups: list[dict],
        path: Path,
        *,
        minutes: float,
        ema_decay: float,
        made_for: str = "",
    ) -> None:
        self.module, self.path, self.minutes, self.made_for = module, path, minutes, made_for
        self.rank = process_rank()
        self.names = {p: n for n, p in module.named_parameters()}
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)
        self.ema = Ema(module, ema_decay)
        self.step, self.seconds = 0, 0.0
        if path.exists():
            self._resume()
        self._before, self.seconds_now = self.seconds, 0.0
        self._begin = self._saved = time.monotonic()
        self._logged: dict[str, list[float]] = {}

    @property
    def seconds_left(self) -> float:
        """Time left of this run."""
        return 60 * self.minutes - self.seconds_now

    def _resume(self) -> None:
        tensors, facts = load_state(self.path)
        if facts.get("made_for", "") != self.made_for:
            raise WrongBase(
                f"expected a checkpoint made for codec {self.made_for[:8]}, but {self.path} was made for "
                f"{facts.get('made_for', '')[:8] or 'none'}; move it away to start anew."
            )
        device = next(self.module.parameters()).device
        self.ema.shadow = {n: tensors[f"ema/{n}"].float().to(device) for n in self.names.values()}
        weights = {n: tensors.get(f"model/{n}", self.ema.shadow[n]) for n in self.names.values()}
        self.module.load_state_dict(weights, strict=False)
        restore_optimizer(self.optimizer, self.names, tensors)
        self.step, self.seconds = facts["step"], facts["seconds"]

    def goes_on(self) -> bool:
        """Reads the clock; False once the time is up, and then the checkpoint has been written."""
        self.seconds_now = first_ones(time.monotonic() - self._begin)
        self.seconds = self._before + self.seconds_now
        if self.seconds_left > 0:
            return True
        self.save()
        return False

    def update(self, loss: Tensor, rate: float, figures: dict[str, float]) -> None:
        """One optimizer step at learning rate `rate`; `figures` are averaged for the log."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.module)
        nn.utils.clip_grad_norm_(self.module.parameters(), MAX_GRADIENT_NORM)
        self.optimizer.step()
        self.ema.update(self.module, self.step)
        self.step += 1
        for name, value in figures.items():
            self._logged.setdefault(name, []).append(value)
        if time.monotonic() - self._saved > SAVE_EVERY_S:
            self.save()
            self._saved = time.monotonic()

    def log(self, note: str = "", show: Callable[[float], float] = lambda mean: mean) -> None:
        """Every hundred steps, prints the mean of each figure, passed through `show`."""
        if self.step % LOG_EVERY_STEPS or self.rank:
            return
        means = {n: round(show(sum(v) / len(v)), 4) for n, v in sorted(self._logged.items())}
        print(f"step {self.step}  {self.seconds / 60:.1f} min  {means}  {note}", flush=True)
        self._logged.clear()

    def save(self) -> None:
        """Writes the checkpoint, from the first process."""
        if self.rank:
            return
        tensors = {f"model/{n}": p for p, n in self.names.items()}
        tensors |= {f"ema/{n}": t for n, t in self.ema.shadow.items()}
        tensors |= optimizer_tensors(self.optimizer, self.names)
        save_state(self.path, tensors, {"step": self.step, "seconds": self.seconds, "made_for": self.made_for})
