"""Whose memory is told."""

import sys

import numpy as np
import pytest
import torch

from motion_transfer.model.memory import forget_peak_memory, peak_memory_mb, watch_device


@pytest.mark.skipif(torch.cuda.is_available() or sys.platform != "linux", reason="elsewhere the peak is another's")
def test_the_peak_holds_what_was_taken_since() -> None:
    forget_peak_memory()
    before = peak_memory_mb()
    taken = np.ones(2 * 10**8, np.uint8)
    assert peak_memory_mb() >= before + 150 and taken.any()


def test_each_worker_watches_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for device in ("", "cpu", "cuda:1"):
        watch_device(device)
    assert chosen == ["cuda:1"]
