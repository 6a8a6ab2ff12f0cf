"""Copies for looking at: enlarged clips, pictures and files that a page shows, under paths that nobody can guess."""

from __future__ import annotations

import hmac
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from motion_transfer.atomic import replacing
from motion_transfer.types import Clip
from motion_transfer.video.frames import save_png
from motion_transfer.video.io import write_clip

SHOWN_SIDE_PX = 384
KEPT_SECONDS = 24 * 3600.0  # as long as a page may stay open with them

_SECRET = secrets.token_bytes(32)


def _linked(source: Path, path: Path) -> None:
    """Another name for a saved file, which nobody writes into; a copy where the disk knows no such names."""
    if os.access(source, os.W_OK):  # else it could not be written through to the disk
        with suppress(OSError):
            os.link(source, path)
            return
    shutil.copyfile(source, path)


class Copies:
    """Copies in one folder, each kept for about a day after it was last asked for.

    Args:
        folder: made when something is first shown.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clip(self, clip: Clip) -> Path:
        """A clip, enlarged if it is small."""
        path = self._path(".mp4")
        write_clip(clip, path, min_side_px=SHOWN_SIDE_PX)
        return path

    def picture(self, picture_HWC: np.ndarray) -> Path:
        """A picture `(H, W, 3)` uint8 RGB."""
        path = self._path(".png")
        save_png(picture_HWC, path)
        return path

    def file(self, source: Path, *, name: str = "") -> Path:
        """A saved file, in a folder of its own if it is to keep a name; the same copy while the file stays the same."""
        return self.made_of(source, name, lambda path: _linked(source, path) if name else shutil.copyfile(source, path))

    def made_of(self, source: Path, name: str, make: Callable[[Path], object]) -> Path:
        """A file made of a saved one, see `file`; `make` is asked to write it anew when the source has changed."""
        changed = source.stat()
        facts = f"{source.resolve()}\n{changed.st_mtime_ns}\n{changed.st_size}\n{name}"
        path = self._path(source.suffix, hmac.digest(_SECRET, facts.encode(), "sha256").hex()[:32])
        if name:
            path = path.with_suffix("") / name
        if path.is_file():  # looked at before
            os.utime(path.parent if name else path)
            return path
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as partial:
            make(partial)
        return path

    def _path(self, suffix: str, stem: str = "") -> Path:
        """A fresh path, or one of a stem; copies that have served are removed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if time.time() - os.stat(old).st_mtime > KEPT_SECONDS:
                    shutil.rmtree(old) if old.is_dir() else old.unlink()
        return self._folder / f"{stem or secrets.token_hex(16)}{suffix}"
