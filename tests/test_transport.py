"""The transport's own promises: which URLs it takes, TLS, proxies, slots."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import trustme

from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS, ok
from tusfacturas_async import AsyncClient, NotSentError, Outcome, OutcomeUnknownError, RetryPolicy
from tusfacturas_async._http.transport import Transport, TransportFailure
from tusfacturas_async._http.urls import environment_proxy
from tusfacturas_async.results import Evidence
from tusfacturas_async.sandbox import Queue

ONCE = RetryPolicy(attempts=1, backoff=0)


@pytest.mark.parametrize(
    "url",
    ["https://www.tusfacturas.app/app/api/", "http://localhost:1/", "http://127.9.9.9", "http://[::1]:80/x"],
)
def test_urls_that_are_taken(url: str) -> None:
    """TLS anywhere, plain HTTP on loopback only."""
    Transport(url)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://www.tusfacturas.app/app/api/", "unencrypted"),
        ("http://10.0.0.1/", "unencrypted"),
        ("http://localhost.example.com/", "unencrypted"),
        ("http://127.0.0.1.example.com/", "unencrypted"),
        ("ftp://127.0.0.1/", "https://"),
        ("www.tusfacturas.app", "https://"),
        ("https://user:hunter2@www.tusfacturas.app/", "no user"),
        ("https://www.tusfacturas.app/?a=b", "query"),
        ("https://exam\nple/", "not a URL"),
    ],
)
def test_urls_that_are_refused(url: str, named: str) -> None:
    """The credentials travel in the body; the error says what to change, and repeats no password."""
    with pytest.raises(ValueError, match=named) as raised:
        Transport(url)
    assert "hunter2" not in str(raised.value)


def test_plain_http_is_taken_when_it_is_asked_for() -> None:
    """For docker-compose's stand-ins: with a warning at the caller's line, and for ``http://`` alone."""
    with pytest.warns(UserWarning, match="unencrypted") as warned:
        AsyncClient(CREDENTIALS, base_url="http://wiremock:8080/", allow_http=True)
    assert warned[0].filename == __file__
    with pytest.raises(ValueError, match="allow_http=True"):
        AsyncClient(CREDENTIALS, base_url="http://wiremock:8080/")
    with pytest.raises(ValueError, match="https://"):
        AsyncClient(CREDENTIALS, base_url="ftp://wiremock/", allow_http=True)


@pytest.fixture
async def tls_server() -> AsyncIterator[tuple[str, trustme.CA]]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "service.invalid").configure_cert(context)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1000)
        writer.write(ok(b'{"error": "N", "errores": []}'))
        writer.close()

    server = await asyncio.start_server(serve, "localhost", 0, ssl=context)
    async with server:
        yield f"https://localhost:{server.sockets[0].getsockname()[1]}/", authority


async def test_tls_is_verified(tls_server: tuple[str, trustme.CA], way: str) -> None:
    """An unknown authority is NOT_SENT: no request byte leaves for a stranger."""
    async with AsyncClient(CREDENTIALS, base_url=tls_server[0], retry=ONCE) as client:
        with pytest.raises(NotSentError, match="certificate"):
            await client.reprocess("ref")


async def test_tls_with_a_known_authority(
    tls_server: tuple[str, trustme.CA], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """``SSL_CERT_FILE`` names the company's own authority, as everywhere."""
    url, authority = tls_server
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE) as client:
        assert (await client.reprocess("ref")).settled_by == "response"


@pytest.mark.parametrize("records", [1, 2])
async def test_an_answer_that_comes_twice_over_tls(
    records: int, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one record or in two, it is not taken for the next one's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    accepted = ok(b'{"error": "N"}')
    twice = [accepted * 2] if records == 1 else [accepted, accepted]
    connections = itertools.count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = next(connections) == 0
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n{}"):
                for record in twice if first else [ok(b'{"error": "S"}')]:
                    writer.write(record)
        writer.close()

    async with await asyncio.start_server(serve, "localhost", 0, ssl=context) as server:
        transport = Transport(f"https://localhost:{server.sockets[0].getsockname()[1]}/")
        assert (await transport.post("", b"{}", timeout=5)).body == b'{"error": "N"}'
        with suppress(TransportFailure):  # or httpx's transport notices it now, and nothing is told
            assert (await transport.post("", b"{}", timeout=5)).body == b'{"error": "S"}'
        assert (await transport.post("", b"{}", timeout=5)).body == b'{"error": "S"}'
        await transport.aclose()
        await asyncio.sleep(0.05)  # the server sees the closing a moment later


@asynccontextmanager
async def tunnelling(port: int) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A proxy whose every tunnel ends at this port; the heads of all requests that it was sent."""
    heads: list[bytes] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heads


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
async def test_environment_proxy_is_used(
    variable: str,
    tls_server: tuple[str, trustme.CA],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``HTTPS_PROXY`` and ``ALL_PROXY`` carry the request in a tunnel, ``NO_PROXY`` exempts a host."""
    url, authority = tls_server
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    url = url.replace("localhost", "service.invalid")
    async with tunnelling(urlsplit(url).port or 0) as (proxy, heads):
        monkeypatch.setenv(variable, proxy)
        async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE) as client:
            assert (await client.reprocess("a")).settled_by == "response"
        monkeypatch.setenv("no_proxy", "service.invalid")
        async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE) as client:
            with pytest.raises(NotSentError):  # nobody knows that name
                await client.reprocess("b")
    assert [head.split()[0] for head in heads] == [b"CONNECT"]


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "127.1", "127.9.9.9", "localhost."])
async def test_loopback_is_never_proxied(variable: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of a local run stood in clear at the company's proxy, and the sandbox failed."""
    async with Loopback(Queue(["a"])) as proxy, Loopback(Queue(["a"])) as server:
        monkeypatch.setenv(variable, f"127.0.0.1:{proxy.port}")
        async with AsyncClient(
            CREDENTIALS, base_url=f"http://{host}:{server.port}/api/", retry=ONCE
        ) as client:
            try:
                await client.reprocess("a")
            except NotSentError:
                assert host in {"127.9.9.9", "localhost."}, "these may lead nowhere, but to no proxy either"
    assert (proxy.resends, proxy.most_open) == ([], 0)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.53",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "localhost",
        "a.localhost",
        "A.LocalHost.",
        "127.1",
    ],
)
def test_every_form_of_loopback(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With TLS as well; and what only looks like it is proxied as any other."""
    for variable in ("https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://proxy.invalid:1")
    assert environment_proxy("https", httpx.URL(f"https://{host}:1/").host) is None
    for other in (f"{host.strip('[]').rstrip('.')}.example.com", "128.0.0.1", "notlocalhost"):
        if ":" not in other:
            assert environment_proxy("https", other) == "http://proxy.invalid:1"


@pytest.mark.parametrize("reply", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b""])
async def test_a_proxy_that_gives_no_tunnel(reply: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """The CONNECT to a proxy is not our request: a refused or broken tunnel is NOT_SENT."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT ")
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with AsyncClient(CREDENTIALS, base_url="https://service.invalid/", retry=ONCE) as client:
            with pytest.raises(NotSentError):
                await client.reprocess("ref")


async def test_one_connection_serves_one_after_another(way: str) -> None:
    """A slot keeps its connection alive; concurrent requests get one each."""
    async with Loopback(Queue([f"r{n}" for n in range(30)])) as server:
        async with AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=5) as client:
            for n in range(10):
                await client.reprocess(f"r{n}")
            assert server.most_open == 1
            server.latency = 0.02
            await asyncio.gather(*(client.reprocess(f"r{n}") for n in range(10, 30)))
    assert server.most_open == 5


async def test_a_response_that_is_not_ours_to_decode_is_maybe_sent() -> None:
    """A broken compression proves nothing."""
    broken = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))
    async with AsyncClient(
        CREDENTIALS, transport=httpx.MockTransport(lambda _: broken), retry=ONCE
    ) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.reprocess("ref")


class Cancelling(httpx.AsyncBaseTransport):
    """Somebody else's transport, whose own machinery was cancelled, not we."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise asyncio.CancelledError("a pool's worker ended")


async def test_a_cancellation_of_the_transports_own_making_is_a_failed_attempt() -> None:
    """Nobody cancelled the caller: it may have arrived, and the caller goes on."""
    async with AsyncClient(CREDENTIALS, transport=Cancelling(), retry=ONCE) as client:
        with pytest.raises(OutcomeUnknownError) as raised:
            await client.reprocess("ref")
        (attempt,) = raised.value.attempts
        assert attempt.evidence is Evidence.MAYBE_SENT
        report = await client.reprocess_all(["a", "b"])
    assert [result.outcome for result in report.results] == [Outcome.UNKNOWN] * 2


async def test_a_cancellation_that_is_real_passes_through() -> None:
    """Also when it meets a transport in the middle of its work."""
    started = asyncio.Event()

    class Waiting(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            started.set()
            await asyncio.sleep(60)
            raise AssertionError

    async with AsyncClient(CREDENTIALS, transport=Waiting(), retry=ONCE) as client:
        caller = asyncio.create_task(client.reprocess("ref"))
        await started.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
