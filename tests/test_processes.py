"""Work in several processes: everything is done once, and nothing is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from motion_transfer.errors import NotEnoughMemory
from motion_transfer.processes import each


def _where(number: int) -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def _fail(number: int) -> int:
    raise ValueError(f"number {number}")


def _die(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _wait(folder: Path, number: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(0 if number == 0 else 600)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_every_item_is_worked_on_once(num_processes: int) -> None:
    found = dict(each(_where, range(6), num_processes=num_processes))
    assert sorted(found) == list(range(6))
    processes = {process for process, _ in found.values()}
    assert (processes == {os.getpid()}) == (num_processes == 1) and len(processes) <= num_processes
    assert num_processes == 1 or {threads for _, threads in found.values()} == {max(1, (os.cpu_count() or 1) // 2)}
    assert not multiprocessing.active_children()


def test_failures_arrive() -> None:
    with pytest.raises(ValueError, match="number 3"):
        list(each(_fail, [3], num_processes=2))
    with pytest.raises(NotEnoughMemory, match="fewer"):
        list(each(_die, [0], num_processes=2))


def test_who_stops_early_leaves_no_process_behind(tmp_path: Path) -> None:
    found = each(partial(_wait, tmp_path), [0, 1, 1, 1], num_processes=2)
    next(found)
    found.close()
    assert not multiprocessing.active_children() and list(tmp_path.iterdir())


def _parent(folder: Path) -> None:
    for _ in each(partial(_wait, folder), [1, 1], num_processes=2):
        pass


def test_processes_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    parent = context.Process(target=_parent, args=(tmp_path,))
    parent.start()
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    parent.kill()
    gone, alive = psutil.wait_procs(workers, timeout=30)
    assert len(gone) == 2 and not alive
