"""``SlotsTransport``, alone or in our client: who gets which slot, and which is thrown away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import httpx2
import pytest

from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS, ok
from tusfacturas_async import (
    AsyncClient,
    DirectTransport,
    NotSentError,
    OutcomeUnknownError,
    RetryPolicy,
    SlotsTransport,
)
from tusfacturas_async.sandbox import Queue

ONCE = RetryPolicy(attempts=1, backoff=0)
ACCEPTED = b'{"error": "N", "errores": []}'


class Slot(httpx.AsyncBaseTransport):
    """Counts, and does what the test says."""

    def __init__(self, act: Callable[[httpx.Request], Any], made: list[Slot]) -> None:
        self._act = act
        self.requests = 0
        self.closed = 0
        made.append(self)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        response = await self._act(request)
        assert isinstance(response, httpx.Response)
        return response

    async def aclose(self) -> None:
        self.closed += 1


class Pieces(httpx.AsyncByteStream):
    """A body of which one half comes, and then what the test says."""

    def __init__(self, then: Callable[[], Any]) -> None:
        self._then = then

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield ACCEPTED[:9]
        await self._then()
        yield ACCEPTED[9:]


async def streamed(_: httpx.Request, then: Callable[[], Any] = lambda: asyncio.sleep(0)) -> httpx.Response:
    return httpx.Response(200, stream=Pieces(then))


async def whole(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, content=ACCEPTED)


def slots(act: Callable[[httpx.Request], Any]) -> tuple[SlotsTransport, list[Slot]]:
    made: list[Slot] = []
    return SlotsTransport(lambda: Slot(act, made)), made


@pytest.mark.parametrize("act", [streamed, whole], ids=["streamed", "whole from the start"])
async def test_one_slot_serves_one_after_another(act: Callable[[httpx.Request], Any]) -> None:
    """As soon as an answer is read its slot is free; several in flight have one each."""
    transport, made = slots(act)
    async with httpx.AsyncClient(transport=transport) as client:
        for _ in range(5):
            assert (await client.get("http://x/")).content == ACCEPTED
        assert sorted(slot.requests for slot in made) == [0, 5]
        await asyncio.gather(*(client.get("http://x/") for _ in range(4)))
    assert len(made) <= 4
    assert {slot.closed for slot in made} == {1}


async def test_a_slot_that_failed_is_thrown_away() -> None:
    """Before its answer began, or in the middle of it."""

    async def fail(*_: object) -> httpx.Response:
        raise httpx.ReadError("gone")

    for act in (fail, lambda request: streamed(request, fail)):
        transport, made = slots(act)
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ReadError):
                await client.get("http://x/")
            assert sorted((slot.requests, slot.closed) for slot in made) == [(0, 0), (1, 1)]


async def test_a_slot_whose_caller_was_cancelled_is_thrown_away() -> None:
    """While it waited for the answer, or for the rest of it."""

    async def hang(*_: object) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    for act in (hang, lambda request: streamed(request, hang)):
        transport, made = slots(act)
        async with httpx.AsyncClient(transport=transport) as client:
            caller = asyncio.create_task(client.get("http://x/"))
            await asyncio.sleep(0.01)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
            assert sorted((slot.requests, slot.closed) for slot in made) == [(0, 0), (1, 1)]


async def test_a_slot_whose_answer_nobody_read_is_thrown_away() -> None:
    """The rest of it would be taken for the next answer."""
    transport, made = slots(streamed)
    async with httpx.AsyncClient(transport=transport) as client:
        async with client.stream("GET", "http://x/"):
            pass
        assert sorted((slot.requests, slot.closed) for slot in made) == [(0, 0), (1, 1)]


async def test_a_slot_that_comes_back_late_is_closed() -> None:
    """The client was closed before its answer was read."""
    transport, made = slots(streamed)
    response = await transport.handle_async_request(httpx.Request("GET", "http://x/"))
    await transport.aclose()
    await response.aread()
    await response.aclose()
    await transport.aclose()
    assert [slot.closed for slot in made] == [1, 1]


async def test_a_second_cancellation_leaves_the_closing_to_aclose() -> None:
    """A slot that is being closed is not forgotten when its caller is cancelled once more."""
    closing = asyncio.Event()

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(60)
            raise AssertionError

        async def aclose(self) -> None:
            await asyncio.sleep(0.02)
            closing.set()

    transport = SlotsTransport(Slow)
    transport._idle.clear()
    task = asyncio.create_task(transport.handle_async_request(httpx.Request("POST", "http://x/")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.005)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not closing.is_set()
    await transport.aclose()
    assert closing.is_set()


@pytest.mark.parametrize("trouble", [OSError("and stuck"), asyncio.CancelledError("and stuck")])
async def test_a_slot_that_cannot_be_closed_does_not_hide_the_failure(
    trouble: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """What went wrong with the request is told; the trouble with closing is logged."""

    class Broken(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            raise httpx.ReadError("gone")

        async def aclose(self) -> None:
            raise trouble

    caplog.set_level("DEBUG", "tusfacturas_async")
    async with AsyncClient(CREDENTIALS, transport=Broken, retry=ONCE) as client:
        with pytest.raises(OutcomeUnknownError, match="gone"):
            await client.reprocess("ref")
    assert "and stuck" in caplog.text


async def test_the_same_transport_twice_is_no_slot() -> None:
    """Whoever failed first would close it for all others."""
    shared = httpx.AsyncHTTPTransport()
    with pytest.raises(TypeError, match="the same one twice"):
        SlotsTransport(lambda: shared)


async def test_a_slot_must_be_a_transport() -> None:
    """And is told so where it was given."""
    with pytest.raises(TypeError, match="not HTTPTransport"):
        SlotsTransport(httpx.HTTPTransport)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("direct", [False, True], ids=["httpx's", "direct"])
async def test_alone_in_a_client_of_either(module: Any, *, direct: bool) -> None:
    """Over real sockets, each in flight with a connection of its own."""

    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(ok(ACCEPTED))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        slots = SlotsTransport(DirectTransport if direct else module.AsyncHTTPTransport)
        async with module.AsyncClient(transport=slots) as client:
            for _ in range(3):
                answers = await asyncio.gather(*(client.get(url) for _ in range(5)))
                assert [answer.content for answer in answers] == [ACCEPTED] * 5
        await asyncio.sleep(0.02)  # the server sees the closing a moment later
    assert connections == 5


async def test_a_slot_of_the_users_own_making() -> None:
    """``transport=`` takes what makes one; each request in flight gets one, the failed ones are replaced."""
    made: list[httpx.AsyncHTTPTransport] = []

    def new_slot() -> httpx.AsyncHTTPTransport:
        made.append(httpx.AsyncHTTPTransport(verify=httpx.create_ssl_context(), local_address="127.0.0.1"))
        return made[-1]

    async with (
        Loopback(Queue([f"r{n}" for n in range(20)])) as server,
        AsyncClient(
            CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=5, transport=new_slot
        ) as client,
    ):
        server.latency = 0.01
        await client.reprocess_all(f"r{n}" for n in range(20))
        assert (server.most_open, len(made)) == (5, 5)
    async with AsyncClient(CREDENTIALS, base_url=server.url, retry=ONCE, transport=new_slot) as client:
        with pytest.raises(NotSentError):  # on httpx's own transport a refused connection proves it
            await client.reprocess("r1")
