"""The server's side of the workers: starts a process for each device, and starts it again if it dies."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import torch

SHORTEST_LIFE_S = 5.0  # a worker that dies sooner is started again only after a while
WAIT_S = 5.0
LEAVING_S = 60.0  # for the step under way, and for keeping its state
LOG = "worker.log"


def devices() -> tuple[str, ...]:
    """All GPUs that this program may use, or else the CPU."""
    return tuple(f"cuda:{i}" for i in range(torch.cuda.device_count())) or ("cpu",)


class Crew:
    """Keeps one worker per device at the jobs of a workspace while open.

    Args:
        workspace: its folder.
        base: that the jobs use.
        precision: of the base's weights.
        devices: that workers compute on.
    """

    def __init__(self, workspace: Path, base: str, precision: str, devices: Sequence[str]) -> None:
        command = [sys.executable, "-m", "motion_transfer.jobs", "--workspace", str(workspace),
                   "--base", base, "--precision", precision]  # fmt: skip
        self._keepers = [_Keeper([*command, "--device", device], Path(workspace) / LOG) for device in devices]

    def __enter__(self) -> Crew:
        for keeper in self._keepers:
            keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Lets the workers finish their step and keep its state."""
        for keeper in self._keepers:
            keeper.close()
        deadline_s = time.monotonic() + LEAVING_S
        for keeper in self._keepers:
            keeper.see_off(deadline_s)


class _Keeper:
    """Keeps one worker process running."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command, self._log = command, log
        self._process: subprocess.Popen | None = None
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Starts the worker, and again whenever it ends, until `close`."""
        self._keeper.start()

    def _keep(self) -> None:
        while not self._closing.is_set():
            begin_s = time.monotonic()
            try:
                with self._log.open("ab") as log:
                    self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log,
                                                     cwd=Path(__file__).resolve().parents[2])  # fmt: skip
            except OSError as error:  # a full disk, or no memory for another process
                logging.getLogger(__name__).error("the worker can't be started (%s); it is tried again", error)
                self._closing.wait(WAIT_S)
                continue
            status = self._process.wait()
            if not self._closing.is_set():
                logging.getLogger(__name__).warning("the worker ended (status %s) and is started again", status)
                if time.monotonic() - begin_s < SHORTEST_LIFE_S:
                    self._closing.wait(WAIT_S)

    def close(self) -> None:
        """Asks the worker to leave."""
        self._closing.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def see_off(self, deadline_s: float) -> None:
        """Waits until the worker has left, and ends it if it has not by then."""
        while self._keeper.is_alive() and time.monotonic() < deadline_s:
            self.close()  # another one may just have been started
            self._keeper.join(timeout=0.1)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
