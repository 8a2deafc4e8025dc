"""One HTTP/1.1 connection on the event loop itself, and the httpx transport that it is for one slot.

httpx's own transport spends most of its time above the parser (docs/performance.md): on a pool, on locks, and
on a cancel scope for each read and write. One request at a time with one time limit needs none of these.
There is no proxy here and no HTTP/2.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .answer import MAX_ANSWER, BrokenAnswerError
from .dial import dial
from .library import installed, library_of
from .parsing import Answer, Head, Parser, syntax

if TYPE_CHECKING:
    import socket

    from httpx import AsyncBaseTransport, Request, Response
else:
    AsyncBaseTransport, Request, Response = installed().transport_types

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
        self._waiter: asyncio.Future[Answer] | None = None
        self._lost: asyncio.Future[None] | None = None

    @property
    def usable(self) -> bool:
        """Whether it is open, not idle for too long, and nothing came that nobody asked for."""
        transport = self._transport
        if transport is None:
            return False
        if asyncio.get_running_loop().time() - self._idle_since > KEEP_ALIVE:
            return False
        # The loop would tell in its next turn: the server has closed it, or says what nobody asked for.
        return not _readable(transport.get_extra_info("socket"))

    async def open(self, origin: Origin) -> None:
        """Open it, or open it again.

        Raises:
            OSError: The host is unknown or does not answer.
        """
        await self.aclose()
        connection = await dial(origin.host, origin.port)
        self._parser = self._syntax.new_parser(MAX_ANSWER)
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(
                lambda: self,
                sock=connection,
                ssl=origin.secure,
                server_hostname=origin.host if origin.secure else None,
            )
        except BaseException:
            if not isinstance(loop, asyncio.BaseEventLoop):  # uvloop closes what it made, and tells nobody
                self._lost = None
            raise
        if self._transport is None:
            raise ConnectionResetError("the connection was closed as soon as it was open")

    async def exchange(self, head: Any, body: bytes) -> Answer:
        """Send one request over the open connection and await its whole answer.

        Args:
            head: Of the parser's ``new_head``.
            body: All of it.

        Raises:
            OSError: The connection broke.
            BrokenAnswerError: The answer is no HTTP/1.1, too long, or cut off.
        """
        transport, parser = self._transport, self._parser
        if transport is None or parser is None:
            raise ConnectionResetError("the connection was closed before the request")
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        try:
            # One segment, where it fits. In no variable: the bytes hold the credentials.
            transport.write(parser.ask(head, body))
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


class DirectTransport(AsyncBaseTransport):
    """One connection of our own as an httpx transport, past httpcore: a quarter of the processor time.

    For backends that re-send for hundreds of points of sale: ``AsyncClient(..., transport=DirectTransport)``.
    **What hooks into httpx does not see these requests**: tracers write no span, and a test that mocks httpx
    (respx, pytest-httpx, vcrpy, pook) sends them for real, which is billed. The environment's proxies are not
    used. Pass the class itself, which makes one for each request in flight, or a callable that does.

    It sends one request at a time, with its whole body, and reads its answer whole.

    Args:
        verify: The TLS context; ``None`` for the usual authorities.

    Raises:
        ImportError: Neither httptools (the extra ``speed``) nor h11 is installed.
    """

    def __init__(self, *, verify: ssl.SSLContext | None = None) -> None:
        self.connection: Connection = Connection()
        self._context = verify
        self._busy = asyncio.Lock()
        self._origin: Origin | None = None

    def origin(self, scheme: str, host: str, port: int | None) -> Origin:
        """Where a URL leads."""
        if scheme != "https":
            return Origin(host, port or 80, None)
        if self._context is None:
            self._context = default_context()
        return Origin(host, port or 443, self._context)

    async def handle_async_request(self, request: Request) -> Response:
        """Send one request and read its whole answer.

        Raises:
            httpx.ConnectError, httpx.ConnectTimeout: Nothing was sent.
            httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError: It may have arrived.
            httpx.LocalProtocolError: It is a request that this transport does not send.
        """
        module = (library_of(request, "Request") or installed()).module
        head = _head_of(request, len(await request.aread()), module)
        limits = request.extensions.get("timeout", {})
        tell = request.extensions.get("trace", _nobody)
        async with self._busy:
            try:
                async with _limited(limits.get("connect"), module.ConnectTimeout):
                    await self._open(request, tell)
            except OSError as error:
                raise module.ConnectError(str(error)) from error
            await tell("http11.send_request_headers.started", {"request": None})
            try:
                async with _limited(limits.get("read"), module.ReadTimeout):
                    answer = await self.connection.exchange(head, request.content)
            except BaseException as error:
                await self.connection.aclose()
                if isinstance(error, BrokenAnswerError):
                    raise module.RemoteProtocolError(str(error)) from error
                if isinstance(error, OSError):
                    raise module.ReadError(str(error)) from error
                raise
        stream = module.ByteStream(answer.body)
        response: Response = module.Response(
            answer.status, headers=answer.headers, stream=stream, extensions={"http_version": b"HTTP/1.1"}
        )
        return response

    async def _open(self, request: Request, tell: Callable[..., Awaitable[None]]) -> None:
        url = request.url
        origin = self.origin(url.scheme, url.host, url.port)
        if origin == self._origin and self.connection.usable:
            return
        await tell("connection.connect_tcp.started", {"host": origin.host, "port": origin.port})
        await self.connection.open(origin)
        self._origin = origin

    async def aclose(self) -> None:
        """Drop the connection."""
        await self.connection.aclose()


def default_context() -> ssl.SSLContext:
    """Verifies as httpx does: the usual authorities, and those of ``SSL_CERT_FILE``."""
    context: ssl.SSLContext = installed().module.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _head_of(request: Request, length: int, module: Any) -> Any:
    if request.method in {"HEAD", "CONNECT"}:
        raise module.LocalProtocolError(f"DirectTransport sends no {request.method}")
    ours = {b"content-length", b"transfer-encoding"}
    headers = [header for header in request.headers.raw if header[0].lower() not in ours]
    headers.append((b"Content-Length", b"%d" % length))
    try:
        return syntax().new_head(Head(request.method.encode(), request.url.raw_path, headers))
    except ValueError as error:
        raise module.LocalProtocolError(str(error)) from error


@asynccontextmanager
async def _limited(seconds: float | None, failure: type[Exception]) -> AsyncGenerator[None, None]:
    """Past its time it fails as httpx does, and not by what the operating system calls a time-out."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise failure(f"the answer did not come within {seconds} seconds") from error


async def _nobody(name: str, info: Mapping[str, Any]) -> None:
    """Nobody asked to be told."""


def _readable(connection: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # Windows, where select knows no limit of 1,024
        return bool(select.select([connection], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
