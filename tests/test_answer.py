"""An answer's body over real sockets and every kind of way: its coding, and the memory that it may take."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tusfacturas_async import Evidence
from tusfacturas_async._http.answer import MAX_ANSWER, Body, BrokenAnswerError, Reply
from tusfacturas_async._http.transport import Transport, TransportFailure

ACCEPTED = b'{"error": "N", "errores": []}'

pytestmark = pytest.mark.usefixtures("way")


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[Callable[[], asyncio.Future[Reply]]]:
    """What posts to a server that says just this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(answer)
        with suppress(ConnectionError):  # who has had enough closes it
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        transport = Transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        try:
            yield lambda: asyncio.ensure_future(transport.post("", b"{}", timeout=20))
        finally:
            await transport.aclose()


def packed(body: bytes, *headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def bare_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(ACCEPTED), "gzip"),
        (gzip.compress(ACCEPTED), "X-GZIP"),
        (gzip.compress(ACCEPTED), "identity, gzip"),
        (zlib.compress(ACCEPTED), "deflate"),
        (bare_deflate(ACCEPTED), "deflate"),
        (ACCEPTED, "identity"),
    ],
    ids=["gzip", "x-gzip", "identity and gzip", "deflate", "bare deflate", "identity"],
)
async def test_one_coding_is_undone(body: bytes, coding: str) -> None:
    """We ask for it, so we read it."""
    async with answering(packed(body, f"Content-Encoding: {coding}")) as post:
        assert (await post()).body == ACCEPTED


def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()


@pytest.mark.parametrize(
    "headers",
    [["Content-Encoding: gzip, gzip"], ["Content-Encoding: gzip"] * 2, ["Content-Encoding: deflate,gzip"]],
    ids=["in one header", "in two", "of two kinds"],
)
async def test_codings_within_codings(headers: list[str]) -> None:
    """2,650 bytes took 3.1 GiB: they are refused before anything is made of them."""
    nested = packed(gzip.compress(bomb(2**26), 9), *headers)
    async with answering(nested) as post:
        peak, failure = await measured(post)
    assert failure.evidence is Evidence.MAYBE_SENT
    assert "codings" in str(failure)
    assert peak < 2**20


async def test_one_coding_that_expands_beyond_measure() -> None:
    """A quarter of a gibibyte of zeros in one piece is refused at ``MAX_ANSWER``, while it is made."""
    async with answering(packed(bomb(2**28), "Content-Encoding: gzip")) as post:
        peak, failure = await measured(post)
    assert failure.evidence is Evidence.MAYBE_SENT
    assert f"more than {MAX_ANSWER} bytes" in str(failure)
    assert peak < 3 * MAX_ANSWER


async def measured(post: Callable[[], asyncio.Future[Reply]]) -> tuple[int, TransportFailure]:
    tracemalloc.start()
    try:
        with pytest.raises(TransportFailure) as raised:
            await post()
        return tracemalloc.get_traced_memory()[1], raised.value
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(ACCEPTED)[:-4], "gzip"),
        (gzip.compress(ACCEPTED) + b"more", "gzip"),
        (b"apitoken=SECRET", "gzip"),
        (ACCEPTED, "br"),
    ],
    ids=["cut off", "followed by more", "not packed", "not asked for"],
)
async def test_what_cannot_be_unpacked(body: bytes, coding: str) -> None:
    """It may have arrived, and the message quotes nothing of it."""
    async with answering(packed(body, f"Content-Encoding: {coding}")) as post:
        with pytest.raises(TransportFailure) as raised:
            await post()
    assert raised.value.evidence is Evidence.MAYBE_SENT
    assert "SECRET" not in str(raised.value)


async def test_a_large_answer_that_is_not_packed() -> None:
    """The same limit."""
    async with answering(packed(b" " * (MAX_ANSWER + 1))) as post:
        with pytest.raises(TransportFailure, match=f"more than {MAX_ANSWER} bytes"):
            await post()


def test_packed_bytes_that_hold_nothing_are_counted_too() -> None:
    """Empty blocks expand to nothing, and could come for ever."""
    body = Body(["deflate"], longest=1000)
    packer = zlib.compressobj()
    body.feed(packer.compress(b"x") + packer.flush(zlib.Z_FULL_FLUSH))
    with pytest.raises(BrokenAnswerError, match="more than 1000"):
        for _ in range(1000):
            body.feed(packer.flush(zlib.Z_FULL_FLUSH) or b"\x00\x00\x00\xff\xff")
