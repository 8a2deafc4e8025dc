"""A connection of our own as an httpx transport, for one slot. There is no proxy here and no HTTP/2."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from .answer import BrokenAnswerError
from .connection import Connection, Origin
from .library import installed, library_of
from .parsing import Head, syntax

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport, Request, Response
else:
    AsyncBaseTransport, Request, Response = installed().transport_types


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
                async with asyncio.timeout(limits.get("connect")):
                    await self._open(request, tell)
            except TimeoutError as error:
                raise module.ConnectTimeout("the connection was not made in time") from error
            except OSError as error:
                raise module.ConnectError(str(error)) from error
            await tell("http11.send_request_headers.started", {"request": None})
            try:
                answer = await self.connection.exchange(
                    *(head, request.content, limits.get("read")),
                    lambda: tell("http11.send_request_headers.complete", {"return_value": None}),
                )
            except BaseException as error:
                await self.connection.aclose()
                if isinstance(error, BrokenAnswerError):
                    raise module.RemoteProtocolError(str(error)) from error
                if isinstance(error, TimeoutError):
                    raise module.ReadTimeout("the answer did not come in time") from error
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


async def _nobody(name: str, info: Mapping[str, Any]) -> None:
    """Nobody asked to be told."""
