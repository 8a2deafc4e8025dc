"""HTTP/1.1 of one connection as pure state: a request's bytes, and an answer out of the bytes that come.

This room says what a parser is; ``with_httptools`` and ``with_h11`` are the two. Both refuse the same: what
is not well-formed, too long a head, two ways of telling one body's length.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_HEAD: Final = 100 * 1024
"""Bytes of an answer's status line and headers (httpcore's own number)."""

_PARSERS: Final = ("with_httptools", "with_h11")

VERSIONS: Final = frozenset({b"1.0", b"1.1"})

MALFORMED: Final = "the answer is not whole and well-formed HTTP/1.1"

Headers = list[tuple[bytes, bytes]]


class Head(NamedTuple):
    """Of a request: its method, its target and its headers, ``Content-Length`` among them."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """A whole answer as it came: the names of its headers in lower case, its body not unpacked."""

    status: int
    headers: Headers
    body: bytes


class Parser(Protocol):
    """Reads one answer after another off one connection.

    Attributes:
        reusable: After an answer: whether another request may follow it.
    """

    reusable: bool

    @abstractmethod
    def ask(self, head: Any, body: bytes) -> bytes:
        """The bytes of a request, whose ``head`` this parser's module made."""

    @abstractmethod
    def feed(self, data: bytes) -> Answer | None:
        """Take what came; the answer, once it is whole.

        Raises:
            BrokenAnswerError: It is no answer, or too long.
        """

    @abstractmethod
    def end(self) -> Answer | None:
        """No more will come, which may be how the answer ends."""


class Syntax(Protocol):
    """What a module with a parser has."""

    @abstractmethod
    def new_parser(self, longest: int) -> Parser:
        """A parser of one connection, and the bytes of the longest body that it takes."""

    @abstractmethod
    def new_head(self, head: Head) -> Any:
        """What ``Parser.ask`` sends, checked: worth keeping.

        Raises:
            ValueError: It has characters that would make it another request.
        """


@functools.cache
def syntax() -> Syntax:
    """The fastest parser that is installed.

    Raises:
        ImportError: None is; it says what to install.
    """
    for name in _PARSERS:
        try:
            return cast("Syntax", import_module(f".{name}", __package__))
        except ImportError:
            continue
    raise ImportError("DirectTransport needs a parser: pip install 'tusfacturas-async[speed]'")
