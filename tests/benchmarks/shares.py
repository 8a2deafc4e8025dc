"""``python -m tests.benchmarks.shares``: what each layer below httpx's transport interface costs a request.

From httpx's own transport downwards, each row leaves one layer out; every one sends the same request with one
connection for each in flight. CPU milliseconds per request at 50 in flight, median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpcore
import httpx

from tusfacturas_async import DirectTransport
from tusfacturas_async._http.transport import _HEADERS
from tusfacturas_async._wire.codec import REPROCESS

from .contestants import Run, aiohttp_workers, bare_transport, body, in_workers, raw_sockets, url
from .server import serving

FLIGHT = 50
HEADERS = [(name.encode(), value) for name, value in _HEADERS.items()]
ONE = {"max_connections": 1, "max_keepalive_connections": 1}

Post = Callable[[Any, int, bytes], Awaitable[bytes]]


def slots(new: Callable[[int], Awaitable[Any]], post: Post) -> Callable[[int, int], Any]:
    """One of ``new`` for each in flight, as our transport does it."""

    @asynccontextmanager
    async def contestant(port: int, flight: int) -> AsyncIterator[Run]:
        idle: list[Any] = []

        async def one(number: int) -> None:
            slot = idle.pop() if idle else await new(port)
            async with asyncio.timeout(30):
                assert await post(slot, port, body(number))
            idle.append(slot)

        yield lambda count: in_workers(count, flight, one)
        for slot in idle:
            await slot.aclose()

    return contestant


# -- httpx's transport, and what it stands on -----------------------------------------------------


async def httpx_transport(_port: int) -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport(limits=httpx.Limits(**ONE))


async def trace(name: str, info: object) -> None:
    """As ours, to learn whether a byte left."""


def httpx_post(*, traced: bool) -> Post:
    limits = dict.fromkeys(("connect", "read", "write", "pool"), 30.0)
    extensions: dict[str, Any] = {"timeout": limits} | ({"trace": trace} if traced else {})

    async def post(slot: httpx.AsyncHTTPTransport, port: int, content: bytes) -> bytes:
        request = httpx.Request(
            "POST", url(port) + REPROCESS, headers=HEADERS, content=content, extensions=extensions
        )
        response = await slot.handle_async_request(request)
        try:
            return await response.aread()
        finally:
            await response.aclose()

    return post


class Stream(httpcore.AsyncNetworkStream):
    """httpcore on asyncio's streams: no anyio, and so no cancel scope around each read and write."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._reader.read(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._writer.write(buffer)

    async def aclose(self) -> None:
        self._writer.close()

    def get_extra_info(self, info: str) -> Any:
        return False if info == "is_readable" else None


class Backend(httpcore.AsyncNetworkBackend):
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> Stream:
        return Stream(*await asyncio.open_connection(host, port))


async def pool(_port: int) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(max_connections=1)


async def pool_on_asyncio(_port: int) -> httpcore.AsyncConnectionPool:
    return httpcore.AsyncConnectionPool(max_connections=1, network_backend=Backend())


async def connection_on_asyncio(port: int) -> httpcore.AsyncHTTP11Connection:
    stream = Stream(*await asyncio.open_connection("127.0.0.1", port))
    return httpcore.AsyncHTTP11Connection(httpcore.Origin(b"http", b"127.0.0.1", port), stream)


async def core_post(slot: httpcore.AsyncConnectionPool, port: int, content: bytes) -> bytes:
    headers = [*HEADERS, (b"Host", b"127.0.0.1"), (b"Content-Length", b"%d" % len(content))]
    request = httpcore.Request("POST", url(port) + REPROCESS, headers=headers, content=content)
    response = await slot.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


# -- the parsers alone ----------------------------------------------------------------------------


class Parser(asyncio.Protocol):
    """h11 on asyncio's own protocol, and nothing else: no evidence, no errors, no reopening."""

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._http.receive_data(data)
        while not isinstance(event := self._http.next_event(), type(h11.NEED_DATA)):
            if isinstance(event, h11.Data):
                self._body = bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self._http.start_next_cycle()
                self._answer.set_result(self._body)
                return

    def post(self, head: h11.Request, content: bytes) -> asyncio.Future[bytes]:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._transport.write(self._http.send(head) + self._http.send(h11.Data(data=content)))
        self._http.send(h11.EndOfMessage())
        return self._answer

    async def aclose(self) -> None:
        self._transport.abort()


async def parser(port: int) -> Parser:
    return (await asyncio.get_running_loop().create_connection(Parser, "127.0.0.1", port))[1]


async def parser_post(slot: Parser, _port: int, content: bytes) -> bytes:
    headers = [*HEADERS, (b"Host", b"127.0.0.1"), (b"Content-Length", b"%d" % len(content))]
    return await slot.post(
        h11.Request(method="POST", target=f"/app/api/{REPROCESS}", headers=headers), content
    )


CONTESTANTS: dict[str, Callable[[int, int], Any]] = {
    "httpx.AsyncHTTPTransport, traced": slots(httpx_transport, httpx_post(traced=True)),
    "... without the trace": slots(httpx_transport, httpx_post(traced=False)),
    "... without httpx: httpcore's pool": slots(pool, core_post),
    "... without anyio: on asyncio's streams": slots(pool_on_asyncio, core_post),
    "... without the pool: httpcore's connection": slots(connection_on_asyncio, core_post),
    "... without httpcore: h11 on a protocol": slots(parser, parser_post),
    "our connection, with h11 or httptools": bare_transport(DirectTransport),
    "our transport": bare_transport(),
    "aiohttp, workers": aiohttp_workers,
    "raw sockets": raw_sockets,
}


async def measure(port: int, *, count: int, rounds: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, contestant in CONTESTANTS.items():
            async with contestant(port, FLIGHT) as run:
                await run(2 * FLIGHT)
                gc.collect()
                cpu = time.process_time()
                await run(count)
                found[name].append(1000 * (time.process_time() - cpu) / count)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=600, help="requests of each in a round")
    asked = parser.parse_args()
    with serving(0.0) as port:
        found = asyncio.run(measure(port, count=asked.count, rounds=asked.rounds))
    print("| | CPU ms per request | lowest and highest |\n|---|---:|---:|")
    for name, values in found.items():
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} |")


if __name__ == "__main__":
    main()
