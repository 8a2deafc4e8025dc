"""What owner and readers of a file have in common: its kind, its thread, and how its failures are told."""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, overload

from ..errors import JournalError, JournalInUseError
from .thread import JobThread

if TYPE_CHECKING:
    import asyncio
    from contextlib import AbstractContextManager

    from .thread import Work

T = TypeVar("T")

Query = Callable[[sqlite3.Connection], T]
"""A job that is done with the connection."""

PATIENCE = 2.0
"""Seconds to wait for what another holds for a moment: a reader its snapshot, a recovery its index."""


class Kind(NamedTuple):
    """A kind of files.

    Attributes:
        name: What such a file is called in messages.
        application_id: Tells our files from others (SQLite's ``application_id``).
        schema: The statement of each version, oldest first; their number is the schema's version.
    """

    name: str
    application_id: int
    schema: Sequence[str]


class SqliteFile(ABC):
    """A file of one kind, at ``path``.

    Raises:
        TypeError: ``path`` is no path.
    """

    def __init__(self, path: str | os.PathLike[str], kind: Kind) -> None:
        try:
            self._path = Path(path)
        except TypeError:
            raise TypeError(
                f"the {kind.name}'s path must be a str or a pathlib.Path, not {type(path).__name__}"
            ) from None
        self._kind = kind
        self._thread: JobThread | None = None

    def __str__(self) -> str:
        return f"the {self._kind.name} {self._path}"

    async def open(self) -> None:
        """Open the file and start its thread.

        Raises:
            JournalInUseError: It is in use.
            JournalError: It cannot be opened, is not ours, is newer than us, or corrupt.
        """
        if self._thread is not None:
            raise JournalInUseError(
                f"{self} is in use by another part of this program: it was entered before"
            )
        self._thread = thread = JobThread(str(self), self._working)
        try:
            await thread.start()
        except BaseException as error:
            self._thread = None
            if isinstance(error, JournalError) or not isinstance(error, Exception):
                raise
            raise self.explain(error) from error

    @overload
    def run(self, job: Query[T], about: str = "") -> asyncio.Future[T]: ...
    @overload
    def run(
        self, job: tuple[Any, Any], about: str, undo: Callable[[], object] | None = None
    ) -> asyncio.Future[Any]: ...
    def run(
        self, job: Query[Any] | tuple[Any, Any], about: str = "", undo: Callable[[], object] | None = None
    ) -> asyncio.Future[Any]:
        """Do ``job`` in the thread; the future ends when it is done, and durable.

        Args:
            job: What to do with the connection (it may be called again after a failure of its group), or a
                row to write (see ``writer``).
            about: The row that it is about, for messages.
            undo: Called on the event loop when a row was not written, or nobody waits for it any more.

        Raises:
            JournalError: It is not open, or (from the future) the file or the row cannot be used.
            RuntimeError: It was opened in another event loop.
        """
        if self._thread is None:
            raise JournalError(f"{self} is not open")
        return self._thread.put(job, about, undo)

    async def aclose(self) -> None:
        """Finish the jobs that wait, and close the file. Cancelled meanwhile, it does so all the same."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await thread.end()

    # -- in the thread ----------------------------------------------------------------------------

    @abstractmethod
    def _working(self) -> AbstractContextManager[Work]:
        """Entered and left in the thread; gives what does a group of jobs."""

    def real_path(self) -> Path:
        """The file itself, whatever names and links lead to it: SQLite's other files stand beside it."""
        return Path(os.path.realpath(self._path))

    def check(self, connection: sqlite3.Connection, *, may_be_new: bool) -> None:
        """Raise ``JournalError`` unless the file is of our kind, and no newer than us."""
        connection.text_factory = _text
        (application_id,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        new = may_be_new and not application_id and not tables
        if application_id != self._kind.application_id and not new:
            raise JournalError(
                f"{self._path} is not a {self._kind.name} of this package: choose another file"
            )
        known = len(self._kind.schema)
        if version > known:
            raise JournalError(f"{self} has version {version}, this package knows {known}: update it")

    def explain(self, error: BaseException, about: str = "") -> JournalError:
        """The failure in words, with the file and the row; a new error for each who is told."""
        reason, kind = str(error), JournalError
        if isinstance(error, BlockingIOError) or _is_held(error):
            kind = JournalInUseError
            reason = "it is in use by another process, or by another part of this one"
        elif isinstance(error, OSError) and error.filename is not None:
            reason = f"unable to open {os.fsdecode(error.filename)}: {error.strerror}"
        elif isinstance(error, JournalError) and not about:
            return JournalError(reason)
        how = f"failed at {about!r}" if about else "cannot be used"
        told = kind(f"{self} {how}: {reason or repr(error)}")
        told.__cause__ = error
        return told


def _is_held(error: BaseException) -> bool:
    """Whether SQLite says that another program has the file locked."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


class Opened:
    """What is open while its file is: ``async with`` it."""

    _storage: SqliteFile

    async def __aenter__(self) -> Self:
        await self._storage.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._storage.aclose()


def _text(raw: bytes) -> str:
    """A text of the file, also where it is damaged: whoever reads it tells which row that is."""
    return raw.decode("utf-8", "surrogateescape")
