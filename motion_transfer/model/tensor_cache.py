"""Tensors that took long to compute, kept on disk by what they were computed from."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from motion_transfer.atomic import replacing

MOST_BYTES = 2 * 10**9
_VALUE = "value"


def default_folder() -> Path:
    """The user's cache folder of this program."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "motion_transfer"


class TensorCache:
    """A folder of tensors; the ones used least recently go when it grows too large.

    Nothing hangs on it: a file that is lost or damaged is computed anew, and where the disk is full nothing is kept.

    Args:
        folder: made when the first tensor is kept.
        most_bytes: of all files together.
    """

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self.folder, self.most_bytes = folder, most_bytes

    def get(self, parts: tuple[str, ...], compute: Callable[[], Tensor]) -> Tensor:
        """The tensor of that name, computed if it isn't there.

        Args:
            parts: what it follows from, all of it: weights, inputs, settings.
            compute: makes it; whatever it raises is raised.
        """
        path = self.folder / f"{hashlib.sha256(repr(parts).encode()).hexdigest()}.safetensors"
        with contextlib.suppress(OSError, SafetensorError, KeyError):
            found = load_file(path)[_VALUE]
            path.touch()
            return found
        made = compute()
        with contextlib.suppress(OSError, SafetensorError):
            self._keep(path, made)
        return made

    def _keep(self, path: Path, made: Tensor) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            save_file({_VALUE: made.detach().cpu().contiguous()}, partial)
        files = sorted((found.stat().st_mtime_ns, found) for found in self.folder.glob("*.safetensors"))
        total = sum(found.stat().st_size for _, found in files)
        for _, found in files[:-1]:
            if total <= self.most_bytes:
                break
            total -= found.stat().st_size
            found.unlink(missing_ok=True)


def hash_of(tensor: Tensor) -> str:
    """SHA-256 of a tensor's type, shape and numbers."""
    digest = hashlib.sha256(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
