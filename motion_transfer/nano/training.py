"""One resumable training run: optimizer, averaged weights, clock, log and checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from motion_transfer.errors import WrongBase
from motion_transfer.nano.checkpoint import Ema, load_state, optimizer_tensors, restore_optimizer, save_state
from motion_transfer.nano.processes import average_gradients, first_ones, num_processes, process_rank, share

SAVE_EVERY_S = 150
LOG_EVERY_STEPS = 100
MAX_GRADIENT_NORM = 1.0


class Run:
    """Trains a module for some minutes, going on from its checkpoint if there is one.

    A checkpoint that holds the averaged weights alone (`ema/...`) resumes too, with fresh moments.

    Args:
        module: what is trained, already on its device.
        groups: AdamW's parameter groups.
        matrices: parameters that Muon trains instead (Jordan 2024; arXiv 2502.16982 for its scale, at which AdamW's
            rate and decay suit it), kernels of convolutions as one row per output channel. Every process
            orthogonalizes its part of them.
        path: the checkpoint.
        minutes: how long to train now.
        ema_decay: of the averaged weights.
        made_for: what the weights depend on, kept in the checkpoint.
        adapt: go on although the checkpoint depends on something else.

    Raises:
        WrongBase: the checkpoint depends on something else, and is not to adapt.
    """

    def __init__(
        self,
        module: nn.Module,
        groups: list[dict],
        path: Path,
        *,
        matrices: Sequence[nn.Parameter] = (),
        minutes: float,
        ema_decay: float,
        made_for: str = "",
        adapt: bool = False,
    ) -> None:
        self.module, self.path, self.minutes, self.made_for = module, path, minutes, made_for
        self.rank = process_rank()
        self.names = {p: n for n, p in module.named_parameters()}
        self.matrices = [p for p in matrices if p.requires_grad]
        self.optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)]
        self._rows = [nn.Parameter(p.data.flatten(1)) for p in self.matrices]  # the same memory, as Muon wants it
        if own := self._rows[self.rank :: num_processes()]:
            self.optimizers.append(torch.optim.Muon(own, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
        self.ema = Ema(module, ema_decay)
        self.step, self.seconds = 0, 0.0
        self.losses: dict[str, float] = {}  # as last logged
        if path.exists():
            self._resume(adapt)
        self._before, self.seconds_now = self.seconds, 0.0
        self._begin, self._saved_s = time.monotonic(), 0.0
        self._logged: dict[str, list[float]] = {}

    @property
    def seconds_left(self) -> float:
        """Time left of this run."""
        return 60 * self.minutes - self.seconds_now

    def _resume(self, adapt: bool) -> None:
        tensors, facts = load_state(self.path)
        if not adapt and facts.get("made_for", "") != self.made_for:
            raise WrongBase(
                f"expected a checkpoint made for codec {self.made_for[:8]}, but {self.path} was made for "
                f"{facts.get('made_for', '')[:8] or 'none'}; move it away to start anew."
            )
        device = next(self.module.parameters()).device
        self.ema.shadow = {n: tensors[f"ema/{n}"].float().to(device) for n in self.names.values()}
        weights = {n: tensors.get(f"model/{n}", self.ema.shadow[n]) for n in self.names.values()}
        self.module.load_state_dict(weights, strict=False)
        names = self.names | self._names_of_rows()
        for optimizer in self.optimizers:
            restore_optimizer(optimizer, names, tensors)
        self.step, self.seconds, self.losses = facts["step"], facts["seconds"], facts.get("losses", {})

    def _names_of_rows(self) -> dict[nn.Parameter, str]:
        return {rows: self.names[p] for p, rows in zip(self.matrices, self._rows, strict=True)}

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
        self.module.zero_grad(set_to_none=True)
        loss.backward()
        average_gradients(self.module)
        nn.utils.clip_grad_norm_(self.module.parameters(), MAX_GRADIENT_NORM)
        for parameter, rows in zip(self.matrices, self._rows, strict=True):
            rows.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        share([p.data for p in self.matrices])
        self.ema.update(self.module, self.step)
        self.step += 1
        for name, value in figures.items():
            self._logged.setdefault(name, []).append(value)
        if self.seconds_now - self._saved_s > SAVE_EVERY_S:  # the first process's clock: saving takes all of them
            self.save()
            self._saved_s = self.seconds_now

    def log(self, note: str = "", show: Callable[[str, float], float] = lambda _, mean: mean) -> None:
        """Every hundred steps, prints the mean of each figure, as `show` makes it of name and mean."""
        if self.step % LOG_EVERY_STEPS or self.rank:
            return
        self.losses = {n: round(show(n, sum(v) / len(v)), 4) for n, v in sorted(self._logged.items())}
        print(f"step {self.step}  {self.seconds / 60:.1f} min  {self.losses}  {note}", flush=True)
        self._logged.clear()

    def _moments(self) -> dict[str, Tensor]:
        """Muon's momentum of all matrices, under the names that `optimizer_tensors` gives."""
        if not self.matrices or self.step == 0:
            return {}
        key, state = "momentum_buffer", self.optimizers[-1].state
        buffers = [state[rows][key] if rows in state else torch.zeros_like(rows) for rows in self._rows]
        share(buffers)
        return {f"optimizer/{key}/{n}": b for n, b in zip(self._names_of_rows().values(), buffers, strict=True)}

    def save(self) -> None:
        """Writes the checkpoint, from the first process, which gets the others' part of the moments first."""
        moments = self._moments()
        if self.rank:
            return
        tensors = {f"model/{n}": p for p, n in self.names.items()}
        tensors |= {f"ema/{n}": t for n, t in self.ema.shadow.items()}
        tensors |= optimizer_tensors(self.optimizers[0], self.names) | moments
        facts = {"step": self.step, "seconds": self.seconds, "made_for": self.made_for, "losses": self.losses}
        save_state(self.path, tensors, facts)
