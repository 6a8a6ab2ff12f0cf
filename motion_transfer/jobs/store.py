"""Jobs on disk: a queue in sqlite that outlives the page, the server and the worker.

The page writes orders and wishes and reads how jobs stand; a worker takes jobs and writes how they stand. Neither
ever waits for the other.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from motion_transfer.errors import MotionTransferError
from motion_transfer.jobs.attendance import Attendance
from motion_transfer.jobs.jobs_file import JobsFile

MOST_DEATHS = 3  # of workers at one job, without anything kept in between
QUEUED, RUNNING, PAUSED, DONE, FAILED, CANCELLED = "queued", "running", "paused", "done", "failed", "cancelled"
OPEN, ENDED = (QUEUED, RUNNING, PAUSED), (DONE, FAILED, CANCELLED)
PAUSE, CANCEL = "pause", "cancel"

DIED = (
    "a job should get on, but the process at work on this one was ended {deaths} times before it could keep anything, "
    "most likely for want of memory or time; choose smaller settings, or continue it to try again."
)


class NoSuchJob(MotionTransferError):
    """The job is not there, or not in a state in which this can be done."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job as it stands. Times are seconds since 1970; `worked_s` sums the seconds of all tries.

    `orders` and `results` are JSON-ready; `wish` is what its owner wants of a running job; `note` is a sentence for
    people: why it failed, or what was done about a fault. `rate` is in steps a second; `deaths` counts the workers that
    were ended from outside while at it, since something of it was last kept; `device` is that of the last worker at it.
    """

    key: str
    kind: str
    owner: str
    title: str
    orders: Mapping[str, Any]
    state: str
    wish: str
    place: float
    made_s: float
    begun_s: float | None
    told_s: float | None
    ended_s: float | None
    worked_s: float
    stage: str
    step: int
    total: int
    rate: float | None
    loss: float | None
    peak_memory_mb: float | None
    tries: int
    deaths: int = 0
    device: str = ""
    note: str
    results: Mapping[str, Any]

    @property
    def left_s(self) -> float | None:
        """Estimate of the seconds left in the stage under way."""
        return (self.total - self.step) / self.rate if self.rate and self.state == RUNNING else None


# Since when an owner waits: since their jobs were last worked at, or since they ordered after having none. Owners take
# turns by it, lest one who orders much keeps all others waiting.
_WAITS_SINCE = "COALESCE((SELECT turn_s FROM turns WHERE turns.owner = jobs.owner), 0)"
_TURN = "INSERT INTO turns VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET turn_s = excluded.turn_s"
_COLUMNS = ", ".join(field.name for field in fields(Job))


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    return Job(**{**values, "orders": json.loads(values["orders"]), "results": json.loads(values["results"])})


def _turn(row: sqlite3.Row) -> tuple[float, float]:
    """What decides between owners of waiting jobs: who waits longest, or else who ordered first."""
    return row["waits_since"], row["first"]


class JobStore:
    """The jobs of one workspace; safe to use from many threads and processes at once.

    `workers` tells which devices' workers are at them.

    Args:
        folder: of the queue (`jobs.sqlite`) and of one folder of files per job.

    Raises:
        StorageFailed: the folder can't hold it, or holds the queue of a newer version of this program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self._file, self.workers = JobsFile(self.folder), Attendance(self.folder)

    def files(self, key: str) -> Path:
        """The folder of a job's files, made if need be."""
        folder = self.folder / key
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # What the page does.

    def new_key(self) -> str:
        """A key for a job to come, so that its files can be laid down first. It can't be guessed."""
        return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(8)}"

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """While open, what is submitted is queued together at the end, or none of it if the block fails."""
        with self._file.writing():
            yield

    def submit(self, key: str, kind: str, owner: str, title: str, orders: Mapping[str, Any]) -> Job:
        """Queues a job behind all others of its owner."""
        with self._file.writing() as db:
            self._begin_to_wait(db, owner)
            last = self._last_place(db)
            db.execute(
                "INSERT INTO jobs (key, kind, owner, title, orders, state, place, made_s) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (key, kind, owner, title, json.dumps(dict(orders)), QUEUED, last + 1, time.time()),
            )
        return self.job(key)

    def _begin_to_wait(self, db: sqlite3.Connection, owner: str) -> None:
        """An owner who orders is as one who was served just now, unless others of their jobs wait or run."""
        if not self.jobs(owner, states=(QUEUED, RUNNING), limit=1):
            db.execute(_TURN, (owner, time.time()))

    def job(self, key: str, owner: str | None = None) -> Job:
        """One job; with `owner`, only if it is theirs.

        Raises:
            NoSuchJob: there is none.
        """
        rows = self._file.rows(f"SELECT {_COLUMNS} FROM jobs WHERE key = ?", (key,))
        if not rows or (owner is not None and rows[0]["owner"] != owner):
            raise NoSuchJob(f"a job of this list is expected, but there is none called {key!r:.60}; reload the page.")
        return _job(rows[0])

    def jobs(self, owner: str | None = None, *, states: Iterable[str] = (), limit: int = 200) -> list[Job]:
        """Jobs, those to be done in their owner's order first, then the ended ones, newest first."""
        states = tuple(states) or OPEN + ENDED
        marks = ", ".join("?" * len(states))
        mine, owners = ("AND owner = ?", (owner,)) if owner is not None else ("", ())
        rows = self._file.rows(
            f"SELECT {_COLUMNS} FROM jobs WHERE state IN ({marks}) {mine} "
            "ORDER BY ended_s IS NOT NULL, ended_s DESC, state != 'running', place LIMIT ?",
            (*states, *owners, limit),
        )
        return [_job(row) for row in rows]

    def newest(self, owner: str, kind: str) -> Job | None:
        """The owner's job of a kind that was made last."""
        rows = self._file.rows(
            f"SELECT {_COLUMNS} FROM jobs WHERE owner = ? AND kind = ? ORDER BY made_s DESC, rowid DESC LIMIT 1",
            (owner, kind),
        )
        return _job(rows[0]) if rows else None

    def num_before(self, job: Job) -> int:
        """How many jobs, of whomever, run or are to be done before one that waits, if no others come."""
        running = int(self._file.rows("SELECT count(*) FROM jobs WHERE state = ?", (RUNNING,))[0][0])
        waiting = self._file.rows(
            "SELECT owner, count(*) AS number, sum(place <= ?) AS not_after, MIN(place) AS first, "
            f"{_WAITS_SINCE} AS waits_since FROM jobs WHERE state = ? GROUP BY owner",
            (job.place, QUEUED),
        )
        mine = next((row for row in waiting if row["owner"] == job.owner), None)
        if mine is None:
            return running
        turns = mine["not_after"]  # of its owner's, this job's included
        before = [min(row["number"], turns - (_turn(row) > _turn(mine))) for row in waiting if row is not mine]
        return running + turns - 1 + sum(before)

    def losses(self, key: str) -> list[tuple[str, int, float]]:
        """Stage, step and loss of every step told so far."""
        rows = self._file.rows("SELECT stage, step, loss FROM losses WHERE key = ? ORDER BY stage, step", (key,))
        return [tuple(row) for row in rows]

    def _change(
        self, key: str, owner: str | None, allowed: tuple[str, ...], what: str,
        of_running: Mapping[str, Any] | None = None, **values: Any,
    ) -> Job:  # fmt: skip
        """Sets columns of a job if its state allows that; others of a running one, if that is said."""
        with self._file.writing() as db:
            job = self.job(key, owner)
            if job.state not in allowed:
                raise NoSuchJob(f"a job that is {' or '.join(allowed)} can be {what}, but this one is {job.state}; "
                                "choose another.")  # fmt: skip
            if job.state == RUNNING and of_running is not None:
                values = dict(of_running)
            settings = ", ".join(f"{name} = ?" for name in values)
            db.execute(f"UPDATE jobs SET {settings} WHERE key = ?", (*values.values(), key))
        return self.job(key)

    def pause(self, key: str, owner: str | None = None, note: str = "") -> Job:
        """Lays a job aside: a queued one at once, a running one after its current step, keeping what it has.

        With a note if it was not its owner's wish.
        """
        return self._change(
            key, owner, (QUEUED, RUNNING), "paused", of_running={"wish": PAUSE}, state=PAUSED, note=note
        )

    def cancel(self, key: str, owner: str | None = None) -> Job:
        """Ends a job: a waiting one at once, a running one after its current step."""
        return self._change(key, owner, (QUEUED, PAUSED, RUNNING), "cancelled", of_running={"wish": CANCEL},
                            state=CANCELLED, ended_s=time.time())  # fmt: skip

    def go_on(self, key: str, owner: str | None = None) -> Job:
        """Queues a paused, failed or cancelled job behind all others of its owner.

        It goes on from its checkpoint, if it has one.
        """
        with self._file.writing() as db:
            self._begin_to_wait(db, self.job(key, owner).owner)
            last = self._last_place(db)
            return self._change(key, owner, (PAUSED, FAILED, CANCELLED), "continued", state=QUEUED, wish="", note="",
                                place=last + 1, ended_s=None, deaths=0)  # fmt: skip

    @staticmethod
    def _last_place(db: sqlite3.Connection) -> float:
        return db.execute("SELECT MAX(place) FROM jobs").fetchone()[0] or 0.0

    def move(self, key: str, before: str | None, owner: str | None = None) -> Job:
        """Puts a queued job before another queued one, or last; with `owner`, among theirs.

        The jobs that change their order share the places that they had, so nobody else's turn comes later.
        """
        with self._file.writing() as db:
            moved = self.job(key, owner)
            if moved.state != QUEUED:
                raise NoSuchJob(f"a job that is queued can be moved, but this one is {moved.state}; choose another.")
            queue = [job for job in self.jobs(owner, states=(QUEUED,), limit=-1) if job.key != key]
            at = len(queue) if before is None else next((i for i, job in enumerate(queue) if job.key == before), None)
            if at is None:
                raise NoSuchJob(f"a queued job is expected to go before, but {before!r:.60} is not queued; reload.")
            places = sorted(job.place for job in (*queue, moved))
            for place, job in zip(places, (*queue[:at], moved, *queue[at:]), strict=True):
                db.execute("UPDATE jobs SET place = ? WHERE key = ?", (place, job.key))
        return self.job(key)

    def remove(self, key: str, owner: str | None = None) -> None:
        """Forgets an ended job; its files stay until the caller removes them."""
        with self._file.writing() as db:
            if self.job(key, owner).state not in ENDED:
                raise NoSuchJob("a job that has ended can be removed, but this one has not; cancel it first.")
            db.execute("DELETE FROM jobs WHERE key = ?", (key,))
            db.execute("DELETE FROM losses WHERE key = ?", (key,))

    # What a worker does.

    def take(self, kinds: Iterable[str], owner: str | None = None, device: str = "") -> Job | None:
        """Starts the first queued job of some kinds, of the owner who waits longest; None if there is none.

        No two workers get the same one. With `owner`, only of theirs.
        """
        kinds = tuple(kinds)
        marks, whose = ", ".join("?" * len(kinds)), "" if owner is None else "AND owner = ?"
        values = (QUEUED, *kinds) if owner is None else (QUEUED, *kinds, owner)
        with self._file.writing() as db:
            row = db.execute(
                f"SELECT key FROM jobs WHERE state = ? AND kind IN ({marks}) {whose} "
                f"ORDER BY {_WAITS_SINCE}, place LIMIT 1",
                values,
            ).fetchone()
            if row is None:
                return None
            now = time.time()
            db.execute(
                "UPDATE jobs SET state = ?, wish = '', tries = tries + 1, begun_s = COALESCE(begun_s, ?), told_s = ?, "
                "ended_s = NULL, rate = NULL, device = ? WHERE key = ?",
                (RUNNING, now, now, device, row["key"]),
            )
            taken = self.job(row["key"])
            db.execute(_TURN, (taken.owner, now))
        return taken

    def tell(self, key: str, losses: Iterable[tuple[str, int, float]] = (), **columns: Any) -> str:
        """Writes how a running job stands; returns what its owner wishes."""
        now = time.time()
        with self._file.writing() as db:
            settings = "".join(f", {name} = ?" for name in columns)
            db.execute(
                f"UPDATE jobs SET worked_s = worked_s + (? - told_s), told_s = ?{settings} WHERE key = ?",
                (now, now, *columns.values(), key),
            )
            db.executemany("INSERT OR REPLACE INTO losses VALUES (?, ?, ?, ?)", ((key, *row) for row in losses))
            told = db.execute("SELECT owner, wish FROM jobs WHERE key = ?", (key,)).fetchone()
            db.execute(_TURN, (told["owner"], now))
            return told["wish"]

    def wish(self, key: str) -> str:
        """What the owner of a running job wishes: nothing, to pause it, or to cancel it."""
        return self._file.rows("SELECT wish FROM jobs WHERE key = ?", (key,))[0]["wish"]

    def end(self, key: str, state: str, **columns: Any) -> Job:
        """Ends a running job, or lays it aside; with a note or results, if there are any.

        What its owner wished meanwhile holds: a job that was to wait is cancelled or paused.
        """
        if "results" in columns:
            columns["results"] = json.dumps(columns["results"])
        with self._file.writing():
            wish = self.job(key).wish
            if state in (QUEUED, PAUSED) and wish:
                state = {PAUSE: PAUSED, CANCEL: CANCELLED}[wish]
            ended = time.time() if state in ENDED else None
            return self._change(key, None, (RUNNING,), state, state=state, wish="", ended_s=ended, **columns)

    def queue_orphans(self, kinds: Iterable[str], owner: str | None = None, device: str = "") -> list[Job]:
        """Queues the running jobs of some kinds again, with `owner` of theirs only.

        For a worker that is alone with its device's: nobody else can be at those, nor at those of a device without a
        worker. A job that several workers died at is ended, lest it stand in the way of all others for ever.
        """
        kinds, orphans = tuple(kinds), []
        with self._file.writing():  # two workers may look at once
            for job in self.jobs(owner, states=(RUNNING,)):
                if job.kind in kinds and (job.device == device or self.workers.is_free(job.device)):
                    orphans.append(self._orphaned(job))
        return orphans

    def _orphaned(self, job: Job) -> Job:
        """A running job without a worker: as its owner wished, or queued again, or ended after many such deaths."""
        state, note, deaths = {PAUSE: PAUSED, CANCEL: CANCELLED}.get(job.wish, QUEUED), job.note, job.deaths + 1
        if state == QUEUED and deaths >= MOST_DEATHS:
            state, note = FAILED, DIED.format(deaths=deaths)
        ended = time.time() if state in ENDED else None
        return self._change(job.key, None, (RUNNING,), "queued", state=state, wish="", note=note, deaths=deaths,
                            ended_s=ended)  # fmt: skip
