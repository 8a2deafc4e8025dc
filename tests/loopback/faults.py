"""The ways in which an answer goes missing or wrong."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from attrs import evolve, frozen

from tusfacturas_async import Evidence

from .server import http

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]

HTML = b"<html><title>the CDN says</title></html>"
HALF = b'HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n{"error": '
STALL = 120.0


@frozen
class Fault:
    """One misbehaviour.

    Attributes:
        act: Gets the connection and the honest answer, and does worse.
        evidence: What the client may conclude at best.
        processed: Whether the service did the work before the fault.
        before_reading: Whether it strikes when the connection is accepted.
        stalls: Whether it ends only with the client's patience.
    """

    name: str
    act: Act
    evidence: Evidence = Evidence.MAYBE_SENT
    processed: bool = False
    before_reading: bool = False
    stalls: bool = False

    def after_processing(self) -> Fault:
        """The same fault, the work done before it."""
        return evolve(self, name=f"{self.name}-processed", processed=True)


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.close()


async def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    await asyncio.sleep(STALL)


def _then_stall(start: bytes) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(start)
        await asyncio.sleep(STALL)

    return act


def say(said: bytes, *, close: bool = False) -> Act:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(said)
        await writer.drain()
        if close:
            writer.close()

    return act


async def _huge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    size = 64 * 1024 * 1024
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
    for _ in range(size // 65536):
        writer.write(b" " * 65536)
        await writer.drain()


async def _short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """A Content-Length below the body's: the rest would be taken for the next answer."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n" + b'{"error": "N", "errores": []}')
    await writer.drain()


_STATUSES = ("500 Oops", "502 Bad Gateway", "503 Unavailable", "504 Gateway Timeout", "524 Timeout Occurred")

LOST = (
    Fault("reads all and closes", _close),
    Fault("reads all and resets", _reset),
    Fault("answers too late", _late, stalls=True),
    Fault("stalls in the headers", _then_stall(b"HTTP/1.1 200 OK\r\nContent-Ty"), stalls=True),
    Fault("stalls in the body", _then_stall(HALF), stalls=True),
    Fault("garbage", say(b"\x00\xff\xfe what is this\r\n\r\n", close=True)),
    Fault("long content-length", say(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"err"', close=True)),
    Fault("short content-length", _short),
    *(Fault(status, say(http(status, HTML, "Content-Type: text/html"))) for status in _STATUSES),
    Fault("200 with HTML", say(http("200 OK", HTML, "Content-Type: text/html"))),
    Fault("200 with nothing", say(http("200 OK", b""))),
    Fault("200 with half of it", say(http("200 OK", b'{"error": "N", "erro'))),
    Fault("PARCIAL", say(http("200 OK", b'{"error": "PARCIAL", "errores": []}'))),
    Fault("redirect", say(http("302 Found", b"", "Location: /app/api/v2/facturacion/reenviar_encolado"))),
    Fault("a very large body", _huge),
)  # fmt: skip
"""The request arrived whole; each may strike before the work or after it."""

EARLY = (
    Fault("accepts and closes", _close, before_reading=True),
    Fault("accepts and resets", _reset, before_reading=True),
)
"""The request did not arrive; the client cannot know."""

REFUSED = (
    Fault("429", say(http("429 Too Many Requests", HTML)), Evidence.NOT_SENT),
    Fault(
        "429 with Retry-After", say(http("429 Too Many Requests", b"", "Retry-After: 0")), Evidence.NOT_SENT
    ),
)
"""Refused unprocessed at the edge."""

FAULTS = (*LOST, *(fault.after_processing() for fault in LOST), *EARLY, *REFUSED)
