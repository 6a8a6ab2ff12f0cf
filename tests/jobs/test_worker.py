"""The worker on the toy base: results, pauses, faults, and being killed in the middle."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motion_transfer.jobs import teller
from motion_transfer.jobs.orders import RENDER, TUNE, RenderOrder, TuneOrder, from_json, to_json
from motion_transfer.jobs.store import CANCELLED, DONE, FAILED, PAUSED, QUEUED, RUNNING, Job, JobStore
from motion_transfer.jobs.worker import HEADS, KINDS, PREVIEW, Worker
from motion_transfer.library import Library
from motion_transfer.model.base import VideoBase
from motion_transfer.pipeline import Studio
from motion_transfer.recipes import read_recipe
from motion_transfer.types import Clip, RenderSpec, TuneSpec
from motion_transfer.video.io import probe, write_clip
from motion_transfer.workspace import Workspace

SPEC = TuneSpec(caption="a red square", spatial_steps=6, temporal_steps=8, rank=2, sparse_latents=5)
RENDER_SPEC = RenderSpec(prompt="a green star", steps=3, guidance=2.0, seed=5)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "work")


@pytest.fixture
def library(workspace: Workspace) -> Library:
    return workspace.library("")


@pytest.fixture
def store(workspace: Workspace) -> JobStore:
    return workspace.jobs


@pytest.fixture
def leaving() -> threading.Event:
    return threading.Event()


@pytest.fixture
def worker(workspace: Workspace, tiny_base_folder: Path, leaving: threading.Event) -> Worker:
    return Worker(workspace, Studio(base=str(tiny_base_folder), precision="fp32", device="cpu"), leaving)


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory: pytest.TempPathFactory, square_clip: Clip) -> Path:
    path = tmp_path_factory.mktemp("clips") / "square.mp4"
    write_clip(square_clip, path, min_side_px=64)
    return path


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tells and keeps after every step."""
    monkeypatch.setattr(teller, "SECONDS_BETWEEN_TELLS", 0.0)
    monkeypatch.setattr(teller, "SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr(teller, "SHARE_OF_STATES", float("inf"))
    yield


def order_tune(store: JobStore, clip_path: Path, spec: TuneSpec = SPEC, **changes: Any) -> Job:
    key = store.new_key()
    shutil.copy(clip_path, store.files(key) / "clip.mp4")
    order = TuneOrder(**{"name": "Wave", "clip": "clip.mp4", "source": "square.mp4", "spec": spec} | changes)
    return store.submit(key, TUNE, "", "Wave", to_json(order))


def order_render(store: JobStore, *motions: tuple[str, float]) -> Job:
    return store.submit(store.new_key(), RENDER, "", "star", to_json(RenderOrder(spec=RENDER_SPEC, motions=motions)))


def wish_at(store: JobStore, key: str, verb: str, stage: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the owner press a button right after a step."""
    before = teller.Teller._step

    def pressed(self: teller.Teller, progress: Any) -> None:
        before(self, progress)
        if (progress.stage, progress.step) == (stage, step) and store.job(key).tries == 1:
            getattr(store, verb)(key)

    monkeypatch.setattr(teller.Teller, "_step", pressed)


@pytest.mark.usefixtures("eager")
def test_a_clip_is_learned_and_rendered(store: JobStore, library: Library, worker: Worker, clip_path: Path) -> None:
    tune = order_tune(store, clip_path)
    assert worker.work()
    tuned = store.job(tune.key)
    assert tuned.state == DONE, tuned.note
    assert (tuned.stage, tuned.step, tuned.total) == ("preview", 8, 8)
    assert tuned.peak_memory_mb is not None and tuned.peak_memory_mb > 50
    motion = library.motion(tuned.results["motion"])
    assert motion.name == "Wave" and motion.reference is not None
    assert [(stage, step) for stage, step, _ in store.losses(tune.key)] == [
        *(("spatial", i + 1) for i in range(6)), *(("temporal", i + 1) for i in range(8))]  # fmt: skip
    files = store.files(tune.key)
    assert {path.name for path in files.iterdir()} == {"clip.mp4", PREVIEW, HEADS}
    assert probe(files / PREVIEW).height >= 64

    render = order_render(store, (motion.key, 0.8))
    assert worker.work()
    rendered = store.job(render.key)
    assert rendered.state == DONE, rendered.note
    assert (library.renders / rendered.results["render"]).is_file() and rendered.results["seed"] == 5
    assert any(measure["name"] == "motion_fidelity" for measure in rendered.results["report"])
    assert not worker.work()


def test_a_motion_that_took_another_s_name_is_not_rendered(
    store: JobStore, library: Library, worker: Worker, clip_path: Path
) -> None:
    tune = order_tune(store, clip_path)
    assert worker.work()
    motion = library.motion(store.job(tune.key).results["motion"])
    for sha256, state in ((library.sha256(motion), DONE), ("0" * 64, FAILED)):
        order = RenderOrder(spec=RENDER_SPEC, motions=((motion.key, 1.0),), sha256s=(sha256,))
        job = store.submit(store.new_key(), RENDER, "", "star", to_json(order))
        assert worker.work() and store.job(job.key).state == state
    assert "choose it again" in store.job(job.key).note


def test_a_motion_may_go_while_it_is_rendered(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned = order_tune(store, clip_path)
    worker.work()
    motion = library.motion(str(store.job(tuned.key).results["motion"]))
    sha256 = library.sha256(motion)
    job = order_render(store, (motion.key, 1.0))
    run = teller.Teller.run

    def run_and_delete(*args: Any) -> Any:
        library.discard(motion)
        return run(*args)

    monkeypatch.setattr(teller.Teller, "run", run_and_delete)
    worker.work()
    done = store.job(job.key)
    assert done.state == DONE, done.note
    recipe = read_recipe(library.renders / str(done.results["render"]))
    assert recipe.loras[0].sha256 == sha256


def test_the_bare_base_renders_too(store: JobStore, library: Library, worker: Worker) -> None:
    job = order_render(store)
    worker.work()
    assert store.job(job.key).state == DONE and len(list(library.renders.glob("*.mp4"))) == 1


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize(("stage", "step"), [("spatial", 3), ("spatial", 6), ("temporal", 1), ("temporal", 5)])
def test_a_paused_job_goes_on_to_the_same_bytes(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, stage: str, step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    order_tune(store, clip_path)
    worker.work()
    job = order_tune(store, clip_path)
    wish_at(store, job.key, "pause", stage, step, monkeypatch)
    worker.work()
    paused = store.job(job.key)
    assert (paused.state, paused.stage, paused.step) == (PAUSED, stage, step)
    assert not worker.work()
    store.go_on(job.key)
    worker.work()
    whole, resumed = (library.loras / name for name in ("wave.safetensors", "wave-2.safetensors"))
    assert store.job(job.key).state == DONE and store.job(job.key).tries == 2
    assert whole.read_bytes() == resumed.read_bytes()


@pytest.mark.usefixtures("eager")
def test_a_cancelled_job_ends_and_the_next_begins(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, other = order_tune(store, clip_path), order_render(store)
    wish_at(store, job.key, "cancel", "spatial", 2, monkeypatch)
    worker.work()
    assert store.job(job.key).state == CANCELLED and library.motions() == []
    assert [step for _, step, _ in store.losses(job.key)] == [1, 2]
    worker.work()
    assert store.job(other.key).state == DONE


def test_a_leaving_worker_queues_its_job_again(
    store: JobStore, worker: Worker, clip_path: Path, leaving: threading.Event
) -> None:
    job = order_tune(store, clip_path)
    leaving.set()
    worker.work()
    assert store.job(job.key).state == QUEUED


def test_faults_become_sentences(store: JobStore, library: Library, worker: Worker, clip_path: Path) -> None:
    no_clip = order_tune(store, clip_path)
    (store.files(no_clip.key) / "clip.mp4").write_text("no video")
    no_motion, nonsense = order_render(store, ("gone", 1.0)), store.submit(store.new_key(), TUNE, "", "?", {"a": 1})
    while worker.work():
        pass
    for job in (no_clip, no_motion, nonsense):
        failed = store.job(job.key)
        assert failed.state == FAILED and failed.note.endswith(".") and "\n" not in failed.note, failed
    assert library.motions() == []


@pytest.mark.usefixtures("eager")
def test_an_order_for_another_base_is_not_done_with_this_one(
    store: JobStore, worker: Worker, clip_path: Path, tiny_base_folder: Path
) -> None:
    """And can be continued where its base is."""
    order = RenderOrder(spec=RENDER_SPEC, base="elsewhere")
    render = store.submit(store.new_key(), RENDER, "", "star", to_json(order))
    tunes = [order_tune(store, clip_path, base=base) for base in ("elsewhere", tiny_base_folder.name)]
    for _ in range(3):
        assert worker.work()
    for job in (render, tunes[0]):
        failed = store.job(job.key)
        assert failed.state == FAILED and "the base elsewhere" in failed.note and "\n" not in failed.note
    assert store.job(tunes[1].key).state == DONE


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = order_tune(store, clip_path)
    wish_at(store, job.key, "pause", "temporal", 4, monkeypatch)
    worker.work()
    newest = max(store.files(job.key).glob("state-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    store.go_on(job.key)
    worker.work()
    done = store.job(job.key)
    assert done.state == DONE and "damaged checkpoint" in done.note
    assert library.motion(done.results["motion"]).name == "Wave"


@pytest.mark.usefixtures("eager")
def test_a_job_that_runs_out_of_memory_goes_on_and_says_so(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = order_tune(store, clip_path)
    assert worker.work()
    velocity, learned = VideoBase.velocity, 0

    def short(base: VideoBase, *args: Any) -> torch.Tensor:
        nonlocal learned
        learned += torch.is_grad_enabled()
        if learned == 9:
            learned += 1
            raise torch.OutOfMemoryError("out of memory, as the test wants it")
        return velocity(base, *args)

    monkeypatch.setattr(VideoBase, "velocity", short)
    job = order_tune(store, clip_path)
    assert worker.work()
    done = store.job(job.key)
    assert done.state == DONE and "memory ran out" in done.note and "computed twice" in done.note
    one, other = (library.load(library.motion(store.job(key).results["motion"])) for key in (plain.key, job.key))
    assert all(torch.equal(layer.up_OR, other.layers[name].up_OR) for name, layer in one.layers.items())


def test_orders_come_back_from_json() -> None:
    tune = TuneOrder(name="Wave", clip="clip.mp4", source="square.mp4", spec=SPEC, end_s=2.0)
    render = RenderOrder(spec=RENDER_SPEC, motions=(("wave", 0.5), ("pan", -1.0)))
    assert from_json(TuneOrder, to_json(tune)) == tune
    assert from_json(RenderOrder, {**to_json(render), "motions": [["wave", 0.5], ["pan", -1.0]]}) == render


def _start(library: Library, base: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "motion_transfer.jobs", "--workspace", str(library.loras.parent),
               "--base", str(base), "--precision", "fp32"]  # fmt: skip
    threads = str(torch.get_num_threads())  # sums, and so bytes, hang on their number
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": threads})


def _wait(store: JobStore, key: str, reached: Any, seconds: float = 120) -> Job:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        job = store.job(key)
        if reached(job):
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def test_a_killed_worker_is_followed_by_one_that_goes_on(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, tiny_base_folder: Path
) -> None:
    """kill -9 after something was kept; the next worker goes on from there to the bytes of an uninterrupted run."""
    spec = replace(SPEC, temporal_steps=800, check_every=0)  # that it does not end early, before it is looked at
    order_tune(store, clip_path, spec)
    worker.work()
    job = order_tune(store, clip_path, spec)
    first = _start(library, tiny_base_folder)
    files = store.files(job.key)
    _wait(store, job.key, lambda j: j.stage == "temporal" and any(files.glob("state-*-?*.safetensors")))
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert store.job(job.key).state == RUNNING
    second = _start(library, tiny_base_folder)
    _wait(store, job.key, lambda j: j.tries == 2 and j.stage != "temporal")
    assert _wait(store, job.key, lambda j: j.stage == "temporal" and j.step > 0).step > 10  # not from the first one on
    done = _wait(store, job.key, lambda j: j.state in (DONE, FAILED))
    assert done.state == DONE and done.tries == 2, done
    assert second.stdin is not None
    second.stdin.close()  # the server is gone
    assert second.wait(timeout=30) == 0
    whole, resumed = (library.loras / name for name in ("wave.safetensors", "wave-2.safetensors"))
    assert whole.read_bytes() == resumed.read_bytes()


def test_what_is_saved_is_not_made_again(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may die between saving and saying so."""
    end = JobStore.end

    def dies(*_: Any, **__: Any) -> Job:
        raise SystemExit

    def saved() -> list[str]:
        return sorted(path.name for folder in (library.loras, library.renders) for path in folder.glob("*"))

    render = store.submit("render", RENDER, "", "star", to_json(RenderOrder(spec=RENDER_SPEC)))
    for job in (render, order_tune(store, clip_path)):
        monkeypatch.setattr(JobStore, "end", dies)
        with pytest.raises(SystemExit):
            worker.work()
        monkeypatch.setattr(JobStore, "end", end)
        before = saved()
        store.queue_orphans(KINDS)
        worker.work()
        done = store.job(job.key)
        assert done.state == DONE and set(done.results) & {"motion", "render"}
        assert before and saved() == before


def test_a_render_that_cannot_be_measured_is_there_all_the_same(
    store: JobStore, library: Library, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = order_tune(store, clip_path)
    worker.work()
    motion = str(store.job(job.key).results["motion"])
    with monkeypatch.context() as short:
        short.setattr(Studio, "judge", lambda *_, **__: (_ for _ in ()).throw(MemoryError("no room")))
        job = order_render(store, (motion, 1.0))
        worker.work()
    done = store.job(job.key)
    assert done.state == DONE and "not measured" in done.note and "report" not in done.results
    assert library.render(str(done.results["render"]).removesuffix(".mp4"))
    killed = order_render(store, (motion, 1.0))
    with monkeypatch.context() as dying:  # the worker is ended while it measures
        dying.setattr(Studio, "judge", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            worker.work()
    store.queue_orphans(KINDS)
    worker.work()
    done = store.job(killed.key)
    assert done.state == DONE and not done.note and done.results["report"]
    assert len(library.made_renders()) == 2


def test_measuring_that_kills_the_worker_is_given_up(
    store: JobStore, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the system does where memory runs out."""
    job = order_tune(store, clip_path)
    worker.work()
    job = order_render(store, (str(store.job(job.key).results["motion"]), 1.0))
    monkeypatch.setattr(Studio, "judge", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
    for _ in range(2):
        with pytest.raises(SystemExit):
            worker.work()
        store.queue_orphans(KINDS)
    worker.work()
    done = store.job(job.key)
    assert done.state == DONE and "want of memory" in done.note and "render" in done.results


def test_memory_of_earlier_tries_counts(
    store: JobStore, worker: Worker, clip_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = order_tune(store, clip_path)
    store.take(KINDS)
    store.tell(job.key, peak_memory_mb=9e9)
    store.end(job.key, QUEUED)
    worker.work()
    assert store.job(job.key).peak_memory_mb == 9e9


def test_results_go_to_their_owner(tmp_path: Path, tiny_base_folder: Path, leaving: threading.Event) -> None:
    workspace = Workspace(tmp_path / "work", isolated=True)
    worker = Worker(workspace, Studio(base=str(tiny_base_folder), precision="fp32", device="cpu"), leaving)
    one, other = (workspace.owner(token) for token in ("1" * 32, "2" * 32))
    assert one != other and "111" not in one
    job = workspace.jobs.submit("key", RENDER, one, "star", to_json(RenderOrder(spec=RENDER_SPEC)))
    worker.work()
    assert workspace.jobs.job(job.key).state == DONE
    assert len(list(workspace.library(one).renders.glob("*.mp4"))) == 1
    assert not workspace.library(other).renders.exists() and not workspace.library("").renders.exists()
