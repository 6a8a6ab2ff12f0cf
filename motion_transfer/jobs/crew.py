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
LEAVING_S = 60.0  # for the step under way, and for keeping its state
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

    def __exit__(self, *_: object) -> None:
        """Lets the worker finish its step and keep its state."""
        self._closing.set()
        deadline_s = time.monotonic() + LEAVING_S
        while self._keeper.is_alive() and time.monotonic() < deadline_s:
            if self._process is not None and self._process.stdin is not None:  # another one may just have been started
                self._process.stdin.close()
            self._keeper.join(timeout=0.1)
        if self._keeper.is_alive() and self._process is not None:
            self._process.kill()
