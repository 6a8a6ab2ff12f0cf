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
    module = nn.Linear(3, 1)
    run = Run(module, [{"params": list(module.parameters())}], Path(folder) / "run.safetensors", minutes=1, ema_decay=0)
    run.goes_on()
    x = torch.full((2, 3), float(rank + 1))
    run.update(module(x).sum(), 1e-2, {})
    save_state(Path(folder) / str(rank), {"weight": module.weight}, {"seconds": run.seconds})
    run.save()
    torch.distributed.destroy_process_group()


def test_gradients_and_clock_are_shared(tmp_path: Path) -> None:
    mp.spawn(_worker, args=(_free_port(), str(tmp_path)), nprocs=2)
    (first, first_facts), (second, second_facts) = (load_state(tmp_path / str(rank)) for rank in (0, 1))
    assert torch.equal(first["weight"], second["weight"])  # though each saw other data
    assert first_facts == second_facts
    saved, facts = load_state(tmp_path / "run.safetensors")
    assert facts["step"] == 1 and torch.equal(saved["model/weight"], first["weight"])
