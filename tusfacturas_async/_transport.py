"""The only module that imports httpx: connection slots, and the evidence of sending.

It moves bytes and tells how far they got. It knows no JSON, no retry and no spacing.

Each request in flight has a slot of its own, an ``httpx.AsyncHTTPTransport`` limited to one connection:
httpcore's pool walks all its connections several times a request, and cancelled callers of a shared pool
leak its places. The number of slots is bounded by who calls (``_pace``).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import httpx
from attrs import frozen

from .results import Evidence

if TYPE_CHECKING:
    from httpx import AsyncBaseTransport

logger = logging.getLogger(__name__)

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of one answer, decompressed. A lookup's page of 100 vouchers has some 100 KiB."""

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


@frozen
class Reply:
    """An HTTP answer, whole."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


class TransportFailure(Exception):  # noqa: N818 - internal: it never reaches a user
    """No whole answer came; ``evidence`` says whether the request may have."""

    def __init__(self, message: str, evidence: Evidence) -> None:
        super().__init__(message)
        self.evidence = evidence


class _Trace:
    """httpcore's ``trace`` extension (a public one): did a byte of our request leave?"""

    __slots__ = ("reached", "sent")

    def __init__(self) -> None:
        self.reached = False
        self.sent = False

    async def __call__(self, name: str, info: Mapping[str, Any]) -> None:
        self.reached = True
        if name.endswith("send_request_headers.started"):
            # A proxy is first asked for a tunnel; that request is not ours yet.
            self.sent = self.sent or getattr(info.get("request"), "method", b"") != b"CONNECT"


class Transport:
    """Posts JSON bodies below one base URL.

    Args:
        base_url: ``https://``, or ``http://`` when the host is loopback: the credentials travel in the body.
        transport: Any ``httpx.AsyncBaseTransport`` to use for everything; ``None`` for own slots, which
            verify TLS and follow the environment's proxies.

    Raises:
        ValueError: ``base_url`` is not such a URL.
    """

    def __init__(self, base_url: str, *, transport: AsyncBaseTransport | None = None) -> None:
        self._base_url = _checked(base_url)
        self._headers = {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "tusfacturas-async",
        }
        self._urls: dict[str, httpx.URL] = {}  # parsed once: a client asks for few paths
        self._shared = transport
        self._provable = transport is None or type(transport) in _PROVABLE
        self._traced = transport is None or type(transport) is httpx.AsyncHTTPTransport
        self._idle: list[AsyncBaseTransport] = []
        self._closing: set[asyncio.Task[None]] = set()
        if transport is None:
            # One context for all slots: loading the authorities takes longer than many requests.
            secure = self._base_url.scheme == "https"
            self._ssl = httpx.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            self._proxy = _environment_proxy(self._base_url)
            self._idle.append(self._new_slot())  # a bad proxy setting fails here, not at the first call

    def _new_slot(self) -> AsyncBaseTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=5.0)
        return httpx.AsyncHTTPTransport(verify=self._ssl, proxy=self._proxy, limits=limits)

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        timeout: float,
        headers: Mapping[str, str | bytes] | None = None,
    ) -> Reply:
        """Send one request and read its whole answer. Redirects are answers, never followed.

        Args:
            path: Relative to the base URL.
            body: JSON, encoded.
            timeout: Seconds for all of it.
            headers: Beside our own.

        Raises:
            TransportFailure: No whole answer came within ``timeout``.
        """
        trace = _Trace()
        limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
        request = httpx.Request(
            "POST",
            self._url(path),
            headers=cast(
                "Mapping[str, str]", {**self._headers, **(headers or {})}
            ),  # httpx takes bytes as well
            content=body,
            extensions={"trace": trace, "timeout": limits},
        )
        slot = self._shared or (self._idle.pop() if self._idle else self._new_slot())
        try:
            async with asyncio.timeout(timeout):
                reply = await _exchange(slot, request)
        except Exception as error:
            # A foreign transport raises what it likes; whatever it was, the evidence decides.
            await self._discard(slot)
            raise TransportFailure(_describe(error), self._evidence(error, trace)) from error
        except BaseException:
            await self._discard(slot)
            raise
        if slot is not self._shared:
            self._idle.append(slot)
        return reply

    def _url(self, path: str) -> httpx.URL:
        if path not in self._urls:
            self._urls[path] = self._base_url.join(path) if path else self._base_url
        return self._urls[path]

    def _evidence(self, error: Exception, trace: _Trace) -> Evidence:
        if trace.sent:
            return Evidence.MAYBE_SENT
        proven = trace.reached or self._traced or (self._provable and isinstance(error, _NOTHING_LEFT))
        return Evidence.NOT_SENT if proven else Evidence.MAYBE_SENT

    async def _discard(self, slot: AsyncBaseTransport) -> None:
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


async def _exchange(slot: AsyncBaseTransport, request: httpx.Request) -> Reply:
    response = await slot.handle_async_request(request)
    try:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_ANSWER:
                raise httpx.ReadError(f"the answer has more than {MAX_ANSWER} bytes")
    finally:
        await response.aclose()
    return Reply(response.status_code, response.headers, bytes(body))


async def _close(slot: AsyncBaseTransport) -> None:
    try:
        await slot.aclose()
    except Exception as error:  # noqa: BLE001 - it is being thrown away; the request's own failure is told
        logger.debug("closing a connection failed: %s", _describe(error))


def _describe(error: Exception) -> str:
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
