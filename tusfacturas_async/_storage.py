"""One SQLite file, written by one thread: WAL, ``synchronous=FULL``, group commit. It knows no vouchers.

A job is a function of the connection, or a row to write. All jobs that wait while a commit runs share the
next one, so many callers pay for one ``fsync``; rows that follow one another share a statement, too, so the
threads hand the interpreter's lock over once. A job's result is told only when it is durable, in the file at
its path.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeVar, overload

from .errors import JournalError

if TYPE_CHECKING:
    import os

T = TypeVar("T")
_GROUP: Final = 1_000
"""Jobs in one commit at most."""

_ROWS: Final = 100
"""Rows in one statement at most: older builds of SQLite take 999 values."""


class Row(NamedTuple):
    """A row to write.

    Attributes:
        statement: An ``INSERT`` whose list of rows is left open as ``{rows}``.
        values: The row's.
    """

    statement: str
    values: tuple[object, ...]


Work = Callable[[sqlite3.Connection], Any] | Row
Job = tuple[Work, "asyncio.Future[Any]"]


class Storage:
    """A file of one kind and one schema version, held by this process alone.

    Args:
        path: Where the file is, or will be.
        kind: What such a file is called in messages.
        application_id: Tells our files from others (SQLite's ``application_id``).
        schema: The statements of each version, oldest first; their number is the schema's version.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, kind: str, application_id: int, schema: Sequence[str]
    ) -> None:
        self._path = Path(path)
        self._kind = kind
        self._application_id = application_id
        self._schema = schema
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._inodes: dict[Path, int] = {}

    async def open(self) -> Self:
        """Open or create the file, and start the writer.

        Raises:
            JournalError: It cannot be opened, is not ours, is newer than us, corrupt, or in use.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A daemon: a process that ends without closing must not hang; a commit cut off is a crash survived.
        name = f"tusfacturas-{self._kind}"
        self._thread = threading.Thread(target=self._write, args=(opened,), name=name, daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(opened)
        except BaseException:
            await self.aclose()
            raise
        return self

    @overload
    def run(self, job: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]: ...
    @overload
    def run(self, job: Row) -> asyncio.Future[None]: ...
    def run(self, job: Work) -> asyncio.Future[Any]:
        """Run ``job`` in the writer's thread; the future ends once its transaction is durable.

        Raises:
            JournalError: It is closed, or (from the future) the file cannot be written; nothing of the group
                was kept.
        """
        if self._thread is None:
            raise JournalError(f"the {self._kind} {self._path} is not open")
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, told))
        return told

    async def aclose(self) -> None:
        """Finish the jobs that wait, and close the file."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join)

    # -- the writer's thread ----------------------------------------------------------------------

    def _write(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except (sqlite3.Error, OSError, JournalError) as error:
            _tell([(opened, None, self._explain(error))])
            return
        _tell([(opened, None, None)])
        with contextlib.closing(connection):
            while group := self._next_group():
                _tell(self._commit(connection, group))

    def _next_group(self) -> list[Job]:
        group = []
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            if len(group) == _GROUP or self._jobs.empty():
                return group
            job = self._jobs.get()
        if group:
            self._jobs.put(None)  # the end comes after this group
        return group

    def _commit(
        self, connection: sqlite3.Connection, group: list[Job]
    ) -> list[tuple[asyncio.Future[Any], Any, JournalError | None]]:
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = _run(connection, [job for job, _ in group])
            connection.execute("COMMIT")
            self._check_in_place()
        except (sqlite3.Error, OSError, JournalError) as error:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):  # a full disk may have rolled it back already
                    connection.execute("ROLLBACK")
            return [(told, None, self._explain(error)) for _, told in group]
        return [(told, result, None) for (_, told), result in zip(group, results, strict=True)]

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=0.2, check_same_thread=False)
        try:
            # Exclusive before WAL: the lock then keeps other processes out until we close.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("PRAGMA synchronous=FULL")
            self._check_ours(connection)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("BEGIN IMMEDIATE")
            self._migrate(connection)
            connection.execute("COMMIT")
            self._inodes = {path: path.stat().st_ino for path in (self._path, Path(f"{self._path}-wal"))}
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_ours(self, connection: sqlite3.Connection) -> None:
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id != self._application_id and (application_id or tables):
            raise JournalError(f"{self._path} is not a {self._kind} of this package: choose another file")
        if version > len(self._schema):
            raise JournalError(
                f"the {self._kind} {self._path} has version {version}, "
                f"this package knows {len(self._schema)}: update it"
            )
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise JournalError(f"the {self._kind} {self._path} is corrupt ({found})")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for statement in self._schema[version:]:
            connection.execute(statement)
        # Written at every opening: a file that cannot be written is found out before anything is sent.
        connection.execute(f"PRAGMA application_id={self._application_id}")
        connection.execute(f"PRAGMA user_version={len(self._schema)}")

    def _check_in_place(self) -> None:
        """A deleted file goes on taking writes that nobody will ever read."""
        for path, inode in self._inodes.items():
            try:
                in_place = path.stat().st_ino == inode
            except FileNotFoundError:
                in_place = False
            if not in_place:
                raise JournalError(f"{path} was deleted or replaced while it was in use")

    def _explain(self, error: Exception) -> JournalError:
        if isinstance(error, JournalError):
            return JournalError(str(error))  # each waiter gets its own
        reason = str(error)
        if "locked" in reason:
            reason = "it is in use by another process, or by another part of this one"
        told = JournalError(f"the {self._kind} {self._path} cannot be used: {reason}")
        told.__cause__ = error
        return told


def _run(connection: sqlite3.Connection, jobs: list[Work]) -> list[Any]:
    """Run jobs in their order, rows of one statement that follow one another together."""
    results: list[Any] = []
    rows: list[tuple[object, ...]] = []
    for job, following in zip(jobs, [*jobs[1:], None], strict=True):
        if not isinstance(job, Row):
            results.append(job(connection))
            continue
        results.append(None)
        rows.append(job.values)
        alike = isinstance(following, Row) and following.statement == job.statement
        if not alike or len(rows) == _ROWS:
            marks = "(" + ",".join("?" * len(job.values)) + ")"
            statement = job.statement.format(rows=",".join([marks] * len(rows)))
            connection.execute(statement, tuple(itertools.chain.from_iterable(rows)))
            rows.clear()
    return results


def _tell(told: list[tuple[asyncio.Future[Any], Any, JournalError | None]]) -> None:
    """Hand a group's results to their event loop, in one call."""

    def settle() -> None:
        for future, result, error in told:
            if future.done():  # its caller was cancelled
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        told[0][0].get_loop().call_soon_threadsafe(settle)
