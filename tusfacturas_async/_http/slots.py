"""A slot for each request in flight: a transport of its own with one connection.

httpcore's pool walks all its connections several times a request, and cancelled callers of a shared pool leak
its places. Here whoever sends takes a slot off a stack. How many there are is bounded by who calls.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final

from .._cancellation import is_cancellation
from .library import AsyncTransport, Library, installed, library_of

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport, Request, Response
else:
    AsyncBaseTransport, Request, Response = installed().transport_types

logger = logging.getLogger(__name__)

_READ_AT_ONCE: Final = 64 * 1024
"""Bytes that httpcore takes at most off what was received; more may lie there, unasked and unseen."""


class SlotsTransport(AsyncBaseTransport):
    """An httpx transport that hands each request in flight a transport of its own.

    A slot whose exchange failed or was cancelled, or whose answer was not read to its end, is closed and
    thrown away: no later request can read an earlier one's answer. It works in an ``AsyncClient`` of httpx or
    httpx2, and has as many slots as that sends requests at once.

    Args:
        new_slot: Makes a transport for one request at a time, each time a new one. One TLS context for all is
            worth sharing: ``SlotsTransport(lambda: httpx.AsyncHTTPTransport(verify=context))``.

    Raises:
        TypeError: What ``new_slot`` makes is no ``AsyncBaseTransport``, or twice the same.
    """

    def __init__(self, new_slot: Callable[[], AsyncTransport]) -> None:
        self._new_slot = new_slot
        self._idle = [new_slot(), new_slot()]  # a bad setting fails here, not at the first call
        first, second = self._idle
        library = library_of(first, "AsyncBaseTransport")
        if library is None:
            raise TypeError(f"each slot must be an httpx.AsyncBaseTransport, not {type(first).__name__}")
        if first is second:
            raise TypeError("each slot must be a transport of its own: it was given the same one twice")
        self.library: Library = library
        self.kind: type = type(first)
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def handle_async_request(self, request: Request) -> Response:
        """Send one request over an idle slot, or a new one."""
        slot = self.take()
        try:
            response: Response = await slot.handle_async_request(request)
        except BaseException:
            await self.discard(slot)
            raise
        if response.is_closed:  # it never was a stream: a mock's
            self.keep(slot)
        else:
            # DirectTransport answers in the terms of whose request it is, whichever it is a transport of.
            library = library_of(response, "Response") or self.library
            response.stream = _lease_of(library)(response.stream, slot, self)
        return response

    def take(self) -> Any:
        """A slot for one exchange; give it back by ``keep`` or ``discard``."""
        return self._idle.pop() if self._idle else self._new_slot()

    def keep(self, slot: AsyncTransport) -> None:
        """Take back a slot whose exchange went well."""
        if self._closed:
            self._start_closing(slot)
        else:
            self._idle.append(slot)

    async def discard(self, slot: AsyncTransport) -> None:
        """Close a slot whose connection is in doubt; the next request gets another."""
        await asyncio.shield(self._start_closing(slot))  # a second cancellation leaves it to aclose()

    def _start_closing(self, slot: AsyncTransport) -> asyncio.Task[None]:
        closing = asyncio.create_task(_close(slot))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return closing

    async def aclose(self) -> None:
        """Close every connection, also those that are closing already."""
        self._closed = True
        while self._idle:
            await _close(self._idle.pop())
        if self._closing:
            await asyncio.wait(self._closing)


class _Lease:
    """An answer that is still coming: read to its end it gives its slot back, else it closes it."""

    def __init__(self, stream: Any, slot: AsyncTransport, slots: SlotsTransport) -> None:
        self._stream = stream
        self._slot: AsyncTransport | None = slot
        self._slots = slots
        self._whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        came = 0
        async for piece in self._stream:
            came += len(piece)
            yield piece
        self._whole = came < _READ_AT_ONCE

    async def aclose(self) -> None:
        slot, self._slot = self._slot, None
        if slot is None:
            return
        try:
            await self._stream.aclose()
        except BaseException:
            self._whole = False
            raise
        finally:
            if self._whole:
                self._slots.keep(slot)
            else:
                await self._slots.discard(slot)


@functools.cache
def _lease_of(library: Library) -> type[Any]:
    """Httpx and httpx2 each insist on a stream of their own kind."""
    return type("Lease", (_Lease, library.module.AsyncByteStream), {})


async def _close(slot: AsyncTransport) -> None:
    try:
        await slot.aclose()
    except (Exception, asyncio.CancelledError) as error:
        if is_cancellation(error):
            raise
        # It is being thrown away; the request's own failure is told.
        logger.debug("closing a connection failed: %s: %s", type(error).__name__, error)
