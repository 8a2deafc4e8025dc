"""A host of several addresses: which one is used, and that no socket is lost on the way."""

from __future__ import annotations

import asyncio
import random
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS
from tests.loops import not_on_uvloop
from tusfacturas_async import AsyncClient, DirectTransport, NotSentError, RetryPolicy
from tusfacturas_async._http import dial
from tusfacturas_async.sandbox import Queue

ONCE = RetryPolicy(attempts=1, backoff=0)
NOBODY = "127.0.0.2"  # loopback, too, but no server of these tests listens there

OPEN_FILES = Path("/proc/self/fd")


@pytest.fixture(autouse=True, params=["aiohappyeyeballs", "one after another"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one after another":
        monkeypatch.setattr(dial, "_race", None)


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of ``localhost``; a test changes them in place."""
    named = [NOBODY, "127.0.0.1"]
    resolve = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        found = named if host == "localhost" else [host]
        return [info for address in found for info in resolve(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return named


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[tuple[Loopback, AsyncClient]]:
    options = {"transport": DirectTransport, **options}
    async with Loopback(Queue(f"r{n}" for n in range(200))) as server:
        url = f"http://localhost:{server.port}/app/api/"
        async with AsyncClient(
            CREDENTIALS, base_url=url, min_interval=0, retry=ONCE, max_concurrency=100, **options
        ) as client:
            yield server, client


@contextmanager
def silent(port: int) -> Iterator[None]:
    """``NOBODY`` takes no connection there, and refuses none: its backlog is full."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.create_server((NOBODY, port), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(full.getsockname())
        yield


async def test_the_first_address_refuses(addresses: list[str]) -> None:
    """The next one is used."""
    async with serving() as (server, client):
        await client.reprocess("r1")
    assert server.resends == ["r1"]


async def test_the_first_address_is_silent(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not use up the attempt's time: the next one is tried before."""
    monkeypatch.setattr(dial, "_PATIENCE", 0.05)
    async with serving(timeout=20) as (server, client):
        with silent(server.port):
            await client.reprocess("r1")
    assert server.resends == ["r1"]


async def test_no_address_answers(addresses: list[str]) -> None:
    """Nothing was sent."""
    addresses[:] = [NOBODY, "127.0.0.3"]
    async with serving() as (server, client):
        with pytest.raises(NotSentError, match=r"127\.0\.0\.3"):
            await client.reprocess("r1")
    assert server.resends == []


def open_files() -> int:
    return len(list(OPEN_FILES.iterdir()))


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="there is no /proc to count open files in")
async def test_cancelled_callers_lose_no_socket(addresses: list[str]) -> None:
    """Whenever they are cancelled: while the first address is tried, the second, or the answer is awaited."""
    dice = random.Random(20)
    async with serving() as (server, client):
        server.latency = 0.02
        await client.reprocess("r0")
        before = open_files() - server.open_connections
        for _ in range(3):
            callers = [asyncio.create_task(client.reprocess(f"r{n}")) for n in range(1, 100)]
            for caller in callers:
                await asyncio.sleep(dice.choice((0, 0, 0.0005)))
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await asyncio.sleep(0.1)
            # Each open connection has its two ends in this process.
            assert open_files() <= before + 2 * server.open_connections


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.eager_task_factory came with 3.12")
@pytest.mark.parametrize("transport", [None, DirectTransport], ids=["httpx", "direct"])
async def test_under_an_eager_task_factory(transport: Any, addresses: list[str]) -> None:
    """Every call failed with an ``AssertionError`` out of CPython's own race."""
    not_on_uvloop("it hands the factory more than that of older patch releases takes")
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
    async with serving(transport=transport) as (server, client):
        await asyncio.gather(*(client.reprocess(f"r{n}") for n in range(20)))
    assert len(server.resends) == 20
