"""What this machine has, and what of it is free; in a container, what that may have."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from motion_transfer.model.memory import CONTROL_GROUP, free_memory_bytes

_GPU_ANSWERS_S = 5.0
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Sizes in GB (10^9 bytes). `gpu` is empty where there is none; then its memory is 0."""

    system: str
    processor: str
    num_cores: int
    memory_gb: float
    free_memory_gb: float
    gpu: str
    gpu_memory_gb: float
    free_gpu_memory_gb: float
    free_disk_gb: float

    @property
    def computes_on(self) -> str:
        """The GPU's name, or the processor's where there is none."""
        return self.gpu or self.processor


def device_name(device: torch.device) -> str:
    """A GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()


def this_machine(folder: Path) -> Machine:
    """The machine as it is now, and the disk that a folder lies on; the folder need not be there yet."""
    folder = next(path for path in (folder, *folder.parents) if path.is_dir())
    memory, (gpu, whole_gpu, free_gpu) = psutil.virtual_memory(), _gpu()
    return Machine(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        processor=_processor(),
        num_cores=os.cpu_count() or 1,
        memory_gb=min(memory.total, _container_limit()) / 1e9,
        free_memory_gb=free_memory_bytes(torch.device("cpu")) / 1e9,
        gpu=gpu,
        gpu_memory_gb=whole_gpu,
        free_gpu_memory_gb=free_gpu,
        free_disk_gb=shutil.disk_usage(folder).free / 1e9,
    )


def _container_limit() -> int:
    """Memory that the container's control group allows (versions 2 and 1); beyond all bounds where there is none."""
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # "max" is no number
            return int((CONTROL_GROUP / limit).read_text())
    return sys.maxsize


def _gpu() -> tuple[str, float, float]:
    """Name, memory and free memory in GB of the first GPU, as the driver's own tool tells them.

    PyTorch would tell them as well, but takes some of that memory for itself to do so.
    """
    ask = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(ask, capture_output=True, text=True, timeout=_GPU_ANSWERS_S, check=True).stdout
        name, total_mib, free_mib = said.splitlines()[0].rsplit(",", 2)
        return name.strip(), float(total_mib) * 2**20 / 1e9, float(free_mib) * 2**20 / 1e9
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return "", 0.0, 0.0


def _processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
