"""Starts the page: `python app.py`. A Hugging Face Space runs this file, too."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

NUM_PORTS = 100
LENDS_GPUS = "SPACES_ZERO_GPU"  # set on such Spaces


def _parser() -> argparse.ArgumentParser:
    """The options; a Space names its address in the environment."""
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    parser = argparse.ArgumentParser(description="Learn the motion of a clip and render it onto new content.")
    parser.add_argument("--host", default=host, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=7860, help="port, or the next free one (default: %(default)s)")
    parser.add_argument("--workspace", type=Path, help="folder of motions, renders and uploads")
    parser.add_argument("--base", default="nano", help="nano, or a Wan folder in diffusers layout")
    parser.add_argument("--precision", default="nf4", help="nf4, int8, bf16 or fp32 (default: %(default)s)")
    parser.add_argument("--visitors", action="store_true", default="SPACE_ID" in os.environ,
                        help="give every visitor a library of their own (always so on a Space)")  # fmt: skip
    parser.add_argument("--mcp", action="store_true", help="offer the endpoints to agents, too (needs the package mcp)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    return parser


def free_port(host: str, first: int) -> int | None:
    """The first free port from `first` on, among a hundred; None if there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(max(first, 1), min(first + NUM_PORTS, 65536)):
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    return None


def _lent_gpu() -> Callable[..., Any] | None:
    """What lends a GPU to a function, on a Space that has none of its own; else None."""
    if not os.environ.get(LENDS_GPUS):
        return None
    return importlib.import_module("spaces").GPU


def _serve(options: argparse.Namespace, port: int) -> None:
    """Builds the page, starts the worker and serves the page until interrupted."""
    from motion_transfer.jobs.crew import Crew, devices
    from motion_transfer.jobs.slices import Slices
    from motion_transfer.library import Library
    from motion_transfer.pipeline import Studio, default_workspace
    from motion_transfer.workspace import Workspace

    workspace = Workspace(options.workspace or default_workspace(), isolated=options.visitors)
    Library(workspace.root).prepare()
    os.environ["GRADIO_TEMP_DIR"] = str(workspace.uploads)
    from motion_transfer.ui.app import build_app, launch_options

    named = options.base == "nano" or not Path(options.base).expanduser().is_dir()
    base = options.base if named else str(Path(options.base).expanduser().resolve())  # workers start elsewhere
    studio, slices = Studio(base=base, precision=options.precision, workspace=workspace.root), None
    crew: AbstractContextManager = Crew(workspace.root, base, options.precision, devices())
    if lend := _lent_gpu():
        slices, crew = Slices(workspace, base, options.precision, lend), nullcontext()
    page = build_app(studio, workspace, slices)
    with crew:
        page.launch(server_name=options.host, server_port=port, inbrowser=not options.no_browser,
                    mcp_server=options.mcp,
                    **launch_options(workspace))  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the page; exit status 2 with one line for a user's mistake."""
    options = _parser().parse_args(arguments)
    # The libraries read these when they are imported, so all imports of ours come later.
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_DISABLE_TELEMETRY="1")
    _lent_gpu()  # its package must be imported before torch
    from motion_transfer.errors import MotionTransferError

    if options.mcp and importlib.util.find_spec("mcp") is None:
        print("error: --mcp needs the package mcp, but it is not installed; run pip install 'mcp<2' first.",
              file=sys.stderr)  # fmt: skip
        return 2
    port = free_port(options.host, options.port)
    if port is None:
        print(f"error: no free port from {options.port} on at {options.host}; choose another port, or an address "
              "of this machine.", file=sys.stderr)  # fmt: skip
        return 2
    try:
        _serve(options, port)
    except MotionTransferError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # another program may have taken the port by now
        print(f"error: the page can't be served ({error}); choose another port, address or workspace.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
