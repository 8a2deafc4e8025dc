"""The ways of one exchange: by httpx's client, ours or the user's, or directly; and which one is meant.

What the user passes says it. By default it is httpx, over slots of our own.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import ssl
from abc import abstractmethod
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING, Any, Final, Protocol

from .answer import Body, Reply, unpacked
from .connection import KEEP_ALIVE
from .direct import DirectTransport, default_context
from .library import installed, library_of
from .parsing import Head, syntax
from .slots import SlotsTransport
from .urls import checked_base_url, environment_proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .evidence import Passage
    from .library import AsyncTransport, Library
    from .parsing import Answer

_KEPT: Final = 64
"""Joined URLs, and checked heads: a client asks for few paths, and its bodies have few lengths."""

_LIMITS: Final = ("connect", "read", "write", "pool")

_TAKEN: Final = (
    "http_client= takes an httpx.AsyncClient; transport= takes an httpx.AsyncBaseTransport, or a callable "
    "without arguments that makes one for each slot, as DirectTransport does; httpx2's are taken as well"
)


class Target:
    """What each request has in common.

    Args:
        library: In whose terms.
        base_url: What every path is below.
        headers: Of each.
        allow_http: Whether it may be ``http://`` to any host.

    Raises:
        ValueError: ``base_url`` is none to send credentials to.
    """

    def __init__(
        self, library: Library, base_url: str, headers: Mapping[str, bytes], *, allow_http: bool
    ) -> None:
        base = checked_base_url(base_url, library.module, allow_http=allow_http)
        self.library = library
        self.base: Any = base
        self.headers: list[tuple[bytes, bytes]] = [
            (name.encode("ascii"), value) for name, value in headers.items()
        ]
        self.url: Callable[[str], Any] = functools.lru_cache(_KEPT)(
            lambda path: base.join(path) if path else base
        )


class Way(Protocol):
    """How one exchange is done.

    Attributes:
        target: Where it leads, and in whose terms.
        trusted: Whether what it raises, or leaves untold, proves anything; see ``evidence``.
    """

    target: Target
    trusted: bool

    @abstractmethod
    async def exchange(self, path: str, body: bytes, passage: Passage, timeout: float) -> Reply:
        """Send one request and read its whole answer.

        Raises:
            TimeoutError: It was not there within ``timeout`` seconds.
            Exception: Of whatever class the transport raises.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close what is ours."""


def choose(transport: Any, http_client: Any, aim: Callable[[Library], Target]) -> Way:
    """The way that the user means.

    Args:
        transport: As it was passed.
        http_client: Likewise.
        aim: Makes the target, in the terms of one of the libraries.

    Raises:
        TypeError: What was passed is none that is taken; the message names those.
    """
    if transport is not None and http_client is not None:
        raise TypeError(f"http_client= and transport= were both given: {_TAKEN}")
    if http_client is not None:
        library = library_of(http_client, "AsyncClient")
        if library is None:
            raise TypeError(f"{_TAKEN}. http_client= was given {_named(http_client)}")
        return _ByUsersClient(aim(library), http_client)
    if transport is None:
        target = aim(installed())
        return _ByHttpx(target, SlotsTransport(_slots_of_httpx(target)))
    library = library_of(transport, "AsyncBaseTransport")
    if library is None:
        return _by_slots(transport, aim)
    if isinstance(transport, DirectTransport):
        raise TypeError(f"one DirectTransport is one connection: pass the class. {_TAKEN}")
    return _ByHttpx(aim(transport.library if isinstance(transport, SlotsTransport) else library), transport)


def _by_slots(new_slot: Any, aim: Callable[[Library], Target]) -> Way:
    if not _makes_slots(new_slot):
        raise TypeError(f"{_TAKEN}. transport= was given {_named(new_slot)}")
    if new_slot is DirectTransport:
        secure = aim(installed()).base.scheme == "https"
        new_slot = functools.partial(DirectTransport, verify=default_context() if secure else None)
    slots = SlotsTransport(new_slot)
    target = aim(slots.library)
    return _Directly(target, slots) if slots.kind is DirectTransport else _ByHttpx(target, slots)


def _makes_slots(thing: object) -> bool:
    if isinstance(thing, type) and not hasattr(thing, "handle_async_request"):
        return False
    if not callable(thing) or inspect.iscoroutinefunction(thing):
        return False
    try:
        inspect.signature(thing).bind()
    except TypeError:
        return False  # an ASGI app, as it may be
    except ValueError:
        return True  # it does not tell
    return True


def _named(thing: object) -> str:
    """What it is, and nothing of what it holds."""
    kind = thing if isinstance(thing, type) else type(thing)
    return f"{'the class' if kind is thing else 'an object of'} {kind.__module__}.{kind.__qualname__}"


def _slots_of_httpx(target: Target) -> Callable[[], AsyncTransport]:
    """What makes httpx's own transport with one connection.

    All share one TLS context: loading the authorities outlasts many requests.
    """
    module, url = target.library.module, target.base
    secure = url.scheme == "https"
    return functools.partial(
        module.AsyncHTTPTransport,
        verify=module.create_ssl_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
        proxy=environment_proxy(url.scheme, url.host),
        limits=module.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE),
    )


class _NoCookies(CookieJar):
    def extract_cookies(self, response: Any, request: Any) -> None:
        """Keep none."""


class _ByHttpx:
    """By one ``httpx.AsyncClient`` of our own, which adds nothing, over a transport."""

    def __init__(self, target: Target, transport: Any) -> None:
        module = target.library.module
        slots = isinstance(transport, SlotsTransport)
        kind = transport.kind if slots else type(transport)
        self.trusted: bool = kind in target.library.provable
        self.target = target
        # One time limit is enough where the trace tells how far the request got.
        self._limited = not (slots and kind is module.AsyncHTTPTransport)
        self._client = module.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, cookies=_NoCookies(), timeout=None
        )

    async def exchange(self, path: str, body: bytes, passage: Passage, timeout: float) -> Reply:
        limits = dict.fromkeys(_LIMITS, timeout) if self._limited else {}
        request = self.target.library.module.Request(
            "POST",
            self.target.url(path),
            headers=self.target.headers,
            content=body,
            extensions={"trace": passage.trace, "timeout": limits},
        )
        async with asyncio.timeout(timeout):
            return await _read(await self._client.send(request, stream=True))

    async def aclose(self) -> None:
        await self._client.aclose()


class _ByUsersClient:
    """By the user's own ``httpx.AsyncClient``: its hooks, mounts, proxies, certificates, default headers."""

    trusted: bool = False

    def __init__(self, target: Target, client: Any) -> None:
        self.target = target
        self._client = client

    async def exchange(self, path: str, body: bytes, passage: Passage, timeout: float) -> Reply:
        if self._client.is_closed:
            passage.traced = True
            raise self.target.library.module.LocalProtocolError("the http_client was closed")
        request = self._client.build_request(
            "POST",
            self.target.url(path),
            headers=self.target.headers,
            content=body,
            timeout=timeout,
            extensions={"trace": passage.trace},
        )
        async with asyncio.timeout(timeout):
            # No auth: its flows may send a request again by themselves, and each is billed.
            response = await self._client.send(request, stream=True, auth=None, follow_redirects=False)
            return await _read(response)

    async def aclose(self) -> None:
        """Leave it open: it is not ours."""


class _Directly:
    """Over connections of our own, past httpx's requests and responses."""

    trusted: bool = True

    def __init__(self, target: Target, slots: SlotsTransport) -> None:
        base = target.base
        self.target = target
        self._slots = slots
        self._origin = (base.scheme, base.host, base.port)
        self._headers = [(b"Host", base.netloc), *target.headers]
        self._head = functools.lru_cache(_KEPT)(self._new_head)

    def _new_head(self, path: str, length: int) -> Any:
        headers = [*self._headers, (b"Content-Length", b"%d" % length)]
        return syntax().new_head(Head(b"POST", self.target.url(path).raw_path, headers))

    async def exchange(self, path: str, body: bytes, passage: Passage, timeout: float) -> Reply:
        passage.traced = True
        slots = self._slots
        slot: DirectTransport = slots.take()
        connection = slot.connection
        try:
            head = self._head(path, len(body))
            if not connection.usable:
                passage.opening()
                timeout = await _left_after(connection.open(slot.origin(*self._origin)), timeout)
            if (late := passage.sending()) is not None:
                timeout = await _left_after(late, timeout)
            reply = _reply(await connection.exchange(head, body, timeout, passage.leave.end))
        except BaseException:
            await slots.discard(slot)
            raise
        slots.keep(slot)
        return reply

    async def aclose(self) -> None:
        await self._slots.aclose()


async def _left_after(work: Awaitable[None], timeout: float) -> float:
    """Await ``work`` within these seconds; returns how many are left."""
    async with asyncio.timeout(timeout) as limit:
        await work
    return (limit.when() or 0.0) - asyncio.get_running_loop().time()


def _reply(answer: Answer) -> Reply:
    headers = {name.decode("ascii"): value.decode("latin-1") for name, value in answer.headers}
    if "content-encoding" not in headers:
        return Reply(answer.status, headers, answer.body)
    codings = [value.decode("latin-1") for name, value in answer.headers if name == b"content-encoding"]
    return Reply(answer.status, headers, unpacked(codings, answer.body))


async def _read(response: Any) -> Reply:
    try:
        if response.is_stream_consumed:  # it never was a stream: httpx has unpacked it
            return Reply(response.status_code, response.headers, unpacked((), response.content))
        body = Body(response.headers.get_list("content-encoding"))
        async for chunk in response.aiter_raw():
            body.feed(chunk)
        return Reply(response.status_code, response.headers, body.whole())
    finally:
        await response.aclose()
