"""Whose memory is told."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from motion_transfer.model import memory
from motion_transfer.model.memory import forget_peak_memory, free_memory_bytes, peak_memory_mb, watch_device


@pytest.mark.skipif(torch.cuda.is_available() or sys.platform != "linux", reason="elsewhere the peak is another's")
def test_the_peak_holds_what_was_taken_since() -> None:
    forget_peak_memory()
    before = peak_memory_mb()
    taken = np.ones(2 * 10**8, np.uint8)
    assert peak_memory_mb() >= before + 150 and taken.any()


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"memory.max": "3000", "memory.current": "2500", "memory.stat": "anon 7\ninactive_file 400"}, 900),
        ({"memory.max": "3000", "memory.current": "3500", "memory.stat": "anon 7"}, 0),
        ({"memory.max": "max", "memory.current": "2500", "memory.stat": "inactive_file 400"}, None),
        ({"memory/memory.limit_in_bytes": "3000", "memory/memory.usage_in_bytes": "1000",
          "memory/memory.stat": "inactive_file 1\ntotal_inactive_file 50"}, 2050),
        ({}, None),
    ],
)  # fmt: skip
def test_a_container_s_limit_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], free: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "CONTROL_GROUP", tmp_path)
    found = free_memory_bytes(torch.device("cpu"))
    assert found == free if free is not None else found > 10**6


def test_each_worker_watches_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for device in ("", "cpu", "cuda:1"):
        watch_device(device)
    assert chosen == ["cuda:1"]
