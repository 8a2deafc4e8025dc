"""Who owns a file: a lock file beside it, and files that their owner alone may read. It knows no SQLite.

SQLite's own locks would not do: POSIX forgets them as soon as anything in the process opens and closes the
same file. A lock of ``flock`` belongs to the opening itself, and the kernel ends it with the process.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRIVATE: Final = 0o600


def create_private(path: Path) -> int | None:
    """Create an empty file of mode 0600, whatever the umask, and return it open; ``None`` where there is one.

    Raises:
        OSError: It cannot be created.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _CLOSE_ON_EXEC, _PRIVATE)
    except FileExistsError:
        return None
    if sys.platform != "win32":
        os.fchmod(descriptor, _PRIVATE)
    return descriptor


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at ``path``, which is created, and removed at the end.

    Raises:
        BlockingIOError: Somebody holds it, in this process or in another.
        OSError: It cannot be created, or the file system knows no locks.
    """
    descriptor = _take(path)
    _held.add(descriptor)
    try:
        yield
    finally:
        _held.discard(descriptor)
        _release(path, descriptor)


def _take(path: Path) -> int:
    while True:
        descriptor = create_private(path)
        if descriptor is None:
            try:
                descriptor = os.open(path, os.O_RDWR | _CLOSE_ON_EXEC)
            except FileNotFoundError:
                continue  # its holder has just removed it
        try:
            _lock(descriptor)
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it between our opening and our lock


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


_held: Final[set[int]] = set()

if sys.platform == "win32":  # pragma: no cover - the tests run where flock is
    import msvcrt

    _CLOSE_ON_EXEC: Final = os.O_NOINHERIT

    def _lock(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(error.errno, error.strerror) from error

    def _release(path: Path, descriptor: int) -> None:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # the next one has it open already, so it is theirs
            path.unlink()

else:
    import fcntl

    _CLOSE_ON_EXEC: Final = os.O_CLOEXEC

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(path: Path, descriptor: int) -> None:
        if _is_at(path, descriptor):  # while it is ours: afterwards it may be the next one's
            path.unlink()
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked child's copy would hold it on
        os.close(descriptor)

    def _let_go() -> None:
        """In a forked child: its copies would keep the lock beyond the parent's end."""
        for descriptor in _held:
            os.close(descriptor)
        _held.clear()

    os.register_at_fork(after_in_child=_let_go)
