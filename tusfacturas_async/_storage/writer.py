"""The owner of a file: WAL, ``synchronous=FULL``, group commit, and nobody else who writes.

All jobs that wait while a commit runs share the next one, so many callers pay for one ``fsync``; rows that
follow one another share a statement, too, so the threads hand the interpreter's lock over once. A job's
result is told only when it is durable, in the file at its path.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import JournalError
from .file import PATIENCE, SqliteFile
from .lock import create_private, locked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .thread import Job, Work

logger = logging.getLogger(__name__)

_ROWS: Final = 100
"""Rows in one statement at most: older builds of SQLite take 999 values."""


class Statement(NamedTuple):
    """How rows are written. A job that writes one is a pair: this, and the row's values.

    Attributes:
        text: An ``INSERT`` whose list of rows is left open as ``{rows}``.
        instead: Called when its own ``WHERE`` refused a row; what it gives is the job's result. The result of
            a row that was written is ``None``.
    """

    text: str
    instead: Callable[[sqlite3.Connection, tuple[Any, ...]], object]


class _RefusedError(Exception):
    """A statement wrote fewer rows than it has: which, is seen when they go one by one."""


class Storage(SqliteFile):
    """A file that is created if need be, and held by this object alone.

    Whoever else tries, in this process or another, under this name or another, is told that it is in use;
    readers need not ask (see ``reader``). After ``aclose`` the file alone holds all.
    """

    # -- in the thread ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _working(self) -> Iterator[Work]:
        path = self.real_path()
        lock = Path(f"{path}.lock")
        with locked(lock):
            if (new := create_private(path)) is not None:
                os.close(new)  # SQLite gives its other files the mode of this one
            if path.is_file() and path.stat().st_nlink > 1:  # the lock and the -wal go by the name
                raise JournalError(f"{self} has another name: remove that hard link, or use a symbolic one")
            with contextlib.closing(self._connect(path)) as connection:
                places = {each: each.stat() for each in (path, Path(f"{path}-wal"), lock)}
                try:
                    yield partial(self._commit, connection, places)
                except BaseException as death:
                    traceback.clear_frames(
                        death.__traceback__
                    )  # a cursor in them would outlive the connection
                    raise
                self._gather(connection, places)

    def _connect(self, path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, timeout=PATIENCE)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            self.check(connection, may_be_new=True)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise JournalError(f"{self} is corrupt ({found})")
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
            if mode != "wal":
                raise JournalError(f"{self} cannot be used: its file system does not carry SQLite's WAL")
            connection.execute("BEGIN IMMEDIATE")
            self._migrate(connection)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for statement in self._kind.schema[version:]:
            connection.execute(statement)
        # Written at every opening: a file that cannot be written is found out before anything is sent.
        connection.execute(f"PRAGMA application_id={self._kind.application_id}")
        connection.execute(f"PRAGMA user_version={len(self._kind.schema)}")

    def _commit(
        self, connection: sqlite3.Connection, places: dict[Path, os.stat_result], group: Sequence[Job]
    ) -> Sequence[Any]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                results = _together(connection, [work for work, *_ in group])
            except Exception:  # noqa: BLE001 - whatever one job raises, the others must not suffer it
                _roll_back(connection)
                connection.execute("BEGIN IMMEDIATE")
                results = [self._alone(connection, job) for job in group]
            connection.execute("COMMIT")
            _check_in_place(places)
        except Exception as error:  # noqa: BLE001 - told to each who waits
            _roll_back(connection)
            return [self.explain(error) for _ in group]
        return results

    def _alone(self, connection: sqlite3.Connection, job: Job) -> Any:
        work, about, *_ = job
        connection.execute("SAVEPOINT job")
        try:
            try:
                (result,) = _together(connection, [work])
            except _RefusedError:
                statement, values = work
                result = statement.instead(connection, values)
        except Exception as error:
            if not connection.in_transaction:
                raise  # a full disk, say, has ended it for all
            traceback.clear_frames(error.__traceback__)  # they hold cursors, which would hold the file
            connection.execute("ROLLBACK TO job")
            result = self.explain(error, about)
        connection.execute("RELEASE job")
        return result

    def _gather(self, connection: sqlite3.Connection, places: dict[Path, os.stat_result]) -> None:
        """Put everything into the file itself, so that it alone can be moved and copied."""
        try:
            _check_in_place(places)
            (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, OSError, JournalError) as error:
            logger.warning("%s was not closed cleanly, keep its -wal with it: %s", self, error)
        else:
            if busy:
                logger.warning("%s is being read: keep its -wal with it", self)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with contextlib.suppress(sqlite3.Error):  # a full disk may have rolled it back already
            connection.execute("ROLLBACK")


def _check_in_place(places: dict[Path, os.stat_result]) -> None:
    """A deleted file goes on taking writes that nobody will ever read; a deleted lock keeps nobody out."""
    for path, found in places.items():
        try:
            in_place = os.path.samestat(path.stat(), found)
        except FileNotFoundError:
            in_place = False
        if not in_place:
            raise JournalError(f"{path} was deleted or replaced while it was in use")


def _together(connection: sqlite3.Connection, jobs: Sequence[Any]) -> list[Any]:
    """Run jobs in their order, rows of one statement that follow one another together."""
    results: list[Any] = []
    rows: list[tuple[object, ...]] = []
    for job, following in zip(jobs, [*jobs[1:], None], strict=True):
        if not isinstance(job, tuple):
            results.append(job(connection))
            continue
        statement, values = job
        results.append(None)
        rows.append(values)
        alike = isinstance(following, tuple) and following[0] is statement
        if not alike or len(rows) == _ROWS:
            marks = "(" + ",".join("?" * len(values)) + ")"
            text = statement.text.format(rows=",".join([marks] * len(rows)))
            written = connection.execute(text, tuple(itertools.chain.from_iterable(rows))).rowcount
            if written != len(rows):
                raise _RefusedError
            rows.clear()
    return results
