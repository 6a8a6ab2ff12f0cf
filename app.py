"""Starts the page: `python app.py`. A Hugging Face Space runs this file, too."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

NUM_PORTS = 100


def _parser() -> argparse.ArgumentParser:
    from motion_transfer.types import PRECISIONS

    parser = argparse.ArgumentParser(description="Learn the motion of a clip and render it onto new content.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=7860, help="port, or the next free one (default: 7860)")
    parser.add_argument("--workspace", type=Path, help="folder of motions, renders and uploads")
    parser.add_argument("--base", default="nano", help="nano, or a Wan folder in diffusers layout")
    parser.add_argument("--precision", default="nf4", choices=PRECISIONS, help="of the base's weights (default: nf4)")
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser window")
    return parser
