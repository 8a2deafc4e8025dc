"""The only module that imports httpx: connection slots, and the evidence of sending.

It moves bytes and tells how far they got. It knows no JSON, no retry and no spacing.

Each request in flight has a slot of its own with one connection: httpcore's pool walks all its connections
several times a request, and cancelled callers of a shared pool leak its places. The number of slots is
bounded by who calls (``_call.pace``). A slot is a ``Connection`` where the way is direct, and an
``httpx.AsyncHTTPTransport`` where it leads through a proxy.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import ssl
import urllib.request
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

import httpx

from ..results import Evidence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from httpx import AsyncBaseTransport

    from .direct import Connection, RawAnswer

    Slot = Connection | AsyncBaseTransport
    _Exchange = Callable[[Any, str, bytes, "_Flight", float], Awaitable["Reply"]]

logger = logging.getLogger(__name__)

KEEP_ALIVE: Final = 5.0
"""Seconds after which an idle connection is not used again (httpx's own number)."""

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of one answer, decompressed. A lookup's page of 100 vouchers has some 100 KiB."""

_HEADERS: Final = {
    "Accept": b"application/json",
    "Accept-Encoding": b"gzip, deflate",
    "Content-Type": b"application/json; charset=utf-8",
    "User-Agent": b"tusfacturas-async",
}

_PATHS: Final = 64
"""Joined URLs that are kept."""

_PIECE: Final = 16 * 1024
"""Bytes that are decompressed at once; they expand to 16 MiB at most."""

_PROVABLE = (httpx.AsyncHTTPTransport, httpx.MockTransport, httpx.ASGITransport)
"""Only on these very classes does the class of an exception prove anything: pyreqwest's and aiohttp's
httpx transports report a reply lost after the whole body was sent as ``ConnectError`` (measured)."""

_NOTHING_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
)


class Reply(NamedTuple):
    """An HTTP answer, whole."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


class TransportFailure(Exception):  # noqa: N818 - internal: it never reaches a user
    """No whole answer came; ``evidence`` says whether the request may have."""

    def __init__(self, message: str, evidence: Evidence) -> None:
        super().__init__(message)
        self.evidence = evidence


class _Flight:
    """How far one request got: ``sent`` once its first byte was about to leave."""

    __slots__ = ("_delayed", "_opened", "sent", "traced")

    def __init__(self, delayed: Callable[[], None]) -> None:
        self._delayed = delayed
        self._opened = False
        self.sent = False
        self.traced = False

    def opening(self) -> None:
        """A connection has to be opened first."""
        self._opened = True

    def sending(self) -> None:
        """The first byte is about to leave."""
        self.sent = True
        if self._opened:
            self._delayed()

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """The public ``trace`` extension of httpcore says it of httpx's transports."""
        self.traced = True
        method = getattr(info.get("request"), "method", b"")
        # A proxy is first asked for a tunnel; that request is not ours yet.
        if name.endswith("send_request_headers.started") and method != b"CONNECT":
            self.sending()
        elif name.endswith("connect_tcp.started"):
            self.opening()


class Transport:
    """Posts JSON bodies below one base URL.

    Args:
        base_url: ``https://``, or ``http://`` when the host is loopback: the credentials travel in the body.
        transport: Any ``httpx.AsyncBaseTransport`` to use for everything; ``None`` for own slots, which
            verify TLS and follow the environment's proxies.
        headers: Of every request, beside our own.

    Raises:
        ValueError: ``base_url`` is not such a URL.
    """

    def __init__(
        self,
        base_url: str,
        *,
        transport: AsyncBaseTransport | None = None,
        headers: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self._base_url = _checked(base_url)
        self._headers = {**_HEADERS, **headers}
        self._url = functools.lru_cache(_PATHS)(self._join)
        self._shared = transport
        self._provable = transport is None or type(transport) in _PROVABLE
        self._traced = transport is None or type(transport) is httpx.AsyncHTTPTransport
        self._idle: list[Slot] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._exchange: _Exchange = self._by_httpx
        if transport is None:
            self._new_slot, self._exchange = self._slots()
            self._idle.append(self._new_slot())  # a bad proxy setting fails here, not at the first call

    def _slots(self) -> tuple[Callable[[], Slot], _Exchange]:
        """What makes slots, and how one is used.

        All share one TLS context: loading the authorities outlasts many requests.
        """
        url = self._base_url
        secure = url.scheme == "https"
        context = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        proxy = _environment_proxy(url)
        if proxy is not None:
            limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)
            return lambda: httpx.AsyncHTTPTransport(
                verify=context, proxy=proxy, limits=limits
            ), self._by_httpx
        # Here, as httpx does with httpcore: who only imports the package need not load h11.
        from .direct import Connection, Origin  # noqa: PLC0415

        context.set_alpn_protocols(["http/1.1"])
        origin = Origin(
            *(url.host, url.port or (443 if secure else 80)),
            secure=context if secure else None,
            headers={"Host": url.netloc, **self._headers},
            longest_body=MAX_ANSWER,
            keep_alive=KEEP_ALIVE,
        )
        return lambda: Connection(origin), self._directly

    def _join(self, path: str) -> httpx.URL:
        return self._base_url.join(path) if path else self._base_url

    async def post(
        self, path: str, body: bytes, *, timeout: float, delayed: Callable[[], None] = lambda: None
    ) -> Reply:
        """Send one request and read its whole answer. Redirects are answers, never followed.

        Args:
            path: Relative to the base URL.
            body: JSON, encoded.
            timeout: Seconds for all of it.
            delayed: Called when the request leaves, if a connection had to be opened first (and the transport
                tells).

        Raises:
            TransportFailure: No whole answer came within ``timeout``.
        """
        flight = _Flight(delayed)
        slot = self._shared or (self._idle.pop() if self._idle else self._new_slot())
        try:
            async with asyncio.timeout(timeout):
                reply = await self._exchange(slot, path, body, flight, timeout)
        except BaseException as error:
            # A foreign transport raises what it likes; whatever it was, the evidence decides.
            await self._discard(slot)
            if not _is_failure(error):
                raise
            raise TransportFailure(_describe(error), self._evidence(error, flight)) from error
        if slot is not self._shared:
            self._idle.append(slot)
        return reply

    async def _directly(
        self, slot: Connection, path: str, body: bytes, flight: _Flight, _timeout: float
    ) -> Reply:
        return await _whole(await slot.exchange(self._url(path).raw_path, body, flight))

    async def _by_httpx(
        self, slot: AsyncBaseTransport, path: str, body: bytes, flight: _Flight, timeout: float
    ) -> Reply:
        limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        extensions = {"trace": flight.trace, "timeout": limits}
        headers = cast("Mapping[str, str]", self._headers)  # httpx takes bytes as well
        url = self._url(path)
        request = httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)
        return await _read(await slot.handle_async_request(request))

    def _evidence(self, error: BaseException, flight: _Flight) -> Evidence:
        if flight.sent:
            return Evidence.MAYBE_SENT
        proven = flight.traced or self._traced or (self._provable and isinstance(error, _NOTHING_LEFT))
        return Evidence.NOT_SENT if proven else Evidence.MAYBE_SENT

    async def _discard(self, slot: Slot) -> None:
        """Close a slot whose connection is in doubt; the next request gets a new one."""
        if slot is self._shared:
            return
        closing = asyncio.create_task(_close(slot))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        await asyncio.shield(closing)  # a second cancellation leaves it to aclose()

    async def aclose(self) -> None:
        """Close every connection, also those that are closing already."""
        if self._shared is not None:
            await self._shared.aclose()
        while self._idle:
            await _close(self._idle.pop())
        if self._closing:
            await asyncio.wait(self._closing)


async def _whole(answer: RawAnswer) -> Reply:
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in answer.headers}
    body = bytes(answer.body)
    if "content-encoding" in headers:  # httpx knows how to decompress
        return await _read(httpx.Response(answer.status, headers=headers, content=_pieces(body)))
    return Reply(answer.status, headers, body)


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """In pieces, so that what expands to more than ``MAX_ANSWER`` is found out before it is all there."""
    for start in range(0, len(body), _PIECE):
        yield body[start : start + _PIECE]


async def _read(response: httpx.Response) -> Reply:
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER:
                raise httpx.ReadError(f"the answer has more than {MAX_ANSWER} bytes")
    finally:
        await response.aclose()
    return Reply(response.status_code, response.headers, bytes(body))


async def _close(slot: Slot) -> None:
    try:
        await slot.aclose()
    except Exception as error:  # noqa: BLE001 - it is being thrown away; the request's own failure is told
        logger.debug("closing a connection failed: %s", _describe(error))


def _is_failure(error: BaseException) -> bool:
    """Whether the attempt failed; a ``CancelledError`` that nobody asked this task for is one as well."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return isinstance(error, Exception)


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the attempt's time was up"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _checked(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url if base_url.endswith("/") else base_url + "/")
    except httpx.InvalidURL as error:
        raise ValueError(f"base_url is not a URL: {error}") from error
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must have no user, password, query or fragment")
    if not url.host or url.scheme not in {"http", "https"}:
        raise ValueError(f"base_url must be an https:// URL, not {base_url!r}")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ValueError(
            f"base_url {base_url!r} would send the credentials unencrypted: "
            "use https:// (http:// is for loopback hosts)"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _environment_proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment sets for this URL; the standard library knows the rules."""
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def in_process(app: Any) -> AsyncBaseTransport:
    """A transport that calls an ASGI app in this process, without a socket."""
    return httpx.ASGITransport(app=app)
