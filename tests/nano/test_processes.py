"""Two training processes act as one."""

import os
import socket
from pathlib import Path

import torch
import torch.multiprocessing as mp
from torch import nn

from motion_transfer.nano.checkpoint import load_state, save_state
from motion_transfer.nano.training import Run


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _worker(rank: int, port: int, folder: str) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    os.environ["MASTER_PORT"] = str(port)
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 1))
    path, matrices = Path(folder) / "run.safetensors", [module[0].weight, module[1].weight]
    rest = [p for p in module.parameters() if not any(p is m for m in matrices)]
    run = Run(module, [{"params": rest}], path, matrices=matrices, minutes=1, ema_decay=0)
    run.goes_on()
    for _ in range(2):
        run.update(module(torch.randn(2, 3) + rank).square().sum(), 1e-2, {})
    save_state(Path(folder) / str(rank), dict(module.named_parameters()), {"seconds": run.seconds})
    run.save()
    torch.distributed.destroy_process_group()


def test_gradients_and_clock_are_shared(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(_free_port(), str(tmp_path)), nprocs=2)
    (first, first_facts), (second, second_facts) = (load_state(tmp_path / str(rank)) for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)  # though each saw other data
    assert first_facts == second_facts
    saved, facts = load_state(tmp_path / "run.safetensors")
    assert facts["step"] == 2 and all(torch.equal(saved[f"model/{name}"], first[name]) for name in first)
    assert saved["optimizer/momentum_buffer/1.weight"].abs().max() > 0  # the second process's
