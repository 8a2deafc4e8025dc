"""Who is measured: each sends ``count`` re-send requests with ``flight`` in flight, by an equal body."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from unittest import mock

import aiohttp
import httpx
import httpx2
from pyreqwest.compatibility.httpx import HttpxTransport

from tusfacturas_async import AsyncClient, DirectTransport, Journal, Outcome
from tusfacturas_async._http import parsing
from tusfacturas_async._http.transport import Transport
from tusfacturas_async._wire.codec import REPROCESS, Codec
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

Run = Callable[[int], Awaitable[None]]
_names = itertools.count()

PAYLOAD = {"apitoken": "sandbox-apitoken", "apikey": "1134", "usertoken": "sandbox-usertoken"}


def body(number: int) -> bytes:
    return json.dumps(PAYLOAD | {"external_reference": f"pedido-{number}"}).encode()


def url(port: int) -> str:
    return f"http://127.0.0.1:{port}/app/api/"


async def in_workers(count: int, flight: int, one: Callable[[int], Awaitable[None]]) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(work() for _ in range(flight)))


@asynccontextmanager
async def raw_sockets(port: int, flight: int) -> AsyncIterator[Run]:
    """A stream for each in flight; the answer is read by its length and looked at no further."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(flight)]
    head = f"POST /app/api/{REPROCESS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: "

    async def run(count: int) -> None:
        free = list(streams)

        async def one(number: int) -> None:
            reader, writer = free.pop()
            content = body(number)
            writer.write(f"{head}{len(content)}\r\n\r\n".encode() + content)
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(29)
            free.append((reader, writer))

        await in_workers(count, flight, one)

    yield run
    for _, writer in streams:
        writer.close()


@asynccontextmanager
async def aiohttp_workers(port: int, flight: int) -> AsyncIterator[Run]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=flight)) as session:

        async def one(number: int) -> None:
            async with session.post(url(port) + REPROCESS, data=body(number)) as response:
                assert json.loads(await response.read())["error"] == "N"

        yield lambda count: in_workers(count, flight, one)


def gathered(module: Any) -> Callable[[int, int], Any]:
    """What people write today: ``gather`` over all, and a semaphore."""

    @asynccontextmanager
    async def contestant(port: int, flight: int) -> AsyncIterator[Run]:
        limits = module.Limits(max_connections=flight, max_keepalive_connections=flight)
        async with module.AsyncClient(limits=limits, timeout=30) as client:
            semaphore = asyncio.Semaphore(flight)

            async def one(number: int) -> None:
                async with semaphore:
                    response = await client.post(url(port) + REPROCESS, content=body(number))
                    assert response.json()["error"] == "N"

            async def run(count: int) -> None:
                await asyncio.gather(*(one(number) for number in range(count)))

            yield run

    return contestant


def bare_transport(transport: Any = None) -> Callable[[int, int], Any]:
    """What moves our bytes alone: no models, no spacing, no retry."""

    @asynccontextmanager
    async def contestant(port: int, flight: int) -> AsyncIterator[Run]:
        ours, codec = Transport(url(port), transport=transport), Codec(SANDBOX_CREDENTIALS)

        async def one(number: int) -> None:
            reply = await ours.post(
                REPROCESS, codec.body({"external_reference": f"pedido-{number}"}), timeout=30
            )
            assert reply.status_code == 200

        yield lambda count: in_workers(count, flight, one)
        await ours.aclose()

    return contestant


def client(port: int, flight: int, **options: Any) -> AsyncClient:
    options = {"min_interval": 0.0, **options}
    return AsyncClient(SANDBOX_CREDENTIALS, base_url=url(port), max_concurrency=flight, **options)


@asynccontextmanager
async def reprocess_workers(port: int, flight: int) -> AsyncIterator[Run]:
    async with client(port, flight) as ours:

        async def one(number: int) -> None:
            await ours.reprocess(f"pedido-{number}")

        yield lambda count: in_workers(count, flight, one)


def batch(
    *, lanes: bool = False, journaled: bool = False, transport: Any = None
) -> Callable[[int, int], Any]:
    @asynccontextmanager
    async def contestant(port: int, flight: int) -> AsyncIterator[Run]:
        async with AsyncExitStack() as stack:
            ours = await stack.enter_async_context(client(port, flight, transport=transport))
            journal = None
            if journaled:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                journal = await stack.enter_async_context(Journal.open(f"{folder}/journal"))

            async def run(count: int) -> None:
                prefix = f"run{next(_names)}"
                references = (f"{prefix}-{number}" for number in range(count))
                lane = (lambda ref: int(ref.rpartition("-")[2]) % (4 * flight)) if lanes else None
                done = 0
                async with ours.reprocess_many(references, lane=lane, journal=journal) as running:
                    async for result in running:
                        done += result.outcome is Outcome.ACCEPTED
                assert done == count

            yield run

    return contestant


def on_h11(contestant: Callable[[int, int], Any]) -> Callable[[int, int], Any]:
    """Without the extra ``speed``: our connection has the parser that httpx brings along."""

    @asynccontextmanager
    async def slower(port: int, flight: int) -> AsyncIterator[Run]:
        with mock.patch.object(parsing, "_PARSERS", ("with_h11",)):
            parsing.syntax.cache_clear()
            async with contestant(port, flight) as run:
                yield run
        parsing.syntax.cache_clear()

    return slower


CONTESTANTS: dict[str, Callable[[int, int], Any]] = {
    "raw sockets": raw_sockets,
    "aiohttp, workers": aiohttp_workers,
    "httpx, gather": gathered(httpx),
    "httpx2, gather": gathered(httpx2),
    "bare transport": bare_transport(),
    "bare transport, direct": bare_transport(DirectTransport),
    "reprocess, workers": reprocess_workers,
    "reprocess_many": batch(),
    "reprocess_many, lanes": batch(lanes=True),
    "reprocess_many, journal": batch(journaled=True),
    "reprocess_many, direct": batch(transport=DirectTransport),
    "reprocess_many, direct on h11": on_h11(batch(transport=DirectTransport)),
    "reprocess_many, direct, journal": batch(transport=DirectTransport, journaled=True),
    "reprocess_many, pyreqwest": batch(transport=HttpxTransport),
}
