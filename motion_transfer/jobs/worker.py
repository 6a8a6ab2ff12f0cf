"""Works off the queue: takes a job, learns or renders, saves into the library, tells how it went."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from motion_transfer.copies import SHOWN_SIDE_PX
from motion_transfer.errors import BadClip, BadLora, Cancelled, MotionTransferError, StorageFailed, WrongBase
from motion_transfer.jobs.checkpoints import Checkpoints
from motion_transfer.jobs.estimates import FILE_MB, RAN_ON, SECONDS, SHARES, STEPS, ran_on
from motion_transfer.jobs.orders import RENDER, TUNE, RenderOrder, TuneOrder, from_json
from motion_transfer.jobs.store import CANCELLED, DONE, FAILED, PAUSED, QUEUED, Job
from motion_transfer.jobs.teller import Interrupted, Paused, Teller
from motion_transfer.library_files import Motion
from motion_transfer.methods.lion_fusion import mixed
from motion_transfer.model.memory import forget_peak_memory
from motion_transfer.pipeline import Studio, scene_of
from motion_transfer.recipes import UsedLora, recipe_of
from motion_transfer.types import Clip, Progress, RenderSpec
from motion_transfer.video.frames import save_png
from motion_transfer.video.io import MAX_SECONDS, ROUNDING_S, clip_comment, probe, read_clip, write_clip
from motion_transfer.video.overlay import head_map_picture
from motion_transfer.video.strip import ALL, WHOLE
from motion_transfer.work import Stopwatch
from motion_transfer.workspace import Workspace

KINDS = (TUNE, RENDER)
PREVIEW, HEADS = "preview.mp4", "heads.png"
JUDGE = "judge"
UNMEASURED = "the render is saved, but was not measured: {why}"
PREVIEW_STEPS = 8
PREVIEWS = 5
WAIT_FOR_STORAGE_S = 5.0


def in_words(error: Exception) -> str:
    """What a person is told of any error; an unforeseen one goes to the log with its traceback."""
    if isinstance(error, MotionTransferError):
        return str(error)
    if isinstance(error, OSError):
        return (f"the workspace should take what is saved, but does not ({error.strerror or error}); free some space "
                "or choose another folder.")  # fmt: skip
    logging.getLogger(__name__).error("unforeseen error", exc_info=error)
    return f"the program made a mistake of its own ({type(error).__name__}); its log shows the details."


def _whole_comment(path: Path, order: TuneOrder) -> str | None:
    """The file's comment tag if the order takes the whole clip, so that its true scene stays known."""
    seconds = probe(path).seconds
    whole = not order.start_s and (order.end_s is None or order.end_s >= seconds - ROUNDING_S)
    whole = whole and order.crop == WHOLE and order.movement == ALL and seconds <= MAX_SECONDS
    return clip_comment(path) if whole else None


class Worker:
    """Does the jobs of a workspace, one after the other.

    Args:
        workspace: of the jobs, and of the libraries that results go to.
        studio: the base that all jobs use, and the device.
        leaving: set when the worker is to end; the job under way is queued again, with its state kept.
    """

    def __init__(self, workspace: Workspace, studio: Studio, leaving: threading.Event) -> None:
        self._workspace, self._store = workspace, workspace.jobs
        self._studio, self._leaving = studio, leaving
        self._device = studio.device

    def work(self, owner: str | None = None) -> bool:
        """Does the first queued job, with `owner` of theirs only; False if there is none."""
        job = self._store.take(KINDS, owner, self._device)
        if job is None:
            return False
        end = self._store.end
        forget_peak_memory()
        try:
            results = (self._tune if job.kind == TUNE else self._render)(job)
        except Paused:
            end(job.key, PAUSED)
        except Interrupted:
            end(job.key, QUEUED)
        except Cancelled:
            end(job.key, CANCELLED)
        except Exception as error:
            end(job.key, FAILED, note=in_words(error))
        else:
            end(job.key, DONE, results=results)
        return True

    def work_until_leaving(self, wait_s: float = 0.2) -> None:
        """Does all jobs, and waits for new ones."""
        while not self._leaving.is_set():
            try:
                worked = self.work()
            except StorageFailed as error:  # not even the job's end could be written down
                logging.getLogger(__name__).error("%s", error)
                self._leaving.wait(WAIT_FOR_STORAGE_S)
                worked = self._recover()
            if not worked:
                self._leaving.wait(wait_s)

    def _recover(self) -> bool:
        """Queues the job that was under way again; False while the store can't be written."""
        try:
            return bool(self._store.queue_orphans(KINDS, device=self._device))
        except StorageFailed:
            return False

    def _tune(self, job: Job) -> dict[str, Any]:
        if "motion" in job.results:  # saved, but the worker died before it could say so
            return dict(job.results)
        order, watch = from_json(TuneOrder, job.orders), Stopwatch()
        self._check_base(order)
        files, teller = self._store.files(job.key), Teller(self._store, job, self._leaving)
        studio = self._opened(teller, watch)
        digest = hashlib.sha256(json.dumps(dict(job.orders), sort_keys=True).encode())
        checkpoints = Checkpoints(files, f"{studio.base.hash}/{studio.base.precision}/{digest.hexdigest()}")
        resume, damaged = checkpoints.newest()
        if damaged:
            note = "a damaged checkpoint was passed over; the job goes on from the one before."
            self._store.tell(job.key, note=note)
        teller.stage("encode")
        path = files / order.clip
        clip = studio.read(path, start_s=order.start_s, end_s=order.end_s, caption=order.spec.caption, crop=order.crop,
                           movement=order.movement)  # fmt: skip
        clip = replace(clip, source=order.source)

        def see(progress: Progress) -> None:
            if progress.preview is not None:
                write_clip(progress.preview, files / PREVIEW, min_side_px=SHOWN_SIDE_PX)
            if progress.heads is not None:
                save_png(head_map_picture(progress.heads), files / HEADS)

        def keep(progress: Progress) -> None:
            if progress.state is not None:
                checkpoints.save(progress.state())

        preview = studio.suited(RenderSpec(prompt=order.preview_prompt or order.spec.caption, steps=PREVIEW_STEPS))
        every = math.ceil(order.spec.temporal_steps / PREVIEWS)
        work = studio.tune_work(clip, order.spec, preview=preview, preview_every=every, resume=resume)
        tuned = teller.run(work, see, keep)
        lora = replace(tuned.lora, info={**tuned.lora.info, "movement": order.movement})
        saved = self._workspace.library(job.owner).save_motion(
            lora, order.name, clip, comment=_whole_comment(path, order)
        )
        results = {"motion": saved.key, FILE_MB: saved.path.stat().st_size / 1e6,
                   **self._told(teller, watch.seconds | dict(tuned.seconds))}  # fmt: skip
        self._store.tell(job.key, results=json.dumps(results))
        checkpoints.clear()
        return results

    def _render(self, job: Job) -> dict[str, Any]:
        if "render" in job.results:  # saved, but the worker died before it could say so, or measure it
            return self._measured(job, dict(job.results), Stopwatch())
        order, teller, watch = from_json(RenderOrder, job.orders), Teller(self._store, job, self._leaving), Stopwatch()
        self._check_base(order)
        self._opened(teller, watch)
        library = self._workspace.library(job.owner)
        motions = [(library.motion(key), strength) for key, strength in order.motions]
        hashes = [library.sha256(motion) for motion, _ in motions]
        self._check_hashes(order, hashes)
        lora, spec = mixed([(library.load(motion), strength) for motion, strength in motions], order.spec)
        used = [  # already now, for files may go while the render is under way
            UsedLora(name=motion.name, sha256=sha256, strength=strength)
            for (motion, strength), sha256 in zip(motions, hashes, strict=True)
        ]
        work = self._studio.render_work(lora, spec)
        with watch.timing("render"):
            clip = teller.run(work, lambda _: None, lambda _: None)
        saved = library.save_render(clip, order.spec, recipe_of(self._studio, order.spec, used, clip).as_values())
        results = {"render": saved.name, "seed": order.spec.seed, FILE_MB: saved.stat().st_size / 1e6,
                   **self._told(teller, watch.seconds)}  # fmt: skip
        self._store.tell(job.key, results=json.dumps(results))
        return self._measured(job, results, watch, clip)

    def _measured(
        self, job: Job, results: dict[str, Any], watch: Stopwatch, clip: Clip | None = None
    ) -> dict[str, Any]:
        """The results of a render that is saved, with what was measured on it; that it can't be measured is noted.

        Args:
            job: to render, with motions or none.
            results: so far.
            watch: has timed them, and goes on.
            clip: the render, if it need not be read again.
        """
        order, library = from_json(RenderOrder, job.orders), self._workspace.library(job.owner)
        if "report" in results or not order.motions:
            return results
        if job.stage == JUDGE and job.deaths > 1:
            self._note(job, UNMEASURED.format(why="the process was ended at it, most likely for want of memory."))
            return results
        self._store.tell(job.key, stage=JUDGE)
        try:
            with watch.timing(JUDGE):
                shown = clip or read_clip(library.renders / results["render"])
                motions = [library.motion(key) for key, _ in order.motions]
                learned = next((motion for motion in motions if motion.reference), motions[0])
                results["report"] = self._report(learned, shown, order.spec.prompt)
        except Exception as error:
            self._note(job, UNMEASURED.format(why=in_words(error)))
        return results | {SECONDS: results[SECONDS] | watch.seconds}

    def _note(self, job: Job, note: str) -> None:
        """Adds to what people are told of a job."""
        before = self._store.job(job.key).note
        self._store.tell(job.key, note=f"{before} {note}".strip())

    def _check_base(self, order: TuneOrder | RenderOrder) -> None:
        """Sees that an order, which may be older than the program's start, was meant for this base."""
        here = self._studio.spec.name
        if order.base not in ("", here):
            raise WrongBase(f"this job was ordered for the base {order.base}, but the program runs with {here}; start "
                            "it with the other --base, then continue the job.")  # fmt: skip

    @staticmethod
    def _check_hashes(order: RenderOrder, hashes: Sequence[str]) -> None:
        """Sees that the motions are those that were chosen."""
        for (key, _), asked, found in zip(order.motions, order.sha256s, hashes, strict=False):
            if asked != found:
                raise BadLora(f"the motion {key} with the hash {asked[:12]} was ordered, but another one is called so "
                              "by now; choose it again.")  # fmt: skip

    def _opened(self, teller: Teller, watch: Stopwatch) -> Studio:
        """The studio with its base in memory."""
        teller.stage("open")
        with watch.timing("open"):
            _ = self._studio.base
        return self._studio

    def _told(self, teller: Teller, seconds: Mapping[str, float]) -> dict[str, Any]:
        """What a job's results say for estimates of others."""
        on = ran_on(self._studio.spec.name, self._studio.precision)
        shares = self._studio.shares(seconds)
        return {SECONDS: dict(seconds), STEPS: dict(teller.steps), RAN_ON: on, **({SHARES: shares} if shares else {})}

    def _report(self, motion: Motion, clip: Clip, prompt: str) -> list[dict[str, Any]]:
        """What was measured against the clip that a motion was learned from; nothing if that can't be read."""
        if motion.reference is None:
            return []
        try:
            reference = read_clip(motion.reference, caption=motion.caption)
        except BadClip:
            return []
        report = self._studio.judge(reference, clip, prompt=prompt, scene=scene_of(motion.reference))
        return [asdict(measure) for measure in report.measures]
