"""What learning a motion will take, told before it begins from the jobs before it on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from motion_transfer.jobs.orders import TUNE
from motion_transfer.jobs.store import DONE, Job
from motion_transfer.lora.heads import MODULES, ROW_MODULES
from motion_transfer.methods.fym_tune import default_sparse_latents
from motion_transfer.model.catalog import BaseSpec
from motion_transfer.types import TuneSpec

LATEST = 5  # jobs that count: a machine's pace changes
FRAMES_PER_LATENT, TOKEN_PX = 4, 16  # of Wan's codec, and of its codec and patches
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


def _work(spec: Mapping[str, Any], num_latents: int, frame_tokens: int) -> dict[str, float]:
    """How much each stage has to do, in frames seen."""
    sparse = spec["sparse_latents"] or default_sparse_latents(num_latents, frame_tokens)
    return {
        "spatial": spec["spatial_steps"] * spec["spatial_batch"],
        "temporal": spec["temporal_steps"] * spec["temporal_batch"] * sparse,
    }


def _seconds(job: Job, wanted: Mapping[str, float], shape: tuple[int, int]) -> float:
    """What the wanted work would have taken at the pace of a job."""
    took, did = job.results["seconds"], _work(job.orders["spec"], *shape)
    fixed = took["encode"] + took["heads"]
    return fixed + sum(took[stage] / did[stage] * wanted[stage] for stage in wanted if did[stage])


def _lora_mb(base: BaseSpec, spec: TuneSpec) -> float:
    shape = json.loads((base.folder / "transformer" / "config.json").read_text())
    width = shape["num_attention_heads"] * shape["attention_head_dim"]
    num_modules = len(MODULES if spec.include_output else ROW_MODULES)
    return shape["num_layers"] * num_modules * spec.rank * 2 * width * _FLOAT_BYTES / 1e6


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
    latents = (base.num_frames - 1) // FRAMES_PER_LATENT + 1, base.height * base.width // TOKEN_PX**2
    wanted = _work(vars(spec), *latents)
    seconds = [_seconds(job, wanted, latents) for job in latest]
    memory = [job.peak_memory_mb for job in latest if job.peak_memory_mb]
    each_stage = _lora_mb(base, spec)
    kept = each_stage * (2 if spec.keep == "both" else 1)
    return Estimate(
        seconds=median(seconds) if seconds else None,
        memory_mb=max(memory) if memory else None,
        kept_mb=kept,
        disk_mb=kept + each_stage * _CHECKPOINTS * _STATES * _STAGES,
        num_jobs=len(latest),
    )
