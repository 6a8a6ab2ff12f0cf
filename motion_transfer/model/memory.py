"""How much memory the process has used."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

import psutil
import torch

CONTROL_GROUP = Path("/sys/fs/cgroup")
_CONTROL_GROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def watch_device(device: str) -> None:
    """Makes a GPU such as "cuda:1" the one whose memory is told here; of any other device nothing changes."""
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)


def forget_peak_memory() -> None:
    """Lets the peak begin anew, where the system can (a GPU, Linux)."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def free_memory_bytes(device: torch.device) -> int:
    """Memory that may still be taken: of the GPU, what PyTorch holds unused included; or of the machine, or of the
    container that the process runs in.
    """
    if device.type == "cuda":
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + unused
    return min(int(psutil.virtual_memory().available), _free_in_container())


def _free_in_container() -> int:
    """What the container's control group leaves (versions 2 and 1); beyond all bounds where there is none.

    Pages of files that nobody has touched for a while count as free: the system takes them back when it needs them.
    """
    for limit, used, facts in _CONTROL_GROUPS:
        with contextlib.suppress(OSError, ValueError):
            stat = dict(line.split() for line in (CONTROL_GROUP / facts).read_text().splitlines())
            idle = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
            most, taken = (int((CONTROL_GROUP / name).read_text()) for name in (limit, used))  # "max" is no number
            return max(0, most - taken + idle)
    return sys.maxsize


def peak_memory_mb() -> float:
    """Peak memory in MB (10^6) since the process began or forgot: of the GPU if there is one, else resident memory."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes or KiB
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
