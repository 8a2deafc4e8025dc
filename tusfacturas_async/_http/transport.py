"""Posts JSON bodies below one base URL, by what the user passed or by slots of our own.

It moves bytes and tells how far they got. It knows no JSON, no retry and no spacing.
"""

from __future__ import annotations

import asyncio
import warnings
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from .._cancellation import is_cancellation
from .answer import BrokenAnswerError
from .evidence import Leave, Passage, evidence_of
from .library import installed
from .urls import is_unencrypted
from .ways import Target, Way, choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from httpx import AsyncBaseTransport

    from ..evidence import Evidence
    from .answer import Reply
    from .library import AsyncTransport, HttpClient, Library

_HEADERS: Final = {
    "Accept": b"application/json",
    "Accept-Encoding": b"gzip, deflate",
    "Content-Type": b"application/json",  # exactly so: vcrpy filters credentials out of bodies of this type
    "User-Agent": b"tusfacturas-async",
}


_CUT: Final = "no answer came, or none that is whole and well-formed HTTP"
"""Instead of httpx's own text, which quotes what came: a server may echo what it was sent."""

_AT_ONCE: Final = Leave()


class TransportFailure(Exception):  # noqa: N818 - internal: it never reaches a user
    """No whole answer came; ``evidence`` says whether the request may have."""

    def __init__(self, message: str, evidence: Evidence) -> None:
        super().__init__(message)
        self.evidence = evidence


class Transport:
    """Posts JSON bodies below one base URL.

    Args:
        base_url: ``https://``, or ``http://`` when the host is loopback: the credentials travel in the body.
        transport: An ``AsyncBaseTransport`` to use for everything, or what makes one for each slot; ``None``
            for own slots, which verify TLS and follow the environment's proxies.
        http_client: An ``AsyncClient`` to send everything by; it is not closed.
        headers: Of every request, beside our own.
        allow_http: Take ``http://`` and any host, with a warning.

    Attributes:
        way: How it sends them.

    Raises:
        TypeError: ``transport`` or ``http_client`` is something else.
        ValueError: ``base_url`` is not such a URL.
    """

    def __init__(
        self,
        base_url: str,
        *,
        transport: AsyncTransport | Callable[[], AsyncTransport] | None = None,
        http_client: HttpClient | None = None,
        headers: Mapping[str, bytes] = MappingProxyType({}),
        allow_http: bool = False,
    ) -> None:
        def aim(library: Library) -> Target:
            return Target(library, base_url, {**_HEADERS, **headers}, allow_http=allow_http)

        self.way: Way = choose(transport, http_client, aim)
        if is_unencrypted(self.way.target.base):
            warnings.warn(
                f"base_url {base_url!r} would send the credentials unencrypted: allow_http is for a stand-in "
                "within a closed network",
                stacklevel=3,
            )

    async def post(self, path: str, body: bytes, *, timeout: float, leave: Leave = _AT_ONCE) -> Reply:
        """Send one request and read its whole answer. Redirects are answers, never followed.

        Args:
            path: Relative to the base URL.
            body: JSON, encoded.
            timeout: Seconds for all of it.
            leave: Asked and told when it leaves, where the transport tells of that; raising a
                ``TransportFailure`` keeps it from leaving.

        Raises:
            TransportFailure: No whole answer came within ``timeout``.
        """
        passage, way = Passage(leave), self.way
        try:
            return await way.exchange(path, body, passage, timeout)
        except (Exception, asyncio.CancelledError) as error:
            if is_cancellation(error):
                raise
            if isinstance(error, TransportFailure) and not passage.sent:  # of ``leave``, which forbids it
                raise
            # A foreign transport raises what it likes; whatever it was, the evidence decides.
            evidence = evidence_of(error, passage, way.target.library.nothing_left, trusted=way.trusted)
            quoting = isinstance(error, way.target.library.module.RemoteProtocolError)
            message = _CUT if quoting else _describe(error)
            raise TransportFailure(message, evidence) from (None if quoting else error)

    async def aclose(self) -> None:
        """Close every connection of ours, also those that are closing already."""
        await self.way.aclose()


def _describe(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the attempt's time was up"
    if isinstance(error, BrokenAnswerError | TransportFailure):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def in_process(app: Any) -> AsyncBaseTransport:
    """A transport that calls an ASGI app in this process, without a socket."""
    transport: AsyncBaseTransport = installed().module.ASGITransport(app=app)
    return transport
