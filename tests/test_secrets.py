"""Nothing that the client logs, raises, pickles or prints holds a credential."""

from __future__ import annotations

import asyncio
import logging
import pickle
import traceback

import httpx
import pytest

from tests.helpers import ended, every_way_and_foreign
from tests.loopback import FAULTS, Fault, Loopback
from tusfacturas_async import AsyncClient, Credentials, RetryPolicy, TusFacturasError
from tusfacturas_async.sandbox import Queue

SECRETS = ("98765432101234", "tok/SECRET-apitoken", "usr-SECRET-usertoken")
BAIT = Credentials(*SECRETS)


def leaks(text: str) -> list[str]:
    return [secret for secret in (*SECRETS, *(s.replace("/", r"\/") for s in SECRETS)) if secret in text]


def everything(error: BaseException) -> str:
    told = [*traceback.format_exception(error), repr(error), str(vars(error))]
    return "\n".join([*told, repr(pickle.dumps(error)), repr(pickle.loads(pickle.dumps(error)))])


ECHO = "<html>bad request: {}</html>"


@pytest.mark.parametrize("status", [200, 302, 400, 401, 404, 429, 500, 524])
@pytest.mark.parametrize("as_json", [False, True], ids=["html", "json"])
async def test_an_answer_that_echoes_the_request(
    status: int,
    as_json: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A page or an envelope that repeats the secrets does not get them into results, errors or logs."""

    def echo(request: httpx.Request) -> httpx.Response:
        body = request.content.decode()
        if as_json:
            return httpx.Response(status, json={"error": "S", "errores": [body, *SECRETS]})
        return httpx.Response(status, html=ECHO.format(body))

    caplog.set_level(logging.DEBUG)
    policy = RetryPolicy(attempts=2, backoff=0, max_retry_after=0)
    transport = httpx.MockTransport(echo)
    async with AsyncClient(BAIT, transport=transport, min_interval=0, retry=policy) as client:
        result = await ended(client)
        with pytest.raises(TusFacturasError) as raised:
            await client.reprocess("ref")
        told = f"{result!r} {vars(result.error) if result.error else ''} {client!r} {client._channel!r}"
        told += repr(result.response.raw if result.response else "")
    assert leaks(told + everything(raised.value) + caplog.text) == []


@every_way_and_foreign
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_faults_log_and_raise_no_secret(
    fault: object,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    """At DEBUG, httpcore's own logging included, over real sockets."""
    monkeypatch.setattr("tests.loopback.server.CREDENTIALS", BAIT)
    caplog.set_level(logging.DEBUG)
    policy = RetryPolicy(attempts=2, backoff=0.001, max_retry_after=0)
    async with Loopback(Queue(["ref"]), [fault] * 2, [fault] * 4) as server:  # type: ignore[list-item]
        async with AsyncClient(
            BAIT, base_url=server.url, min_interval=0, timeout=0.1, retry=policy
        ) as client:
            try:
                told = repr(await client.reprocess("ref"))
            except TusFacturasError as error:
                told = everything(error)
    printed = capsys.readouterr()
    assert caplog.text
    assert leaks(told + caplog.text + printed.out + printed.err) == []


@every_way_and_foreign
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_garbage_that_echoes_the_request(
    head: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """What is no HTTP is not quoted: httpx's own message would show it. (httpcore's DEBUG log does.)"""

    async def echo(_: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(head + " ".join(SECRETS).encode() + b"\r\n\x00\r\n\r\n")
        writer.close()

    monkeypatch.setattr("tests.loopback.server.CREDENTIALS", BAIT)
    caplog.set_level(logging.DEBUG, "tusfacturas_async")
    policy = RetryPolicy(attempts=1, backoff=0)
    fault = Fault("echoes", echo)
    async with Loopback(Queue(["ref"]), [fault], [fault] * 9) as server:
        async with AsyncClient(BAIT, base_url=server.url, min_interval=0, retry=policy) as client:
            with pytest.raises(TusFacturasError) as raised:
                await client.reprocess("ref")
    assert "ref" in caplog.text
    assert leaks(everything(raised.value) + caplog.text) == []


async def test_local_variables_show_no_secret() -> None:
    """Error reporters print the locals of every frame."""

    def broken(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a transport's bug")

    async with AsyncClient(
        BAIT, transport=httpx.MockTransport(broken), retry=RetryPolicy(attempts=1, backoff=0)
    ) as client:
        with pytest.raises(TusFacturasError) as raised:
            await client.reprocess("ref")
    shown = []
    error: BaseException | None = raised.value
    while error is not None:
        shown += [
            repr(value)
            for frame, _ in traceback.walk_tb(error.__traceback__)
            for value in frame.f_locals.values()
        ]
        error = error.__cause__
    assert leaks("\n".join(shown).replace(repr(SECRETS), "")) == []
