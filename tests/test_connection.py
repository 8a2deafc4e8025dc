"""A connection over real sockets, of every way: when it is used again, and when it must not be."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from tests.helpers import WAYS
from tests.loopback.server import CREDENTIALS, ok
from tusfacturas_async import AsyncClient, Evidence, NotSentError, Outcome, RetryPolicy
from tusfacturas_async._http import connection, ways
from tusfacturas_async._http.answer import Reply
from tusfacturas_async._http.connection import Connection
from tusfacturas_async._http.dial import dial
from tusfacturas_async._http.evidence import Leave
from tusfacturas_async._http.transport import Transport, TransportFailure

pytestmark = pytest.mark.usefixtures("way")

ACCEPTED = b'{"error": "N", "errores": []}'


class Scripted:
    """Answers each request with the next of its bytes; counts connections."""

    def __init__(self, answers: Sequence[bytes], *, then_close: bool = False) -> None:
        self._answers = list(answers)
        self._then_close = then_close
        self.connections = 0
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self._answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                writer.write(self._answers.pop(0))
                if self._then_close:
                    break
            else:
                await reader.read()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(server: Scripted) -> AsyncIterator[Transport]:
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        transport = Transport(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/")
        try:
            yield transport
        finally:
            await transport.aclose()


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """The sockets of our own connections."""
    sockets: list[socket.socket] = []

    async def noted(host: str, port: int) -> socket.socket:
        sockets.append(await dial(host, port))
        return sockets[-1]

    monkeypatch.setattr(connection, "dial", noted)
    return sockets


async def post(transport: Transport) -> Reply:
    return await transport.post("v2/x", b'{"a": 1}', timeout=5)


async def test_what_leaves() -> None:
    """One request, its length told, for the right host, asking for JSON."""
    server = Scripted([ok(ACCEPTED)])
    async with serving(server) as transport:
        reply = await post(transport)
    assert (reply.status_code, reply.body) == (200, ACCEPTED)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    assert (line, body) == (b"POST /api/v2/x HTTP/1.1", b'{"a": 1}')
    assert {b"Accept: application/json", b"Content-Length: 8"} < set(headers)
    assert headers[0].startswith(b"Host: 127.0.0.1:")


@pytest.mark.parametrize("padding", [0, 70_000, 200_000], ids=["short", "long", "very long"])
async def test_an_answer_that_comes_twice_is_not_taken_for_the_next_one(padding: int, way: str) -> None:
    """What follows an answer unasked ends the connection; the next request goes out on a new one.

    httpx's transport sees what came in one piece only when it asks for the next answer. Then that request may
    have arrived, and nothing is told of it; its caller looks it up.
    """
    double = ok(b'{"error": "N"}' + b" " * padding) * 2
    server = Scripted([double, *([ok(b'{"error": "S"}')] * 3)])
    async with serving(server) as transport:
        assert (await post(transport)).body.rstrip() == b'{"error": "N"}'
        if way == "httpx" and not padding:
            with pytest.raises(TransportFailure, match="before it was asked for") as raised:
                await post(transport)
            assert raised.value.evidence is Evidence.MAYBE_SENT
        assert (await post(transport)).body == b'{"error": "S"}'
    assert server.connections == 2


async def test_bytes_that_come_while_nobody_asked_end_the_connection() -> None:
    """The same, when the second copy comes later."""
    server = Scripted([ok(b'{"error": "N"}'), ok(b'{"error": "S"}')])
    late = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.connections == 0:
            asyncio.get_running_loop().call_later(0.03, writer.write, ok(b'{"error": "N"}'))
            asyncio.get_running_loop().call_later(0.06, late.set)
        await server.serve(reader, writer)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        transport = Transport(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/")
        await post(transport)
        await late.wait()
        assert (await post(transport)).body == b'{"error": "S"}'
        await transport.aclose()
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 29\r\n\r\n" + ACCEPTED,
        b"HTTP/1.1 200 OK\r\n\r\n" + ACCEPTED,
        b"HTTP/1.0 200 OK\r\n\r\n" + ACCEPTED,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n" + ACCEPTED + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n" + ACCEPTED,
    ],
    ids=["close", "until the end", "HTTP/1.0", "chunked", "informational first"],
)
async def test_ways_in_which_an_answer_may_come(answer: bytes) -> None:
    """Whatever HTTP allows is understood, and a connection that the server closes is opened again."""
    server = Scripted([answer] * 2, then_close=True)
    async with serving(server) as transport:
        assert [(await post(transport)).body for _ in range(2)] == [ACCEPTED] * 2
    assert server.connections == 2


async def test_an_idle_connection_that_the_server_closed_is_no_lost_answer() -> None:
    """It is opened again: nothing has left on the old one."""
    server = Scripted([ok(ACCEPTED)] * 2, then_close=True)
    async with serving(server) as transport:
        for _ in range(2):
            await post(transport)
            await asyncio.sleep(0.02)
    assert server.connections == 2


async def test_a_connection_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may be closing it at this very moment."""
    monkeypatch.setattr(connection, "KEEP_ALIVE", 0.05)
    monkeypatch.setattr(ways, "KEEP_ALIVE", 0.05)
    server = Scripted([ok(ACCEPTED)] * 3)
    async with serving(server) as transport:
        await post(transport)
        await post(transport)
        assert server.connections == 1
        await asyncio.sleep(0.06)
        await post(transport)
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"apitoken=SECRET\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["not HTTP", "an endless head", "cut off"],
)
async def test_what_is_no_answer(answer: bytes) -> None:
    """It may have arrived; the message quotes nothing, as a server may echo what it was sent."""
    async with serving(Scripted([answer], then_close=True)) as transport:
        with pytest.raises(TransportFailure, match=r"well-formed|closed before") as raised:
            await post(transport)
    assert raised.value.evidence is Evidence.MAYBE_SENT
    assert "SECRET" not in str(raised.value)


async def test_who_waits_is_told_when_a_request_leaves_and_has_left() -> None:
    """Before its first byte and before its answer, on a new connection and on an open one."""
    told: list[str] = []

    class Told(Leave):
        def begin(self) -> None:
            told.append("leaves")

        def end(self) -> None:
            told.append("left")

    async with serving(Scripted([ok(ACCEPTED)] * 3)) as transport:
        for _ in range(3):
            await transport.post("", b"{}", timeout=5, leave=Told())
            told.append("answered")
    assert told == ["leaves", "left", "answered"] * 3


async def test_a_connection_that_is_lost_as_soon_as_it_is_open(
    way: str, monkeypatch: pytest.MonkeyPatch, dialled: list[socket.socket]
) -> None:
    """Nothing has left, and that is what is told; its socket will not close what then is another's."""
    if way == "httpx":
        pytest.skip("anyio tells it when it writes, and then httpx says that the request may have left")
    made = Connection.connection_made

    def made_and_lost(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        connection._drop()

    monkeypatch.setattr(Connection, "connection_made", made_and_lost)
    server = Scripted([ok(ACCEPTED)])
    async with serving(server) as transport:
        with pytest.raises(TransportFailure, match="as soon as it was open") as raised:
            await post(transport)
    assert (raised.value.evidence, server.requests) == (Evidence.NOT_SENT, [])
    assert [one.fileno() for one in dialled] == [-1]


@pytest.mark.parametrize("way", WAYS[1:], indirect=True)
async def test_cancelled_in_the_moment_of_opening(
    monkeypatch: pytest.MonkeyPatch, dialled: list[socket.socket]
) -> None:
    """Whoever is cancelled then gets away, on every kind of loop: uvloop does not tell that it is closed."""
    made = Connection.connection_made

    def made_and_cancelled(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        caller.cancel()

    monkeypatch.setattr(Connection, "connection_made", made_and_cancelled)
    async with serving(Scripted([])) as transport:
        caller = asyncio.create_task(post(transport))
        done, _ = await asyncio.wait([caller], timeout=10)
        assert (done, caller.cancelled()) == ({caller}, True)
    assert [one.fileno() for one in dialled] == [-1]


async def test_each_request_has_its_own_time() -> None:
    """A short one after a long one on the same connection, and the other way round."""
    stalled = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            for number in itertools.count():
                await reader.readuntil(b"\r\n\r\n{}")
                if number == 2:
                    stalled.set()
                    continue
                await asyncio.sleep(0.15 if number == 1 else 0)
                writer.write(ok(ACCEPTED))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening, asyncio.timeout(20):
        transport = Transport(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/")
        for timeout in (0.1, 60):
            assert (await transport.post("", b"{}", timeout=timeout)).body == ACCEPTED
        with pytest.raises(TransportFailure, match="time was up") as raised:
            await transport.post("", b"{}", timeout=0.05)
        assert (raised.value.evidence, stalled.is_set()) == (Evidence.MAYBE_SENT, True)
        await transport.aclose()
        await asyncio.sleep(0.02)  # the server sees the closing a moment later


async def test_nothing_leaves_when_the_time_is_up() -> None:
    """An open connection takes a request at once: it is not given one whose answer nobody would hear."""
    server = Scripted([ok(ACCEPTED)] * 2)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        async with AsyncClient(CREDENTIALS, base_url=url, min_interval=0) as client:
            await client.reprocess("a")
            client._seconds = 0.0  # uvloop's clock stands still within a turn
            with pytest.raises(NotSentError, match="time was up"):
                await client.reprocess("b")
    assert len(server.requests) == 1


async def test_a_host_with_several_addresses() -> None:
    """``localhost`` is tried at each of its addresses until one answers."""
    server = Scripted([ok(ACCEPTED)])
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        transport = Transport(f"http://localhost:{listening.sockets[0].getsockname()[1]}/")
        assert (await post(transport)).status_code == 200
        await transport.aclose()


def test_on_uvloop() -> None:
    """Web servers run on it: the same outcomes, and a refused connection is NOT_SENT."""

    async def main() -> None:
        server = Scripted([ok(ACCEPTED)] * 20)
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
            url = f"http://localhost:{listening.sockets[0].getsockname()[1]}/"
            async with AsyncClient(CREDENTIALS, base_url=url, min_interval=0, max_concurrency=1) as client:
                report = await client.reprocess_all(f"r{n}" for n in range(20))
        assert report.counts == {Outcome.ACCEPTED: 20}
        once = RetryPolicy(attempts=1)
        async with AsyncClient(CREDENTIALS, base_url="http://127.0.0.1:9/", retry=once) as client:
            with pytest.raises(NotSentError):
                await client.reprocess("r")

    uvloop.run(main())
