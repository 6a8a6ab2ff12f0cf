"""What learning a motion will take, told before it begins from the jobs before it on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import DONE, Job
from motion_transfer.lora.heads import MODULES
from motion_transfer.model.catalog import BaseSpec
from motion_transfer.types import TuneSpec

LATEST = 5  # jobs that count: a machine's pace changes
FRAMES_PER_LATENT = 4  # of Wan's codec
_FLOAT_BYTES = 4
_CHECKPOINTS, _STATES, _STAGES = 2, 3, 2  # two are kept, each of matrices and two moments, of both stages


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds and peak memory are None where no job of this base was done yet; `num_jobs` says how many told them.

    `kept_mb` is what the LoRA takes on disk, `disk_mb` what is needed while it is learned.
    """

    seconds: float | None
    memory_mb: float | None
    kept_mb: float
    disk_mb: float
    num_jobs: int


def ran_on(base: str, precision: str) -> str:
    """The name under which a job's results say what they ran on."""
    return f"{base}/{precision}"


def _work(spec: Mapping[str, Any], num_latents: int) -> dict[str, float]:
    """How much each stage has to do, in frames seen."""
    sparse = spec["sparse_latents"] or num_latents
    return {
        "spatial": spec["spatial_steps"] * spec["spatial_batch"],
        "temporal": spec["temporal_steps"] * spec["temporal_batch"] * sparse,
    }


def _seconds(job: Job, wanted: Mapping[str, float], num_latents: int) -> float:
    """What the wanted work would have taken at the pace of a job."""
    took, did = job.results["seconds"], _work(job.orders["spec"], num_latents)
    fixed = took["encode"] + took["heads"]
    return fixed + sum(took[stage] / did[stage] * wanted[stage] for stage in wanted if did[stage])


def _lora_mb(base: BaseSpec, rank: int) -> float:
    shape = json.loads((base.folder / "transformer" / "config.json").read_text())
    width = shape["num_attention_heads"] * shape["attention_head_dim"]
    return shape["num_layers"] * len(MODULES) * rank * 2 * width * _FLOAT_BYTES / 1e6


def estimate_tuning(past: Sequence[Job], base: BaseSpec, precision: str, spec: TuneSpec) -> Estimate:
    """What learning with these settings will take.

    Time goes by the work of each stage, at the median pace of the latest jobs that were not interrupted; memory is
    the most that any of them needed.

    Args:
        past: jobs, of whatever kind and state.
        base: that will be used.
        precision: of its weights.
        spec: settings.
    """
    on = ran_on(base.name, precision)
    told = [job for job in past if job.kind == TUNE and job.state == DONE and job.tries == 1
            and job.results.get("ran_on") == on]  # fmt: skip
    latest = sorted(told, key=lambda job: job.ended_s or 0.0)[-LATEST:]
    num_latents = (base.num_frames - 1) // FRAMES_PER_LATENT + 1
    wanted = _work(vars(spec), num_latents)
    seconds = [_seconds(job, wanted, num_latents) for job in latest]
    memory = [job.peak_memory_mb for job in latest if job.peak_memory_mb]
    kept = _lora_mb(base, spec.rank)
    return Estimate(
        seconds=median(seconds) if seconds else None,
        memory_mb=max(memory) if memory else None,
        kept_mb=kept,
        disk_mb=kept * (1 + _CHECKPOINTS * _STATES * _STAGES),
        num_jobs=len(latest),
    )
