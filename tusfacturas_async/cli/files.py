"""Files that a command writes: kept apart from one another, written beside their place, put there in the end.

It knows no results: whoever writes says what is in them.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import tempfile
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Self, TextIO

from .status import UsageError
from .texts import say, system

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

_SIDES = ("-wal", "-shm", "-journal", ".lock")
"""What SQLite and the journal's lock put beside the journal."""


def keep_apart(source: str | None, written: Iterable[tuple[str, Path]], journal: Path | None) -> None:
    """Refuse files that would overwrite the input, one another, or the journal: by name or by any link.

    Args:
        source: The input: a path, ``-`` for standard input, or ``None``.
        written: Each option with its file.
        journal: The journal's file, or ``None``.

    Raises:
        UsageError: Two are the same file, or one cannot be written.
    """
    named = [] if source is None else [(say("the input"), _identities(source))]
    if journal is not None:
        sides = (journal, *(Path(f"{os.path.realpath(journal)}{side}") for side in _SIDES))
        named.append((f"--journal {journal}", {each for path in sides for each in _identities(path)}))
    named.append((say("standard output"), _of_stream(sys.stdout)))
    named += [(f"{option} {path}", _identities(path)) for option, path in written]
    for (other, taken), (what, known) in combinations(named, 2):
        if taken & known:
            raise UsageError(say("same file", what=what, other=other))
    for _, path in written:
        _refuse_unwritable(path)


def _identities(path: str | Path) -> set[object]:
    """What tells a file from others: its real name, and where it exists, its inode."""
    if path == "-":
        return _of_stream(sys.stdin)
    known: set[object] = {os.path.realpath(path)}
    with suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - a text or a path
        known.add((found.st_dev, found.st_ino))
    return known


def _of_stream(stream: TextIO) -> set[object]:
    """As ``_identities``, where a stream of this process comes from a file or goes to one."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or not a file at all
        return set()
    return {(found.st_dev, found.st_ino)} if stat.S_ISREG(found.st_mode) else set()


def _refuse_unwritable(path: Path) -> None:
    """Find out before anything is asked or sent, and without a trace."""
    place = Path(os.path.realpath(path))
    if place.is_dir():
        raise UsageError(say("cannot write", path=path, why=system(errno.EISDIR)))
    if not place.parent.is_dir():
        raise UsageError(say("cannot write", path=path, why=system(errno.ENOENT)))
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        raise UsageError(say("cannot write", path=path, why=system(errno.EACCES)))


class Replacement:
    """A file that takes the place of ``path`` once it is complete, readable by its owner alone.

    Until then it stands in the same folder as ``<name>.<random>.part``, each line in it as soon as it is
    written. Entered, it exists; left, for whatever reason, it is put in its place if anything was
    written, and removed if not. One that is not whole leaves an earlier file as it is, and stays beside it. A
    device or a pipe is written straight.

    Attributes:
        failure: Why something could not be written or put in its place, in words; the first reason stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failure: str | None = None
        self._place = Path(os.path.realpath(path))
        self._straight = self._place.exists() and not self._place.is_file()
        self._beside = self._place
        self._size = 0

    def __enter__(self) -> Self:
        try:
            if self._straight:
                self._descriptor = os.open(self._place, os.O_WRONLY)
            else:
                self._descriptor, name = tempfile.mkstemp(
                    prefix=f"{self._place.name[:200]}.", suffix=".part", dir=self._place.parent
                )
                os.fchmod(self._descriptor, stat.S_IRUSR | stat.S_IWUSR)  # whatever the umask took away
                self._beside = Path(name)
        except OSError as error:
            raise UsageError(say("cannot write", path=self.path, why=system(error.errno))) from error
        return self

    def write(self, text: str) -> None:
        """Add ``text`` whole, or not at all; after a failure nothing more is added."""
        if self.failure is not None:
            return
        rest = memoryview(text.encode("utf-8", "backslashreplace"))
        whole = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            self._size += whole
        except OSError as error:
            self.failure = say("cannot write", path=self.path, why=system(error.errno))
            with suppress(OSError):  # a pipe keeps what it has
                os.ftruncate(self._descriptor, self._size)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if not self._straight:
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            if not self._straight:
                self._put_in_place()
        except OSError as refused:
            self.failure = self.failure or say("cannot write", path=self.path, why=system(refused.errno))
        if self._size and not self._straight and self._beside.exists():
            self.failure = f"{self.failure}; {say('kept beside', path=self._beside)}"

    def _put_in_place(self) -> None:
        if not self._size:
            self._beside.unlink()
        elif self.failure is None or not self._place.exists():
            self._beside.replace(self._place)
