"""A worker process: `python -m motion_transfer.jobs --workspace FOLDER --base nano --device cuda:0`.

It ends when its standard input closes, that is when the server that started it is gone, however that went.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from pathlib import Path

from motion_transfer.errors import MotionTransferError
from motion_transfer.jobs.worker import KINDS, Worker
from motion_transfer.model.memory import watch_device
from motion_transfer.pipeline import Studio
from motion_transfer.workspace import Workspace


def _watch_input(leaving: threading.Event) -> None:
    sys.stdin.buffer.read()
    leaving.set()


def main() -> int:
    """Works until the server is gone; exit status 2 if another worker is at the same workspace."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in a terminal reaches all of its processes, but is the server's
    parser = argparse.ArgumentParser(description="Works off the jobs of a workspace.")
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--base", default="nano")
    parser.add_argument("--precision", default="nf4")
    parser.add_argument("--device", default="")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    leaving = threading.Event()
    threading.Thread(target=_watch_input, args=(leaving,), daemon=True).start()
    workspace, device = Workspace(options.workspace), options.device
    watch_device(device)
    studio = Studio(base=options.base, precision=options.precision, device=device or None,
                    workspace=workspace.root)  # fmt: skip
    try:
        with workspace.jobs.workers.alone(device):
            workspace.jobs.queue_orphans(KINDS, device=device)
            Worker(workspace, studio, leaving).work_until_leaving()
    except MotionTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
