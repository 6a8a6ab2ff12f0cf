"""What this machine has, and what of it is free."""

from __future__ import annotations

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch


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


def this_machine(folder: Path) -> Machine:
    """The machine as it is now, and the disk that a folder lies on; the folder need not be there yet."""
    folder = next(path for path in (folder, *folder.parents) if path.is_dir())
    memory, gpu, free_gpu, whole_gpu = psutil.virtual_memory(), "", 0, 0
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
        free_gpu, whole_gpu = torch.cuda.mem_get_info()
    return Machine(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        processor=_processor(),
        num_cores=os.cpu_count() or 1,
        memory_gb=memory.total / 1e9,
        free_memory_gb=memory.available / 1e9,
        gpu=gpu,
        gpu_memory_gb=whole_gpu / 1e9,
        free_gpu_memory_gb=free_gpu / 1e9,
        free_disk_gb=shutil.disk_usage(folder).free / 1e9,
    )


def _processor() -> str:
    """The processor's own name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()
