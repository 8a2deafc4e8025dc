"""A reader of a file that another may own at that time: it takes no lock, creates and writes nothing.

Each job has a connection of its own for a moment, so a reader that idles is in nobody's way.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import JournalError
from .file import PATIENCE, SqliteFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .file import Query
    from .thread import Job, Work

_TRIES: Final = 10
"""Readings of a file that changes meanwhile; its owner is then there, and can be read beside."""

_Mark = tuple[int, int, int] | None
"""What tells one state of a file from another, or ``None`` where there is no file."""


class _State(NamedTuple):
    """The files as they stand: the file itself, its ``-wal``, and the ``-shm`` by which others share that."""

    file: _Mark
    wal: _Mark
    shm: _Mark

    @property
    def shared(self) -> bool:
        """Whether SQLite itself keeps reader and owner apart."""
        return self.wal is not None and self.shm is not None


class Reader(SqliteFile):
    """Reads a file as it stands at each job, whether its owner runs, has ended, or was killed."""

    @contextlib.contextmanager
    def _working(self) -> Iterator[Work]:
        with contextlib.ExitStack() as self._copies:
            self._copied: tuple[_State, str] | None = None
            self._read(lambda connection: self.check(connection, may_be_new=False))
            yield self._answer

    def _answer(self, group: Sequence[Job]) -> Sequence[Any]:
        return [self._one(job) for job in group]

    def _one(self, job: Job) -> Any:
        work, about, *_ = job
        try:
            return self._read(work)
        except Exception as error:  # noqa: BLE001 - told to the job's caller
            return self.explain(error, about)

    def _read(self, job: Query[Any]) -> Any:
        path = self.real_path()
        for _ in range(_TRIES):
            seen = _state(path)
            if seen.file is None:
                raise JournalError(f"there is no {self._kind.name} at {self._path}")
            try:
                with contextlib.closing(
                    sqlite3.connect(self._uri(path, seen), uri=True, timeout=PATIENCE)
                ) as it:
                    self.check(it, may_be_new=False)
                    result = job(it)
            except (sqlite3.Error, FileNotFoundError):
                if _state(path) == seen:
                    raise
            else:
                if seen.shared or _state(path) == seen:
                    return result
        raise JournalError(f"{self} changes faster than it can be read")

    def _uri(self, path: Path, seen: _State) -> str:
        if seen.shared:
            return f"{path.as_uri()}?mode=ro"
        if seen.wal is None:  # at rest: SQLite would create what it shares with others
            return f"{path.as_uri()}?mode=ro&immutable=1"
        # What a crash left, without its -shm, as it is copied: SQLite would create that, so it reads a copy.
        if self._copied is None or self._copied[0] != seen:
            self._copied = seen, self._copy(path)
        return self._copied[1]

    def _copy(self, path: Path) -> str:
        import tempfile  # noqa: PLC0415 - hardly ever needed

        folder = Path(self._copies.enter_context(tempfile.TemporaryDirectory()))
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{path}{suffix}", folder / f"copy{suffix}")
        return (folder / "copy").as_uri()


def _state(path: Path) -> _State:
    return _State(*(_mark(Path(f"{path}{suffix}")) for suffix in ("", "-wal", "-shm")))


def _mark(path: Path) -> _Mark:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
