"""The command line: `python -m motion_transfer transfer CLIP --prompt P` and its single steps.

Exit status 0; 2 with one line on standard error for a user's mistake; 130 when interrupted.
"""

from __future__ import annotations

import sys

import typer

from motion_transfer.cli import benches, blocks, doctor, hub, lora, shapes, work
from motion_transfer.cli.shared import app, end_line
from motion_transfer.errors import MotionTransferError
from motion_transfer.ranks import speaks

INTERRUPTED = 130
COMMANDS = (work, lora, benches, shapes, blocks, doctor, hub)  # each module adds its own to `app`


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    try:
        status = app(arguments, standalone_mode=False)
    except MotionTransferError as error:
        if speaks():
            end_line()
            print(f"error: {error}", file=sys.stderr)
        return 2
    except (typer.Abort, KeyboardInterrupt):
        status = INTERRUPTED
    except typer.TyperException as error:
        if message := error.format_message():  # without any argument the help was shown instead
            print(f"error: {message}", file=sys.stderr)
        return 2
    except OSError as error:
        end_line()
        print(f"error: {error}; check the path and the free space.", file=sys.stderr)
        return 2
    if status == INTERRUPTED:  # typer itself turns Ctrl-C into this status
        end_line()
        print("interrupted", file=sys.stderr)
    return status if isinstance(status, int) else 0
