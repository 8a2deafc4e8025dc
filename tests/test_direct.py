"""``DirectTransport`` as an httpx transport, in a client of httpx or httpx2: what it answers and raises."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import httpx2
import pytest
import trustme

from tests.helpers import ended
from tests.loopback.server import CREDENTIALS, http, ok
from tests.test_dial import silent
from tusfacturas_async import AsyncClient, DirectTransport, Evidence, RetryPolicy

LIBRARIES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])
ONCE = RetryPolicy(attempts=1, backoff=0)


@asynccontextmanager
async def serving(
    answer: Callable[[bytes], bytes], secure: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[str, list[int]]]:
    """The server's URL, and how many requests came on each connection; no answer closes it."""
    served: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = len(served)
        served.append(0)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await reader.readexactly(length)
                served[number] += 1
                if not (said := answer(body)):
                    break
                writer.write(said)
        writer.close()

    async with await asyncio.start_server(serve, "localhost", 0, ssl=secure) as server:
        scheme = "https" if secure else "http"
        yield f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}/", served
        await asyncio.sleep(0.02)  # the server sees the closing a moment later


@LIBRARIES
async def test_an_answer(module: Any, way: str) -> None:
    """With its status, its headers as they came, and its body, which httpx decompresses."""
    packed = gzip.compress(b"x" * 1000)
    headers = ("Content-Encoding: gzip", "Set-Cookie: a=b", "Set-Cookie: c=d")
    async with serving(lambda _: http("418 I'm a teapot", packed, *headers)) as (url, served):
        async with module.AsyncClient(transport=DirectTransport()) as client:
            for _ in range(2):
                response = await client.post(url, content=b"{}")
    assert (response.status_code, response.content) == (418, b"x" * 1000)
    assert response.headers.get_list("set-cookie") == ["a=b", "c=d"]
    assert served == [2]


@LIBRARIES
async def test_one_at_a_time_and_any_origin(module: Any) -> None:
    """Those that wait get their own answer; another host gets another connection."""
    async with serving(ok) as (url, served), serving(ok) as (other, served_there):
        async with module.AsyncClient(transport=DirectTransport()) as client:
            answers = await asyncio.gather(*(client.post(url, content=b"%d" % n) for n in range(9)))
            assert [answer.content for answer in answers] == [b"%d" % n for n in range(9)]
            assert (await client.post(other, content=b"there")).content == b"there"
            assert (await client.post(url, content=b"here")).content == b"here"
    assert (served, served_there) == ([9, 1], [1])


async def pieces() -> AsyncIterator[bytes]:
    yield b"in "
    yield b"pieces"


@LIBRARIES
async def test_a_body_in_pieces_is_sent_whole(module: Any) -> None:
    """Its length is told."""
    async with serving(ok) as (url, _), module.AsyncClient(transport=DirectTransport()) as client:
        assert (await client.post(url, content=pieces())).content == b"in pieces"


@LIBRARIES
@pytest.mark.parametrize(
    ("said", "raised"),
    [
        (b"", "ReadError"),
        (b"garbage\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\n", "ReadTimeout"),
    ],
)
async def test_an_answer_that_goes_missing(said: bytes, raised: str, module: Any, way: str) -> None:
    """Is told as httpx tells it, and its connection is not used again."""
    answers = [ok(b"whole"), said, ok(b"whole")]
    async with serving(lambda _: answers.pop(0)) as (url, served):
        async with module.AsyncClient(transport=DirectTransport(), timeout=0.2) as client:
            await client.post(url, content=b"{}")
            with pytest.raises(getattr(module, raised)):
                await client.post(url, content=b"{}")
            assert (await client.post(url, content=b"{}")).content == b"whole"
    assert served == [2, 1]


@LIBRARIES
async def test_a_connection_that_is_not_made(module: Any) -> None:
    """Refused, or not answered in time."""
    async with module.AsyncClient(transport=DirectTransport(), timeout=0.1) as client:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with pytest.raises(module.ConnectError):
            await client.post(f"http://127.0.0.1:{port}/", content=b"{}")
        with silent(port), pytest.raises(module.ConnectTimeout):
            await client.post(f"http://127.0.0.2:{port}/", content=b"{}")


@LIBRARIES
async def test_what_it_does_not_send(module: Any) -> None:
    """A HEAD has an answer whose length is not its body's; and a head must not hold another."""
    async with module.AsyncClient(transport=DirectTransport()) as client:
        with pytest.raises(module.LocalProtocolError, match="HEAD"):
            await client.head("http://127.0.0.1:9/")
        with pytest.raises(module.LocalProtocolError, match="head"):
            await client.post("http://127.0.0.1:9/", headers={"X": "a\r\nY: b"})


async def test_it_tells_how_far_it_got() -> None:
    """By httpcore's trace: inside a user's client a refused connection is proven, a lost answer is not."""
    async with httpx.AsyncClient(transport=DirectTransport()) as theirs:
        async with serving(lambda _: b"") as (url, _):
            async with AsyncClient(CREDENTIALS, base_url=url, http_client=theirs, retry=ONCE) as client:
                lost = await ended(client)
        async with AsyncClient(CREDENTIALS, base_url=url, http_client=theirs, retry=ONCE) as client:
            refused = await ended(client)
    assert [result.attempts[0].evidence for result in (lost, refused)] == [
        Evidence.MAYBE_SENT,
        Evidence.NOT_SENT,
    ]


async def test_tls_by_a_context_of_the_users_own() -> None:
    """For each slot: ``lambda: DirectTransport(verify=context)``; without it the server is a stranger."""
    authority = trustme.CA()
    servers, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(servers)
    authority.configure_trust(ours)
    async with serving(lambda _: ok(b'{"error": "N"}'), servers) as (url, served):
        async with AsyncClient(
            CREDENTIALS, base_url=url, retry=ONCE, transport=lambda: DirectTransport(verify=ours)
        ) as client:
            await client.reprocess("ref")
        async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE, transport=DirectTransport) as client:
            refused = await ended(client)
        async with httpx.AsyncClient(transport=DirectTransport()) as alone:
            with pytest.raises(httpx.ConnectError, match="certificate"):
                await alone.post(url, content=b"{}")
    assert refused.attempts[0].evidence is Evidence.NOT_SENT
    assert sum(served) == 1
