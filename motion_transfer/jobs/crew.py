"""The server's side of the worker: starts its process, and starts it again if it dies."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

SHORTEST_LIFE_S = 5.0  # a worker that dies sooner is started again only after a while
WAIT_S = 5.0
LOG = "worker.log"


class Crew:
    """Keeps one worker at the jobs of a workspace while open.

    Args:
        workspace: its folder.
        base: that the jobs use.
        precision: of the base's weights.
    """

    def __init__(self, workspace: Path, base: str, precision: str) -> None:
        self._log = Path(workspace) / LOG
        self._command = [sys.executable, "-m", "motion_transfer.jobs", "--workspace", str(workspace),
                         "--base", base, "--precision", precision]  # fmt: skip
        self._process: subprocess.Popen | None = None
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Crew:
        self._keeper.start()
        return self

    def _keep(self) -> None:
        while not self._closing.is_set():
            begin_s = time.monotonic()
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=log, stderr=log,
                                                 cwd=Path(__file__).resolve().parents[2])  # fmt: skip
            status = self._process.wait()
            if not self._closing.is_set():
                logging.getLogger(__name__).warning("the worker ended (status %s) and is started again", status)
                if time.monotonic() - begin_s < SHORTEST_LIFE_S:
                    self._closing.wait(WAIT_S)

    @property
    def pid(self) -> int | None:
        """Of the worker's process, while it lives."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __exit__(self, *_: object) -> None:
        """Lets the worker finish its step and keep its state."""
        self._closing.set()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self._process.kill()
