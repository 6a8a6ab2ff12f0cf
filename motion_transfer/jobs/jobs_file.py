"""The sqlite file that jobs lie in: its tables and their versions, and transactions of many threads and processes."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from motion_transfer.errors import StorageFailed

VERSION = 4
WAIT_S = 30.0  # for another process's write to end
_SCHEMA = """
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, owner TEXT NOT NULL, title TEXT NOT NULL, orders TEXT NOT NULL,
    state TEXT NOT NULL, wish TEXT NOT NULL DEFAULT '', place REAL NOT NULL,
    made_s REAL NOT NULL, begun_s REAL, told_s REAL, ended_s REAL, worked_s REAL NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '', step INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
    rate REAL, loss REAL, peak_memory_mb REAL, tries INTEGER NOT NULL DEFAULT 0, deaths INTEGER NOT NULL DEFAULT 0,
    device TEXT NOT NULL DEFAULT '', note TEXT NOT NULL DEFAULT '', results TEXT NOT NULL DEFAULT '{}'
);
CREATE INDEX jobs_by_state ON jobs (state, place);
CREATE TABLE losses (key TEXT NOT NULL, stage TEXT NOT NULL, step INTEGER NOT NULL, loss REAL NOT NULL,
    PRIMARY KEY (key, stage, step)) WITHOUT ROWID;
CREATE TABLE turns (owner TEXT PRIMARY KEY, turn_s REAL NOT NULL) WITHOUT ROWID;
"""
_MIGRATIONS = {  # from a version to the next
    1: "ALTER TABLE jobs ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0",
    2: "ALTER TABLE jobs ADD COLUMN device TEXT NOT NULL DEFAULT ''",
    3: "CREATE TABLE turns (owner TEXT PRIMARY KEY, turn_s REAL NOT NULL) WITHOUT ROWID",
}


class JobsFile:
    """`jobs.sqlite` in a folder, made or brought up to date if need be.

    Args:
        folder: where it lies.

    Raises:
        StorageFailed: the folder can't hold it, or holds that of a newer version of this program.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._local = threading.local()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.writing() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    for statement in _SCHEMA.split(";"):
                        db.execute(statement)
                for old in range(version or VERSION, VERSION):
                    db.execute(_MIGRATIONS[old])
                if version < VERSION:
                    db.execute(f"PRAGMA user_version = {VERSION}")
        except (OSError, StorageFailed) as error:
            raise StorageFailed(f"a folder for jobs is expected at {self.folder}, but it can't be used ({error}); "
                                "choose another --workspace.") from error  # fmt: skip
        if version > VERSION:
            raise StorageFailed(f"a job list of version {VERSION} is expected in {self.folder}, but it has version "
                                f"{version}; update this program, or choose another --workspace.")  # fmt: skip

    @contextmanager
    def _db(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection.

        Raises:
            StorageFailed: the file can't be read or written, as on a full disk.
        """
        try:
            yield self._connection()
        except sqlite3.Error as error:
            raise StorageFailed(f"the job list in {self.folder} should be readable and writable, but is not ({error}); "
                                "free some space, or choose another --workspace.") from error  # fmt: skip

    def _connection(self) -> sqlite3.Connection:
        db = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self.folder / "jobs.sqlite", timeout=WAIT_S, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            self._local.db = db
        return db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer can come between; undone if the block fails. Inner ones join the outer."""
        with self._db() as db:
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # a full disk may have ended it
                    db.execute("ROLLBACK")
                raise

    def rows(self, question: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """What a question finds.

        Raises:
            StorageFailed: the file can't be read.
        """
        with self._db() as db:
            return db.execute(question, tuple(values)).fetchall()
