"""What a job will take, told before it begins from the jobs before it on this machine."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from motion_transfer.jobs.orders import RENDER, TUNE
from motion_transfer.jobs.store import DONE, Job
from motion_transfer.lora.heads import MODULES, ROW_MODULES
from motion_transfer.methods.fym_frames import default_sparse_latents
from motion_transfer.model.catalog import BaseSpec
from motion_transfer.planner import Planned
from motion_transfer.types import RenderSpec, TuneSpec

LATEST = 5  # jobs that count: a machine's pace changes
FRAMES_PER_LATENT, TOKEN_PX = 4, 16  # of Wan's codec, and of its codec and patches
SECONDS, STEPS, RAN_ON, FILE_MB = "seconds", "steps", "ran_on", "file_mb"  # what a job's results say of it
SHARES = "shares"  # and how much of the device's rate of matrix products each stage reached, where that was measured
BYTES_A_PIXEL = 0.1  # of a rendered video, about
_FLOAT_BYTES = 4
_CHECKPOINTS, _STATES, _STAGES = 2, 3, 2  # two are kept, each of matrices and two moments, of both stages


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Time and memory are None where neither a job of this base and precision nor a plan told them; `num_jobs` says how
    many jobs did.

    `tight` says that memory should not suffice, by the plan, where no job tells. `kept_mb` is what the result takes on
    disk, `disk_mb` what is needed while the job is under way, `no_room` that the disk has less.
    """

    seconds: float | None
    memory_mb: float | None
    kept_mb: float | None
    disk_mb: float | None
    num_jobs: int
    tight: bool | None = None
    no_room: bool | None = None

    def as_values(self) -> dict[str, Any]:
        """As an order keeps it, to be compared with what the job took."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def with_room(found: Estimate, folder: Path) -> Estimate:
    """An estimate that knows whether the disk of a folder has room for the job; the folder need not be there yet."""
    disk = next(path for path in (folder, *folder.parents) if path.is_dir())
    no_room = found.disk_mb is not None and found.disk_mb * 1e6 > shutil.disk_usage(disk).free
    return replace(found, no_room=True) if no_room else found


def ran_on(base: str, precision: str) -> str:
    """The name under which a job's results say what they ran on."""
    return f"{base}/{precision}"


def _latest(past: Sequence[Job], kind: str, on: str) -> list[Job]:
    """The jobs that can tell: the last ones of a kind that were done on this base."""
    told = [job for job in past if job.kind == kind and job.state == DONE and job.results.get(RAN_ON) == on
            and SECONDS in job.results and STEPS in job.results]  # fmt: skip
    return sorted(told, key=lambda job: job.ended_s or 0.0)[-LATEST:]


def _seconds(
    latest: Sequence[Job], wanted: Mapping[str, float], step_work: Callable[[Job], Mapping[str, float]]
) -> float | None:
    """Wanted work at the median pace of each stage, and what else a job takes; None where a pace is not known.

    A job that went on from a checkpoint counts with the steps after it.

    Args:
        latest: jobs.
        wanted: work by stage.
        step_work: what one step of a job's stages does of it.
    """
    if not latest:
        return None
    paces: dict[str, list[float]] = {stage: [] for stage in wanted}
    others = []
    for job in latest:
        took, steps, each = job.results[SECONDS], job.results[STEPS], step_work(job)
        others.append(sum(seconds for stage, seconds in took.items() if stage not in wanted))
        for stage, found in paces.items():
            if steps.get(stage) and each[stage]:
                found.append(took[stage] / (steps[stage] * each[stage]))
    if any(work and not paces[stage] for stage, work in wanted.items()):
        return None
    return median(others) + sum(median(paces[stage]) * work for stage, work in wanted.items() if work)


def _memory(latest: Sequence[Job], plan: Planned | None) -> float | None:
    told = max((job.peak_memory_mb for job in latest if job.peak_memory_mb), default=None)
    return plan.memory_mb if told is None and plan is not None else told


def _tight(latest: Sequence[Job], plan: Planned | None) -> bool | None:
    return True if plan is not None and not latest and not plan.fits else None


def _frames_a_step(spec: Mapping[str, Any], base: BaseSpec) -> dict[str, float]:
    """How many frames one step of each tuning stage sees."""
    latents, tokens = (base.num_frames - 1) // FRAMES_PER_LATENT + 1, base.height * base.width // TOKEN_PX**2
    sparse = spec["sparse_latents"] or default_sparse_latents(latents, tokens)
    return {"spatial": spec["spatial_batch"], "temporal": spec["temporal_batch"] * sparse}


def _lora_mb(base: BaseSpec, spec: TuneSpec) -> float:
    shape = json.loads((base.folder / "transformer" / "config.json").read_text())
    width = shape["num_attention_heads"] * shape["attention_head_dim"]
    num_modules = len(MODULES if spec.include_output else ROW_MODULES)
    return shape["num_layers"] * num_modules * spec.rank * 2 * width * _FLOAT_BYTES / 1e6


def estimate_tuning(
    past: Sequence[Job], base: BaseSpec, precision: str, spec: TuneSpec, plan: Planned | None = None
) -> Estimate:
    """What learning with these settings will take.

    Time goes by the frames that each stage sees, memory is the most that any of the latest jobs needed, and disk
    follows from the shapes. Where no job tells, the plan does.

    Args:
        past: jobs, of whatever kind and state.
        base: that will be used.
        precision: of its weights.
        spec: settings.
        plan: by the shapes, for these settings.
    """
    latest = _latest(past, TUNE, ran_on(base.name, precision))
    a_step = _frames_a_step(vars(spec), base)
    steps = {"spatial": spec.spatial_steps, "temporal": spec.temporal_steps}
    wanted = {stage: (n + spec.gradient_draws) * a_step[stage] if n else 0.0 for stage, n in steps.items()}
    each_stage = _lora_mb(base, spec)
    kept = each_stage * (2 if spec.keep == "both" else 1)
    seconds = _seconds(latest, wanted, lambda job: _frames_a_step(job.orders["spec"], base))
    return Estimate(
        seconds=plan.seconds if plan is not None and not latest else seconds,
        memory_mb=_memory(latest, plan),
        kept_mb=kept,
        disk_mb=kept + each_stage * _CHECKPOINTS * _STATES * _STAGES,
        num_jobs=len(latest),
        tight=_tight(latest, plan),
    )


def _passes(spec: Mapping[str, Any]) -> float:
    """How often a rendering step runs the network: guidance runs it with a prompt and without."""
    return 2.0 if max(spec["guidance"], spec["early_guidance"]) > 1 else 1.0


def estimate_rendering(
    past: Sequence[Job], base: BaseSpec, precision: str, spec: RenderSpec, num_videos: int = 1,
    plan: Planned | None = None,
) -> Estimate:  # fmt: skip
    """What some renders with these settings will take, one after the other; see `estimate_tuning`."""
    latest = _latest(past, RENDER, ran_on(base.name, precision))
    wanted = {"render": spec.steps * _passes(vars(spec))}
    one = _seconds(latest, wanted, lambda job: {"render": _passes(job.orders["spec"])})
    one = plan.seconds if plan is not None and not latest else one
    sizes = [job.results[FILE_MB] for job in latest]
    pixels = base.num_frames * base.height * base.width
    kept = num_videos * (median(sizes) if sizes else BYTES_A_PIXEL * pixels / 1e6)
    return Estimate(seconds=None if one is None else num_videos * one, memory_mb=_memory(latest, plan),
                    kept_mb=kept, disk_mb=kept, num_jobs=len(latest), tight=_tight(latest, plan))  # fmt: skip
