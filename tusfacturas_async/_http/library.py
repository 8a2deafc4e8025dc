"""httpx, or httpx2, its successor under another name: which of the two is there, and of which a thing is.

Both are taken. Neither is imported here before it is asked for, and no name of theirs stands in a signature:
the protocols say what is needed of either.
"""

from __future__ import annotations

import functools
import sys
from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable


class AsyncTransport(Protocol):
    """What an ``AsyncBaseTransport`` of httpx or httpx2 is."""

    @abstractmethod
    def handle_async_request(self, request: Any, /) -> Awaitable[Any]:
        """Send one request; its answer may still be coming when this returns."""

    @abstractmethod
    def aclose(self) -> Awaitable[None]:
        """Close all connections."""


class HttpClient(Protocol):
    """What an ``AsyncClient`` of httpx or httpx2 is."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether it sends nothing any more."""

    @property
    @abstractmethod
    def build_request(self) -> Any:
        """Make a request, with what the client adds to each."""

    @property
    @abstractmethod
    def send(self) -> Any:
        """Send a request."""

    @abstractmethod
    def aclose(self) -> Awaitable[None]:
        """Close all connections."""


class Library:
    """One of the two, and what the class of its exceptions proves.

    Attributes:
        module: The package itself.
        transport_types: What a transport is, takes, and gives.
        provable: The transports of its own. Only on these very classes does the class of an exception prove
            anything: pyreqwest's and aiohttp's httpx transports report a reply lost after the whole body was
            sent as ``ConnectError`` (measured).
        nothing_left: On those, what is raised before a byte left.
    """

    def __init__(self, module: Any) -> None:
        self.module: Any = module
        self.transport_types: tuple[Any, Any, Any] = (
            module.AsyncBaseTransport,
            module.Request,
            module.Response,
        )
        self.provable: tuple[type, ...] = (
            module.AsyncHTTPTransport,
            module.MockTransport,
            module.ASGITransport,
        )
        self.nothing_left: tuple[type[Exception], ...] = (
            module.ConnectError,
            module.ConnectTimeout,
            module.PoolTimeout,
            module.ProxyError,
            module.UnsupportedProtocol,
            module.LocalProtocolError,
        )


@functools.cache
def _library(name: str) -> Library:
    return Library(import_module(name))


def installed() -> Library:
    """Httpx where it is installed, else httpx2."""
    try:
        return _library("httpx")
    except ImportError:
        return _library("httpx2")


def library_of(thing: object, *kinds: str) -> Library | None:
    """The library that has a class of one of these names of which ``thing`` is an instance."""
    for name in ("httpx", "httpx2"):
        module = sys.modules.get(name)  # what made a thing is loaded
        if module is not None and isinstance(thing, tuple(getattr(module, kind) for kind in kinds)):
            return _library(name)
    return None
