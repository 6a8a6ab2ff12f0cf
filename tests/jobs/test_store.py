"""The queue: who gets which job, what its owner may do with it, and what outlives a process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from motion_transfer.errors import StorageFailed
from motion_transfer.jobs.store import (
    CANCELLED,
    DONE,
    FAILED,
    MOST_DEATHS,
    PAUSE,
    PAUSED,
    QUEUED,
    RUNNING,
    Job,
    JobStore,
    NoSuchJob,
)

KINDS = ("tune",)


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    return JobStore(tmp_path / "jobs")


def put(store: JobStore, title: str = "a job", owner: str = "me", kind: str = "tune") -> Job:
    return store.submit(store.new_key(), kind, owner, title, {"steps": 3})


def taken(store: JobStore) -> Job:
    job = store.take(KINDS)
    assert job is not None
    return job


def test_jobs_are_done_in_their_order(store: JobStore) -> None:
    keys = [put(store, str(i)).key for i in range(4)]
    assert len(set(keys)) == 4 and all(len(key) > 24 for key in keys)
    assert [job.key for job in store.jobs()] == keys
    store.move(keys[3], keys[1])
    store.move(keys[0], None)
    order = [keys[3], keys[1], keys[2], keys[0]]
    assert [job.key for job in store.jobs()] == order
    assert [taken(store).key for _ in keys] == order
    assert store.take(KINDS) is None


def test_the_newest_of_a_kind_and_how_many_come_first(store: JobStore) -> None:
    first, other, last = put(store), put(store, owner="another", kind="render"), put(store)
    assert store.newest("me", "tune") == last and store.newest("me", "render") is None
    assert [store.num_before(job) for job in (first, other, last)] == [0, 1, 2]
    assert taken(store).key == first.key and store.num_before(last) == 2
    store.cancel(other.key)
    assert store.num_before(last) == 1


def test_owners_take_turns(store: JobStore) -> None:
    mine = [put(store, f"mine {i}") for i in range(3)]
    theirs = [put(store, f"theirs {i}", owner="another") for i in range(2)]
    order = [mine[0], theirs[0], mine[1], theirs[1], mine[2]]
    assert [store.num_before(job) for job in order] == [0, 1, 2, 3, 4]
    for i, job in enumerate(order):
        assert [store.num_before(later) for later in order[i:]] == list(range(len(order) - i))
        assert taken(store).key == job.key
        store.end(job.key, "done")
    assert store.num_before(store.job(mine[0].key)) == 0


def test_whoever_comes_new_waits_behind_those_who_wait_longer(store: JobStore) -> None:
    served = put(store, owner="served")
    taken(store)
    waiting, newcomer = put(store, owner="served"), put(store, owner="new")
    store.tell(served.key)
    store.end(served.key, "done")
    store.remove(served.key)  # which makes nobody's turn come earlier
    assert [store.num_before(job) for job in (newcomer, waiting)] == [0, 1]
    assert taken(store).key == newcomer.key
    newest = put(store, owner="newest")
    assert taken(store).key == waiting.key and taken(store).key == newest.key


def test_what_a_worker_tells_is_read_by_another_store(store: JobStore) -> None:
    put(store)
    job = taken(store)
    assert job.state == RUNNING and job.orders == {"steps": 3} and job.tries == 1 and job.left_s is None
    wish = store.tell(job.key, [("spatial", 1, 0.5), ("spatial", 2, 0.4)], stage="spatial", step=2, total=10, rate=4.0)
    assert wish == ""
    seen = JobStore(store.folder).job(job.key)
    assert (seen.stage, seen.step, seen.total, seen.left_s) == ("spatial", 2, 10, 2.0)
    assert store.losses(job.key) == [("spatial", 1, 0.5), ("spatial", 2, 0.4)]
    store.tell(job.key, [("spatial", 2, 0.3)])  # a step done again after an interruption
    assert store.losses(job.key) == [("spatial", 1, 0.5), ("spatial", 2, 0.3)]
    ended = store.end(job.key, DONE, results={"motion": "wave"})
    assert ended.results == {"motion": "wave"} and ended.ended_s is not None and ended.worked_s >= 0


def test_a_wish_reaches_the_worker(store: JobStore) -> None:
    put(store)
    job = taken(store)
    assert store.pause(job.key).state == RUNNING
    assert store.wish(job.key) == store.tell(job.key) == PAUSE
    assert store.end(job.key, PAUSED).wish == ""
    assert store.go_on(job.key).state == QUEUED
    assert taken(store).tries == 2
    store.cancel(job.key)
    assert store.end(job.key, CANCELLED).ended_s is not None


@pytest.mark.parametrize("state", [QUEUED, PAUSED])
def test_a_wish_that_comes_while_a_job_is_laid_aside_holds(store: JobStore, state: str) -> None:
    put(store)
    job = taken(store)
    store.cancel(job.key)
    ended = store.end(job.key, state)
    assert (ended.state, ended.wish) == (CANCELLED, "") and ended.ended_s is not None
    put(store)
    job = taken(store)
    store.pause(job.key)
    assert store.end(job.key, state).state == PAUSED


def test_waiting_jobs_obey_at_once(store: JobStore) -> None:
    first, second = put(store), put(store)
    assert store.pause(first.key).state == PAUSED
    assert store.cancel(second.key).state == CANCELLED
    assert store.take(KINDS) is None
    assert [job.state for job in store.jobs()] == [PAUSED, CANCELLED]
    store.go_on(second.key)
    assert taken(store).key == second.key


@pytest.mark.parametrize(
    ("state", "verb"),
    [(DONE, "pause"), (DONE, "cancel"), (DONE, "go_on"), (FAILED, "cancel"), (RUNNING, "go_on"), (RUNNING, "remove")],
)
def test_what_a_state_does_not_allow_is_refused(store: JobStore, state: str, verb: str) -> None:
    put(store)
    job = taken(store)
    if state != RUNNING:
        store.end(job.key, state)
    with pytest.raises(NoSuchJob):
        getattr(store, verb)(job.key)
    assert store.job(job.key).state == state


def test_nobody_touches_or_sees_another_ones_jobs(store: JobStore) -> None:
    mine, other = put(store), put(store, owner="you")
    assert [job.key for job in store.jobs("me")] == [mine.key]
    verbs: list[Callable[..., object]] = [store.job, store.pause, store.cancel, store.go_on, store.remove]
    for verb in verbs:
        with pytest.raises(NoSuchJob):
            verb(other.key, "me")
    with pytest.raises(NoSuchJob):
        store.move(other.key, mine.key, "me")
    assert store.job(other.key).state == QUEUED


def test_removed_jobs_are_gone(store: JobStore) -> None:
    put(store)
    job = taken(store)
    store.tell(job.key, [("spatial", 1, 0.5)])
    store.end(job.key, FAILED, note="no space.")
    assert store.job(job.key).note == "no space."
    store.remove(job.key)
    assert store.jobs() == [] and store.losses(job.key) == []


def test_orphans_are_queued_again_or_end_as_was_wished(store: JobStore) -> None:
    for _ in range(3):
        put(store)
    left, paused, cancelled = taken(store), taken(store), taken(store)
    store.pause(paused.key)
    store.cancel(cancelled.key)
    store.queue_orphans(KINDS)
    assert [store.job(job.key).state for job in (left, paused, cancelled)] == [QUEUED, PAUSED, CANCELLED]


def test_each_device_has_a_worker_of_its_own(store: JobStore) -> None:
    """Which never takes away what another one is at, unless that one is gone."""
    first, second = put(store).key, put(store).key
    with store.workers.alone("cuda:0"):
        assert store.take(KINDS, device="cuda:0").key == first
        with store.workers.alone("cuda:1"):
            assert store.queue_orphans(KINDS, device="cuda:1") == []
            assert store.take(KINDS, device="cuda:1").key == second
            assert store.job(second).device == "cuda:1"
        assert [job.key for job in store.queue_orphans(KINDS, device="cuda:0")] == [first, second]
        assert store.workers.any()
    assert not store.workers.any()


def test_a_job_that_workers_die_at_is_ended(store: JobStore) -> None:
    """But not while it gets on, and it may be tried again."""
    key, other = put(store).key, put(store).key
    for deaths in range(1, MOST_DEATHS):
        assert taken(store).key == key
        assert [job.deaths for job in store.queue_orphans(KINDS)] == [deaths]
    assert taken(store).key == key
    store.tell(key, deaths=0)  # something of it is kept
    for _ in range(MOST_DEATHS):
        assert store.job(key).state == RUNNING or taken(store).key == key
        store.queue_orphans(KINDS)
    ended = store.job(key)
    assert ended.state == FAILED and "for want of memory" in ended.note and ended.ended_s
    assert taken(store).key == other
    store.go_on(key)
    assert store.job(key).deaths == 0 and store.job(key).note == ""


def test_jobs_may_change_places_any_number_of_times_and_jump_nobody(store: JobStore) -> None:
    keys = [put(store, str(i), owner).key for i, owner in enumerate(("me", "you", "me", "me"))]
    first, yours, second, third = keys
    for _ in range(100):
        store.move(third, second, "me")
        store.move(second, third, "me")
    assert [job.key for job in store.jobs()] == keys
    store.move(third, first, "me")
    assert [job.key for job in store.jobs()] == [third, yours, first, second]
    store.pause(third, "me")
    store.go_on(third, "me")
    assert [job.key for job in store.jobs()] == [yours, first, second, third]
    with pytest.raises(NoSuchJob, match="not queued"):
        store.move(first, yours, "me")


def test_a_list_of_the_version_before_is_brought_up_to_date(store: JobStore) -> None:
    job = put(store)
    with store._file.writing() as db:
        db.execute("ALTER TABLE jobs DROP COLUMN deaths")
        db.execute("ALTER TABLE jobs DROP COLUMN device")
        db.execute("DROP TABLE turns")
        db.execute("PRAGMA user_version = 1")
    assert JobStore(store.folder).job(job.key) == job


def test_no_job_is_given_out_twice(store: JobStore) -> None:
    keys, given = {put(store).key for _ in range(30)}, []

    def work() -> None:
        own = JobStore(store.folder)
        while (job := own.take(KINDS)) is not None:
            given.append(job.key)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 30 and set(given) == keys


def test_one_worker_at_a_time_until_its_process_is_killed(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motion_transfer.jobs.attendance.WAIT_ALONE_S", 0.2)
    code = f"""
import sys, time
from pathlib import Path
from motion_transfer.jobs.store import JobStore
with JobStore(Path({str(store.folder)!r})).workers.alone():
    print("in", flush=True)
    time.sleep(60)
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "in\n"
    with pytest.raises(StorageFailed), store.workers.alone():
        pass
    other.kill()
    other.wait()
    with store.workers.alone():
        pass


def test_a_newer_list_is_left_alone(store: JobStore) -> None:
    with store._file.writing() as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageFailed, match="version 99"):
        JobStore(store.folder)


def test_work_time_counts_only_while_working(store: JobStore) -> None:
    put(store)
    job = taken(store)
    time.sleep(0.05)
    store.tell(job.key)
    store.end(job.key, PAUSED)
    worked = store.job(job.key).worked_s
    assert 0.05 <= worked < 5
    time.sleep(0.1)
    store.go_on(job.key)
    taken(store)
    store.tell(job.key)
    assert store.job(job.key).worked_s < worked + 0.1


def test_a_store_that_takes_nothing_is_one_sentence(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store)
    job = taken(store)
    with store._file._db() as db:
        db.execute("PRAGMA query_only = ON")
    with pytest.raises(StorageFailed, match="free some space"):
        store.tell(job.key, stage="temporal")
    with pytest.raises(StorageFailed):
        store.end(job.key, DONE)
    with store._file._db() as db:
        db.execute("PRAGMA query_only = OFF")
    assert store.end(job.key, DONE).state == DONE
