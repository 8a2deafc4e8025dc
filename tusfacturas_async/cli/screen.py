"""Standard output and standard error: written as they are, lost in an orderly way.

rich renders, and never writes: at a closed pipe it would end the process. What comes from outside has passed
``visible`` before it comes here.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from .texts import system
from .visible import visible_lines

if TYPE_CHECKING:
    from rich.console import RenderableType


class OutputLostError(Exception):
    """Standard output takes no more.

    Attributes:
        why: In words.
        closed: Whether its reader has gone, as ``head`` does when it has enough.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.why: str = system(error.errno)
        self.closed: bool = error.errno in {errno.EPIPE, errno.EIO}


def put(text: str) -> None:
    """Write to standard output, now.

    Raises:
        OutputLostError: It is full, or its reader has gone. What is written from now on goes nowhere.
    """
    rest = memoryview(text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"))
    try:
        while rest:  # with PYTHONUNBUFFERED it writes what it can; a text stream would drop the rest untold
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()
    except OSError as error:
        _let_go_of_standard_output()
        raise OutputLostError(error) from error


def put_line(text: str) -> None:
    """Write one line to standard output."""
    put(f"{text}\n")


def tell(text: str, style: str | None = None) -> None:
    """Write lines to standard error, if anybody reads it."""
    told = Lenient()
    told.write(rendered(Text(text, style or ""), told, soft_wrap=True))


def rendered(what: RenderableType, stream: Any, *, soft_wrap: bool = False) -> str:
    """What is to be written to ``stream``: with colours, and as wide as it is, where it is a terminal."""
    console = Console(file=stream)
    with console.capture() as captured:
        console.print(what, soft_wrap=soft_wrap, highlight=False, markup=False)
    return captured.get()


class _Through(io.TextIOBase):
    """A standard stream as it stands now: a bar puts itself in its place later, to be written through."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return terminal(self._stream)

    def fileno(self) -> int:
        """The stream's."""
        return int(self._stream.fileno())

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return str(self._stream.encoding)


class Lenient(_Through):
    """Standard error, which nobody may be reading any more: a terminal that was closed."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)


class StandardOutput(_Through):
    """Standard output for those who print by themselves: it is lost as in ``put``."""

    def __init__(self) -> None:
        super().__init__(sys.stdout)

    def write(self, text: str) -> int:
        """Write all of it.

        Raises:
            OutputLostError: As ``put``.
        """
        put(text)
        return len(text)


class Log(logging.Handler):
    """Log records on standard error, made visible."""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell one."""
        tell(visible_lines(self.format(record)))


def terminal(stream: Any) -> bool:
    """Whether a person is at the other end of ``stream``."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # none, or closed
        return False


def fill_in_closed_streams() -> None:
    """Open those that were closed before we began: else the next file opened would get their number.

    What is written to standard output still fails, as it should.
    """
    for name, mode, access in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, access), mode))


def _let_go_of_standard_output() -> None:
    """Let Python's own flush at the end find no error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
