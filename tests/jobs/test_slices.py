"""Jobs in slices: the same bytes as in one go, each visitor's own, and nothing is left running."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motion_transfer.jobs import slices as slices_module
from motion_transfer.jobs import teller
from motion_transfer.jobs.orders import RENDER, TUNE, RenderOrder, TuneOrder, to_json
from motion_transfer.jobs.slices import Slices
from motion_transfer.jobs.store import DONE, FAILED, MOST_DEATHS, PAUSED, QUEUED, Job
from motion_transfer.jobs.worker import Worker
from motion_transfer.pipeline import Studio
from motion_transfer.types import Clip, Progress, RenderSpec, TuneSpec
from motion_transfer.video.io import write_clip
from motion_transfer.workspace import Workspace

SPEC = TuneSpec(caption="a red square", spatial_steps=4, temporal_steps=6, rank=2, sparse_latents=5, gradient_draws=1)


class Lender:
    """Stands in for `spaces.GPU`: notes how long each call was to be."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, *, duration: Callable[..., float]) -> Callable[..., Any]:
        def lend(function: Callable[..., Any]) -> Callable[..., Any]:
            def called(*arguments: Any) -> Any:
                self.seconds.append(duration(*arguments))
                return function(*arguments)

            return called

        return lend


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work", isolated=True)


@pytest.fixture
def owners(workspace: Workspace) -> tuple[str, str]:
    return workspace.owner("a" * 32), workspace.owner("b" * 32)


@pytest.fixture
def lender() -> Lender:
    return Lender()


@pytest.fixture
def slices(workspace: Workspace, tiny_base_folder: Path, lender: Lender) -> Slices:
    return Slices(workspace, str(tiny_base_folder), "fp32", lender)


def _order_tune(workspace: Workspace, owner: str, clip: Clip) -> Job:
    key = workspace.jobs.new_key()
    write_clip(clip, workspace.jobs.files(key) / "clip.mp4", min_side_px=64)
    order = TuneOrder(name="Wave", clip="clip.mp4", source="square.mp4", spec=SPEC)
    return workspace.jobs.submit(key, TUNE, owner, "Wave", to_json(order))


def _order_render(workspace: Workspace, owner: str) -> Job:
    order = RenderOrder(spec=RenderSpec(prompt="a red star", steps=2))
    return workspace.jobs.submit(workspace.jobs.new_key(), RENDER, owner, "star", to_json(order))


def _leave_after(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every slice ends after so many steps of learning."""
    heed, steps = teller.Teller._step, [0]

    def step(self: teller.Teller, progress: Progress) -> None:
        heed(self, progress)
        if progress.stage in ("spatial", "temporal"):
            steps[0] += 1
            if steps[0] % num_steps == 0:
                self._leaving.set()

    monkeypatch.setattr(teller.Teller, "_step", step)


def test_slices_make_the_same_bytes_as_one_go(
    workspace: Workspace, slices: Slices, lender: Lender, owners: tuple[str, str], square_clip: Clip,
    tmp_path: Path, tiny_base_folder: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    job = _order_tune(workspace, owners[0], square_clip)
    whole = Workspace(tmp_path / "whole")
    shutil.copytree(workspace.root, whole.root)
    studio = Studio(base=str(tiny_base_folder), precision="fp32", device="cpu")
    Worker(whole, studio, threading.Event()).work()
    _leave_after(4, monkeypatch)
    count = 0
    while workspace.jobs.job(job.key).state == QUEUED and count < 20:
        assert slices.work(owners[0])
        count += 1
    done = workspace.jobs.job(job.key)
    assert done.state == DONE and count > 2 and lender.seconds == [slices_module.SLICE_S] * count
    files = [space.library(owners[0]).loras / f"{done.results['motion']}.safetensors" for space in (workspace, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not slices.work(owners[0])


def test_a_slice_is_for_its_visitor_alone(
    workspace: Workspace, slices: Slices, lender: Lender, owners: tuple[str, str]
) -> None:
    mine, other = (_order_render(workspace, owner) for owner in owners)
    assert slices.work(owners[1])
    assert [workspace.jobs.job(job.key).state for job in (mine, other)] == [QUEUED, DONE]
    assert lender.seconds == [slices_module.RENDER_SLICE_S]


def test_what_is_cut_off_waits_again_and_gives_up_in_the_end(
    workspace: Workspace, tiny_base_folder: Path, owners: tuple[str, str]
) -> None:
    """A lender may end a call in the middle of it."""

    def lend(**_: Any) -> Callable[..., Any]:
        def cut_off(*_: Any) -> Any:
            workspace.jobs.take((RENDER,), owners[0])
            raise RuntimeError("GPU task aborted")

        return lambda _: cut_off

    job, slices = _order_render(workspace, owners[0]), Slices(workspace, str(tiny_base_folder), "fp32", lend)
    for state in (QUEUED,) * (MOST_DEATHS - 1) + (FAILED,):
        assert slices.work(owners[0])
        assert workspace.jobs.job(job.key).state == state
    assert "smaller settings" in workspace.jobs.job(job.key).note and not slices.work(owners[0])


def test_where_no_gpu_is_lent_the_jobs_are_laid_aside_and_say_why(
    workspace: Workspace, tiny_base_folder: Path, owners: tuple[str, str]
) -> None:
    def lend(**_: Any) -> Callable[..., Any]:
        def refused(*_: Any) -> Any:
            raise RuntimeError("You have exceeded your GPU quota")

        return lambda _: refused

    jobs, slices = (
        [_order_render(workspace, owners[0]) for _ in range(2)],
        Slices(workspace, str(tiny_base_folder), "fp32", lend),
    )
    assert not slices.work(owners[0])
    for job in jobs:
        paused = workspace.jobs.job(job.key)
        assert paused.state == PAUSED and "GPU quota" in paused.note
    assert not slices.work(owners[0])  # nothing is asked for again until somebody says so
    assert workspace.jobs.go_on(jobs[0].key).note == ""


def test_a_slice_is_as_long_as_such_jobs_took(
    workspace: Workspace, slices: Slices, lender: Lender, owners: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices_module, "SHORTEST_SLICE_S", 0.0)
    for _ in range(2):
        _order_render(workspace, owners[0])
        assert slices.work(owners[0])
    longest, second = lender.seconds
    took = sum(workspace.jobs.jobs(owners[0])[-1].results["seconds"].values())
    assert longest == slices_module.RENDER_SLICE_S
    assert second == pytest.approx(slices_module.LEAVING_S + slices_module.RESERVE * took)


def test_a_render_that_fits_into_no_slice_is_given_up(
    workspace: Workspace, tiny_base_folder: Path, owners: tuple[str, str]
) -> None:
    def lend(**_: Any) -> Callable[..., Any]:
        def too_short(*_: Any) -> bool:
            taken = workspace.jobs.take((RENDER,), owners[0])
            assert taken is not None
            return bool(workspace.jobs.end(taken.key, QUEUED))

        return lambda _: too_short

    job, slices = _order_render(workspace, owners[0]), Slices(workspace, str(tiny_base_folder), "fp32", lend)
    for _ in range(slices_module.MOST_TRIES):
        assert slices.work(owners[0]) and workspace.jobs.job(job.key).state == QUEUED
    assert slices.work(owners[0])
    ended = workspace.jobs.job(job.key)
    assert ended.state == FAILED and "fewer steps" in ended.note and not slices.work(owners[0])


def test_a_server_that_was_ended_leaves_no_job_running(
    workspace: Workspace, owners: tuple[str, str], tiny_base_folder: Path, lender: Lender
) -> None:
    job = _order_render(workspace, owners[0])
    assert workspace.jobs.take((RENDER,), owners[0]) is not None
    Slices(workspace, str(tiny_base_folder), "fp32", lender)
    assert workspace.jobs.job(job.key).state == QUEUED
