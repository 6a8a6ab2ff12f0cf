"""A training run resumes where it was: same bytes as without a stop."""

from pathlib import Path

import pytest
import torch
from torch import nn

from motion_transfer.nano.checkpoint import load_state, save_state
from motion_transfer.nano.training import Run


def _module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 3))


def _train(path: Path, steps: int, muon: bool = False) -> nn.Module:
    module = _module()
    matrices = [module[0].weight] if muon else []
    rest = [p for p in module.parameters() if not any(p is m for m in matrices)]
    run = Run(module, [{"params": rest, "weight_decay": 0.01}], path, matrices=matrices, minutes=1, ema_decay=0.9)
    for _ in range(steps):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(run.step))
        run.update(module(x).square().mean(), 1e-2, {"loss": 1.0})
    run.save()
    return module


@pytest.mark.parametrize("muon", [False, True])
def test_a_stopped_run_ends_with_the_same_bytes(tmp_path: Path, muon: bool) -> None:
    _train(tmp_path / "whole.safetensors", 6, muon)
    _train(tmp_path / "parts.safetensors", 2, muon)
    _train(tmp_path / "parts.safetensors", 4, muon)
    whole, facts = load_state(tmp_path / "whole.safetensors")
    parts, facts_parts = load_state(tmp_path / "parts.safetensors")
    assert facts["step"] == facts_parts["step"] == 6
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_muon_trains_kernels_of_convolutions_in_place(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))
    kernels, before = [layer.weight for layer in module], [layer.weight.clone() for layer in module]
    kernels[1].requires_grad_(False)
    run = Run(module, [{"params": [layer.bias for layer in module]}], tmp_path / "r.safetensors", matrices=kernels,
              minutes=1, ema_decay=0.9)  # fmt: skip
    run.update(module(torch.randn(2, 3, 8, 8)).square().mean(), 0.1, {})
    rows_OI = (kernels[0] - before[0] * (1 - 0.1 * 0.01)).flatten(1)
    singular = torch.linalg.svdvals(rows_OI)
    assert singular.min() > 0.5 * singular.max()  # an orthogonal step, whatever the gradient's own spectrum
    assert torch.equal(kernels[1], before[1])
    run.save()
    resumed = Run(module, [{"params": [layer.bias for layer in module]}], tmp_path / "r.safetensors",
                  matrices=kernels, minutes=1, ema_decay=0.9)  # fmt: skip
    assert resumed.step == 1


def test_the_average_alone_is_enough_to_go_on(tmp_path: Path) -> None:
    _train(tmp_path / "run.safetensors", 3)
    tensors, facts = load_state(tmp_path / "run.safetensors")
    average = {n: t for n, t in tensors.items() if n.startswith("ema/")}
    save_state(tmp_path / "run.safetensors", average, facts)
    module = _module()
    run = Run(module, [{"params": list(module.parameters())}], tmp_path / "run.safetensors", minutes=1, ema_decay=0.9)
    assert run.step == 3
    assert all(torch.equal(p, average[f"ema/{n}"]) for n, p in module.named_parameters())


def test_frozen_weights_stay_bit_for_bit(tmp_path: Path) -> None:
    module = _module()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    run = Run(module, [{"params": list(module.parameters())}], tmp_path / "r.safetensors", minutes=1, ema_decay=0.9)
    for _ in range(3):
        run.update(module(torch.ones(2, 4)).square().mean(), 1e-2, {})
    assert torch.equal(module[0].weight, before)
    assert torch.equal(run.ema.shadow["0.weight"], before)
    assert not torch.equal(run.ema.shadow["2.weight"], _module()[2].weight)


def test_a_torn_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, {"a": torch.ones(2)}, {"step": 1})

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("motion_transfer.atomic.os.replace", fail)
    with pytest.raises(OSError, match="no space"):
        save_state(path, {"a": torch.zeros(2)}, {"step": 2})
    tensors, facts = load_state(path)
    assert facts == {"step": 1} and torch.equal(tensors["a"], torch.ones(2))
