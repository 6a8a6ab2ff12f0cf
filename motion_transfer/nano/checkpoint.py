"""Training state on disk: safetensors and JSON, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motion_transfer.atomic import replacing


def save_state(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes `path` (safetensors, with `facts` as JSON in its header) in one atomic step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    with replacing(path) as partial:
        save_file(flat, partial, metadata={"facts": json.dumps(facts)})


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save_state` wrote."""
    with safe_open(str(path), framework="pt") as handle:
        facts = json.loads(handle.metadata()["facts"])
    return load_file(str(path)), facts


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]) -> dict[str, Tensor]:
    """AdamW's or Muon's moments as named tensors."""
    out = {}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            out[f"optimizer/{key}/{names[parameter]}"] = torch.as_tensor(value)
    return out


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str], tensors: dict[str, Tensor]
) -> None:
    """Puts saved moments back; parameters without any start fresh."""
    keys = ("momentum_buffer",) if isinstance(optimizer, torch.optim.Muon) else ("step", "exp_avg", "exp_avg_sq")
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        found, name = {}, names[parameter]
        for key in keys:
            tensor = tensors.get(f"optimizer/{key}/{name}")
            if tensor is not None:
                found[key] = tensor.clone() if key == "step" else tensor.to(parameter.device).clone()
        if found:
            optimizer.state[parameter] = found


class Ema:
    """Exponential moving average of a module's parameters, with a warm start: early on it forgets faster."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.shadow = {name: p.detach().clone() for name, p in module.named_parameters()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Moves the average toward the module's present weights; frozen ones stay bit for bit."""
        decay = min(self.decay, (step + 1) / (step + 10))
        names, values = zip(*((n, p) for n, p in module.named_parameters() if p.requires_grad), strict=True)
        averages = [self.shadow[name] for name in names]
        torch._foreach_mul_(averages, decay)
        torch._foreach_add_(averages, [v.detach() for v in values], alpha=1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Writes the average into a module of the same shape."""
        for name, parameter in module.named_parameters():
            parameter.copy_(self.shadow[name])
