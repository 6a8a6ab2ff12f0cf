"""The worker's keeper: it starts a worker, starts it again, and outlives a system that can't give it one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from motion_transfer.jobs import crew as crew_module
from motion_transfer.jobs.crew import LOG, Crew, devices


def _wait(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_worker_that_dies_or_cant_be_started_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew_module, "WAIT_S", 0.05)
    popen, tries = subprocess.Popen, []

    def start(command: list[str], **settings: object) -> subprocess.Popen:
        tries.append(command)
        if len(tries) == 1:
            raise OSError(12, "Cannot allocate memory")
        code = "print('at work', flush=True)" if len(tries) == 2 else "import sys; sys.stdin.read(); print('left')"
        return popen([sys.executable, "-c", code], **settings)

    monkeypatch.setattr(subprocess, "Popen", start)
    with Crew(tmp_path, "nano", "nf4", ["cpu"]):
        _wait(lambda: len(tries) == 3)
    assert tries[0][-4:] == ["--precision", "nf4", "--device", "cpu"]
    assert (tmp_path / LOG).read_text() == "at work\nleft\n"


def test_every_device_gets_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    popen, asked = subprocess.Popen, []

    def start(command: list[str], **settings: object) -> subprocess.Popen:
        asked.append(command[-1])
        return popen([sys.executable, "-c", "import sys; sys.stdin.read()"], **settings)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(subprocess, "Popen", start)
    with Crew(tmp_path, "nano", "nf4", devices()):
        _wait(lambda: len(asked) == 2)
    assert sorted(asked) == ["cuda:0", "cuda:1"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices() == ("cpu",)
