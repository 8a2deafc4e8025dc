"""One HTTP/1.1 connection on the event loop itself; h11 reads and writes the protocol.

httpx's own transport spends three quarters of its time above h11 (docs/performance.md): on a pool, on locks,
and on a cancel scope for each read and write. One request at a time with one time limit needs none of these.
There is no proxy here and no HTTP/2; ``slots`` has httpx for the former, and never asks for the latter.
"""

from __future__ import annotations

import asyncio
import functools
import select
from typing import TYPE_CHECKING, Final, Protocol

import h11

from .answer import Body, BrokenAnswerError, Reply
from .dial import dial

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

_HEADS: Final = 64
"""Checked heads that are kept."""

_LONGEST_HEAD: Final = 100 * 1024
"""Bytes of an answer's status line and headers (httpcore's own number)."""

_NOTHING_MORE: Final = (h11.NEED_DATA, h11.PAUSED)


class Origin:
    """Where connections lead.

    Args:
        host: Name or address, without brackets.
        port: TCP port.
        secure: The TLS context; ``None`` for plain HTTP.
        headers: Of every request, beside ``Content-Length``.
        longest_body: Bytes of an answer's body at most.
        keep_alive: Seconds after which an idle connection is not used again.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        secure: ssl.SSLContext | None,
        headers: Mapping[str, bytes],
        longest_body: int,
        keep_alive: float,
    ) -> None:
        self.host = host
        self.port = port
        self.secure = secure
        self.longest_body = longest_body
        self.keep_alive = keep_alive
        self._headers = [(name.encode("ascii"), value) for name, value in headers.items()]
        # Checked once: a client asks for few paths, and its bodies have few lengths.
        self.head = functools.lru_cache(_HEADS)(self._new_head)

    def _new_head(self, target: bytes, length: int) -> h11.Request:
        headers = [*self._headers, (b"Content-Length", b"%d" % length)]
        return h11.Request(method=b"POST", target=target, headers=headers)


class Witness(Protocol):
    """Is told how far a request gets."""

    def opening(self) -> None:
        """The connection has to be opened first."""

    def sending(self) -> None:
        """The first byte is about to leave; before that, nothing has."""


class Connection(asyncio.Protocol):
    """Sends one request after another, and opens itself when needed.

    Whoever cancels an exchange, or sees it fail, closes the connection.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.CLIENT)
        self._idle_since = 0.0
        self._head: h11.Response | None = None
        self._body = Body(())
        self._waiter: asyncio.Future[Reply] | None = None
        self._lost: asyncio.Future[None] | None = None

    async def exchange(self, target: bytes, body: bytes, witness: Witness) -> Reply:
        """Send one request and await its whole answer.

        Args:
            target: Path and query.
            body: All of it.
            witness: Is told how far it gets.

        Raises:
            OSError: No connection, or it broke.
            BrokenAnswerError: The answer is no HTTP/1.1, too long, or cut off.
        """
        loop = asyncio.get_running_loop()
        if not self._usable(loop):
            witness.opening()
            await self.aclose()
            await self._open(loop)
        self._waiter = loop.create_future()
        try:
            self._send(target, body, witness)
            return await self._waiter
        finally:
            self._waiter = self._head = None
            self._body = Body(())
            self._idle_since = loop.time()

    def _usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        transport = self._transport
        if transport is None or loop.time() - self._idle_since > self._origin.keep_alive:
            return False
        # The loop would tell in its next turn: the server has closed it, or says what nobody asked for.
        return not _readable(transport.get_extra_info("socket"))

    def _send(self, target: bytes, body: bytes, witness: Witness) -> None:
        http, transport = self._http, self._transport
        if transport is None:
            raise ConnectionResetError("the connection was closed as soon as it was open")
        head = self._origin.head(target, len(body))
        witness.sending()
        # One segment, where it fits. In no variable: the bytes hold the credentials.
        transport.write(http.send(head) + http.send(h11.Data(data=body)))
        http.send(h11.EndOfMessage())

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        origin = self._origin
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_LONGEST_HEAD)
        connection = await dial(origin.host, origin.port)
        name = origin.host if origin.secure else None
        await loop.create_connection(lambda: self, sock=connection, ssl=origin.secure, server_hostname=name)

    async def aclose(self) -> None:
        """Drop the connection, whatever it is doing."""
        self._drop()
        if self._lost is not None:
            await asyncio.shield(self._lost)

    # -- called by the event loop -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake, if any, is done."""
        self._transport = transport  # type: ignore[assignment]
        self._lost = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; or of none, and then the next answer cannot be told from them."""
        if self._waits:
            self._http.receive_data(data)
            self._read()
        else:
            self._drop()

    def eof_received(self) -> None:
        """No more will come, which may be how the answer ends."""
        if self._head is not None and self._waits:
            self._http.receive_data(b"")
            self._read()
        self._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; what waits for an answer will not get it."""
        self._transport = None
        self._fail(exc or ConnectionResetError("the connection was closed before an answer came"))
        if self._lost is not None:
            self._lost.set_result(None)

    @property
    def _waits(self) -> bool:
        return self._waiter is not None and not self._waiter.done()

    def _read(self) -> None:
        """Take what can be taken of an answer off the received bytes."""
        try:
            while self._waits:
                event = self._http.next_event()
                if event in _NOTHING_MORE or isinstance(event, h11.ConnectionClosed):
                    return
                self._take(event)
        except h11.RemoteProtocolError:
            self._fail(BrokenAnswerError("the answer is not whole and well-formed HTTP/1.1"))
        except BrokenAnswerError as error:
            self._fail(error)

    def _take(self, event: object) -> None:
        if isinstance(event, h11.Response):
            self._head = event
            codings = [
                value.decode("latin-1") for name, value in event.headers if name == b"content-encoding"
            ]
            self._body = Body(codings, self._origin.longest_body)
        head = self._head
        if head is None:  # an informational response came before it
            return
        if isinstance(event, h11.Data):
            self._body.feed(event.data)
        elif isinstance(event, h11.EndOfMessage):
            self._finish(head)

    def _finish(self, head: h11.Response) -> None:
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
        reply = Reply(head.status_code, headers, self._body.whole())
        reusable = self._http.our_state is self._http.their_state is h11.DONE
        if reusable and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        else:
            self._drop()
        self._settle(reply)

    def _fail(self, error: Exception) -> None:
        self._drop()
        self._settle(error)

    def _settle(self, outcome: Reply | Exception) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if isinstance(outcome, Exception):
            waiter.set_exception(outcome)
        else:
            waiter.set_result(outcome)

    def _drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()


def _readable(connection: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # Windows, where select knows no limit of 1,024
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
