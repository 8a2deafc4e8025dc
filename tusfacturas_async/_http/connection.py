"""One HTTP/1.1 connection on the event loop itself; a parser of ``parsing`` reads it.

httpx's own transport spends most of its time above the parser (docs/explanation/performance.md): on a pool,
on locks, and on a cancel scope for each read and write. One request at a time with one time limit needs none
of these.
"""

from __future__ import annotations

import asyncio
import math
import select
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .answer import MAX_ANSWER, BrokenAnswerError
from .dial import dial
from .parsing import Answer, Parser, syntax

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

KEEP_ALIVE: Final = 5.0
"""Seconds after which an idle connection is not used again (httpx's own number)."""


class Origin(NamedTuple):
    """Where a connection leads: the TCP port of a host, and the TLS context, ``None`` for plain HTTP."""

    host: str
    port: int
    secure: ssl.SSLContext | None


class Connection(asyncio.Protocol):
    """Sends one request after another.

    Whoever cancels an exchange, or sees it fail, closes the connection.
    """

    def __init__(self) -> None:
        self._syntax = syntax()
        self._transport: asyncio.Transport | None = None
        self._parser: Parser | None = None
        self._idle_since = 0.0
        self._readable: Callable[[], bool] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self._waiter: asyncio.Future[Answer] | None = None
        self._lost: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether it is open, not idle for too long, and nothing came that nobody asked for."""
        if self._transport is None or self._readable is None:
            return False
        if asyncio.get_running_loop().time() - self._idle_since > KEEP_ALIVE:
            return False
        # The loop would tell in its next turn: the server has closed it, or says what nobody asked for.
        return not self._readable()

    async def open(self, origin: Origin) -> None:
        """Open it, or open it again.

        Raises:
            OSError: The host is unknown or does not answer.
        """
        await self.aclose()
        connection = await dial(origin.host, origin.port)
        self._parser = self._syntax.new_parser(MAX_ANSWER)
        loop = asyncio.get_running_loop()
        # uvloop closes the file of a connection that fails here, but can leave its number with our socket:
        # when cancelled (before 0.23; its issue 738), and still when lost before this returns. Collected,
        # the socket would close that number again, which by then may be another connection's.
        on_uvloop = not isinstance(loop, asyncio.BaseEventLoop)
        try:
            await loop.create_connection(
                lambda: self,
                sock=connection,
                ssl=origin.secure,
                server_hostname=origin.host if origin.secure else None,
            )
        except BaseException:
            if on_uvloop:
                connection.detach()
                self._lost = None  # nor does it tell then that it is closed
            raise
        if self._transport is None:
            if on_uvloop:
                connection.detach()
            raise ConnectionResetError("the connection was closed as soon as it was open")

    async def exchange(
        self, head: Any, body: bytes, timeout: float | None, left: Callable[[], Awaitable[None] | None]
    ) -> Answer:
        """Send one request over the open connection and await its whole answer.

        Args:
            head: Of the parser's ``new_head``.
            body: All of it.
            timeout: Seconds until the answer is there; ``None`` for no end.
            left: Called when the request has left; what it returns is awaited.

        Raises:
            TimeoutError: It was not.
            OSError: The connection broke.
            BrokenAnswerError: The answer is no HTTP/1.1, too long, or cut off.
        """
        transport, parser = self._transport, self._parser
        if transport is None or parser is None:
            raise ConnectionResetError("the connection was closed before the request")
        loop = asyncio.get_running_loop()
        self._due = math.inf if timeout is None else loop.time() + timeout
        if self._timer is None or self._timer.when() > self._due:
            self._set_timer(loop)
        self._waiter = loop.create_future()
        try:
            # One segment, where it fits. In no variable: the bytes hold the credentials.
            transport.write(parser.ask(head, body))
            if (told := left()) is not None:
                await told
            return await self._waiter
        finally:
            self._waiter = None
            self._idle_since = loop.time()

    async def aclose(self) -> None:
        """Drop the connection, whatever it is doing."""
        self._drop()
        if self._lost is not None:
            await asyncio.shield(self._lost)

    # -- called by the event loop -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake, if any, is done."""
        self._transport = transport  # type: ignore[assignment]
        self._readable = _watch(transport.get_extra_info("socket"))
        self._lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; or of none, and then the next answer cannot be told from them."""
        parser = self._parser
        if parser is None or self._waiter is None or self._waiter.done():
            self._drop()
            return
        try:
            answer = parser.feed(data)
        except BrokenAnswerError as error:
            self._fail(error)
        else:
            if answer is not None:
                self._finish(answer, reusable=parser.reusable)

    def eof_received(self) -> None:
        """No more will come, which may be how the answer ends."""
        parser = self._parser
        if parser is not None and self._waiter is not None and not self._waiter.done():
            try:
                answer = parser.end()
            except BrokenAnswerError as error:
                self._fail(error)
            else:
                if answer is not None:
                    self._finish(answer, reusable=False)
        self._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what waits for an answer will not get it."""
        self._transport = None
        self._fail(exc or ConnectionResetError("the connection was closed before an answer came"))
        if self._lost is not None:
            self._lost.set_result(None)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._stop_timer()
        if self._due < math.inf:
            self._timer = loop.call_at(self._due, self._look_at_the_time, self._due)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look_at_the_time(self, looked_for: float) -> None:
        """One timer sees to many requests: it is moved when it rings, and not for each of them."""
        self._timer = None
        if self._waiter is None or self._waiter.done():
            return
        if self._due <= looked_for:
            self._fail(TimeoutError())
        else:
            self._set_timer(asyncio.get_running_loop())

    def _finish(self, answer: Answer, *, reusable: bool) -> None:
        if not reusable:
            self._drop()
        if self._waiter is not None:
            self._waiter.set_result(answer)

    def _fail(self, error: Exception) -> None:
        self._drop()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)

    def _drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        self._stop_timer()


def _watch(connection: socket.socket) -> Callable[[], bool]:
    """What tells whether something came."""
    if not hasattr(select, "poll"):  # Windows, where select knows no limit of 1,024
        return lambda: bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return lambda: bool(poll.poll(0))
