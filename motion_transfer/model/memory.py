"""How much memory the process has used."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import torch


def forget_peak_memory() -> None:
    """Lets the peak begin anew, where the system can (a GPU, Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Peak memory in MB since the process began or forgot: of the GPU where there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10
