"""Events, tokens and the receiver: what is believed, what is read, and what is answered."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusfacturas_async import (
    CambioFechaWebhook,
    EliminadoWebhook,
    EmitidoWebhook,
    EncoladoWebhook,
    ErrorWebhook,
    Inbox,
    InvalidWebhookTokenError,
    MalformedWebhookError,
    TestWebhook,
    UnknownWebhook,
    WebhookError,
    WebhookEvent,
    WebhookReceiver,
    parse_webhook,
    receive_webhook,
    sign_webhook,
    verify_webhook,
)
from tusfacturas_async.webhooks import tokens as tokens_module

TOKEN = "the-token-of-the-shop"


def body(**fields: object) -> bytes:
    return json.dumps(
        {"evento": "encolado", "recurso": "facturacion", "external_reference": "a", **fields}
    ).encode()


# -- events ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("evento", "kind"),
    [
        ("encolado", EncoladoWebhook),
        ("emitido", EmitidoWebhook),
        ("error", ErrorWebhook),
        ("eliminado", EliminadoWebhook),
        ("cambio_fecha", CambioFechaWebhook),
        ("anulado", UnknownWebhook),
        (" ENCOLADO ", EncoladoWebhook),
    ],
)
def test_each_event_is_its_class(evento: str, kind: type[WebhookEvent]) -> None:
    """Known ones by name, unknown ones kept."""
    event = parse_webhook(body(evento=evento, msg=["why "]))
    assert (type(event), event.external_reference, event.msg) == (kind, "a", ("why",))


def test_events_match() -> None:
    """``match`` tells them apart by class and attribute."""
    match parse_webhook(body(evento="error", msg="one text")):
        case ErrorWebhook(external_reference=reference, msg=(reason,)):
            told = (reference, reason)
        case _:
            told = ("", "")
    assert told == ("a", "one text")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"msg": None},
        {"msg": "text"},
        {"intento": None, "hook_id": None, "creado": None},
        {"intento": "2", "extra": {"x": [1]}},
        {"creado": "not a date"},
        {"external_reference": 17032},
    ],
)
def test_what_is_tolerated(fields: dict[str, object]) -> None:
    """Missing, null, text for list, number for text, keys that nobody knows."""
    event = parse_webhook(body(**fields))
    assert isinstance(event, EncoladoWebhook)
    assert isinstance(event.external_reference, str)
    assert event.raw == json.loads(body(**fields))


@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (b"", "JSON object"),
        (b"[]", "JSON object"),
        (b"\xff\x00", "JSON object"),
        (b"{}", "evento"),
        (body(external_reference=""), "external_reference"),
        (body(external_reference=None), "external_reference"),
        (body(evento="anulado", external_reference=[]), "external_reference"),
    ],
)
def test_what_is_malformed(payload: bytes, named: str) -> None:
    """What is no event, or is about a voucher and names none."""
    with pytest.raises(MalformedWebhookError, match=named):
        parse_webhook(payload)


@pytest.mark.parametrize("reference", ["A-1 ", " A-1", "\tA-1", "  ", "a\u00a0"])
def test_a_reference_is_kept_as_it_came(reference: str) -> None:
    """``"A-1 "`` is not ``"A-1"``: what names a voucher is never trimmed; a number becomes its text."""
    assert parse_webhook(body(external_reference=reference)).external_reference == reference
    assert parse_webhook(body(external_reference=17032)).external_reference == "17032"
    assert parse_webhook(body(hook_id=reference)).hook_id == reference


UNKEEPABLE = {
    "year 9999": body(creado="31/12/9999 23:59:59"),
    "summer of 9999": body(creado="15/06/9999 12:00"),
    "year 1": body(creado="01/01/0001 00:00:00"),
    "1,000 lists": body(extra=0).replace(b"0}", b"[" * 1000 + b"]" * 1000 + b"}"),
    "33 levels": body(extra=0).replace(b"0}", b"[" * 32 + b"]" * 32 + b"}"),
    "1,000 objects": b'{"a":' * 1000 + body() + b"}" * 1000,
    "100,000 brackets": b'{"a":' + b"[" * 60_000,
    "a huge number": body(intento=0).replace(b"0}", b"9" * 5_000 + b"}"),
    "NaN": body(intento=float("nan")),
    "infinity in a list": body(msg=[float("-inf")]),
    "beyond every number": body(external_reference=0).replace(b'reference": 0', b'reference": 1e999'),
    "said twice": body().replace(b"{", b'{"evento": "emitido", '),
    "said twice inside": body(extra={"x": 1}).replace(b'{"x"', b'{"x": 2, "x"'),
    "half a character": body(external_reference="a\ud800"),
}


@pytest.mark.parametrize("name", UNKEEPABLE)
async def test_what_cannot_be_kept_is_malformed(name: str, tmp_path: Path) -> None:
    """400 by the receiver before an inbox, never 500: an inbox writes it, reads it, and compares times."""
    with pytest.raises(MalformedWebhookError):
        parse_webhook(UNKEEPABLE[name])
    async with Inbox.open(tmp_path / "inbox") as inbox:
        receiver = WebhookReceiver(inbox.receive, tokens=TOKEN)
        assert await deliver(receiver, UNKEEPABLE[name]) == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"creado": "31/12/9998 23:59:59"},
        {"creado": "02/01/0002 00:00"},
        {"creado": "00/00/0000 00:00:00"},
        {"extra": [[[[{"x": [1, 2.5, None, True]}]]]]},
        {"intento": 10**4_000},
        {"intento": "9" * 5_000},
        {"msg": ["\ud800", "\x00"]},
        {"hook_id": "\udfff"},
        {"external_reference": "ñ 💥 \x00"},
    ],
    ids=str,
)
async def test_what_is_odd_is_kept_all_the_same(fields: dict[str, object], tmp_path: Path) -> None:
    """200: a refusal would be delivered for 24 hours, and then the URL ignored for good."""
    async with Inbox.open(tmp_path / "inbox") as inbox:
        assert await deliver(WebhookReceiver(inbox.receive, tokens=TOKEN), body(**fields)) == 200
        assert await inbox.state(str(fields.get("external_reference", "a"))) == parse_webhook(body(**fields))


def test_the_test_probe_may_lack_everything() -> None:
    """Its fields are undocumented; another resource is unknown, not an error."""
    assert isinstance(parse_webhook(b'{"evento": "test", "recurso": "test"}'), TestWebhook)
    assert isinstance(parse_webhook(b'{"evento": "test"}'), TestWebhook)
    assert isinstance(parse_webhook(b'{"evento": "pago", "recurso": "cobranzas"}'), UnknownWebhook)
    assert TestWebhook.__test__ is False


# -- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"TF-WebhookToken": TOKEN},
        {"tf-webhooktoken": TOKEN, "Accept": "*/*"},
        {"TF-WEBHOOKTOKEN": f" {TOKEN} "},
        [(b"tf-webhooktoken", TOKEN.encode())],
        [("Tf-Webhooktoken", TOKEN)],
        {b"tf-webhooktoken": TOKEN.encode()},
        httpx.Headers({"TF-WebhookToken": TOKEN}),
    ],
    ids=repr,
)
def test_headers_of_every_framework(headers: Any) -> None:
    """Mappings and pairs, text and bytes, any case."""
    assert verify_webhook(headers, TOKEN) == TOKEN


def test_which_token_matched() -> None:
    """Rotation by the token itself, several points of sale by name."""
    assert verify_webhook({"TF-WebhookToken": "new"}, ["old", "new"]) == "new"
    assert verify_webhook({"TF-WebhookToken": "b"}, {"shop": "a", "warehouse": "b"}) == "warehouse"


def test_a_token_that_is_not_ascii() -> None:
    """Servers hand its bytes over as Latin-1."""
    token = "contraseña-ñ"
    for sent in (token.encode(), token.encode().decode("latin-1")):
        assert verify_webhook([("TF-WebhookToken", sent)], token) == token
    assert verify_webhook({"TF-WebhookToken": "密"}, "密") == "密"


@pytest.mark.parametrize("tokens", ["", [], {}, [""], {"shop": ""}, ["  "], None, [None], 7])
def test_without_a_token_it_fails_closed(tokens: Any) -> None:
    """Also when the header is empty too."""
    for headers in ({}, {"TF-WebhookToken": ""}, {"TF-WebhookToken": "None"}):
        with pytest.raises(InvalidWebhookTokenError, match="no webhook token is configured"):
            verify_webhook(headers, tokens)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"TF-WebhookToken": ""},
        {"TF-WebhookToken": TOKEN[:-1]},
        {"TF-WebhookToken": TOKEN + "x"},
        {"TF-WebhookToken": TOKEN.upper()},
        {"TF-WebhookToken": "ñ密\udc80"},
        [("TF-WebhookToken", TOKEN), ("TF-WebhookToken", TOKEN)],
        [("TF-WebhookToken", "x"), ("TF-WebhookToken", TOKEN)],
        None,
        7,
        [1, None, ("a",)],
    ],
    ids=repr,
)
def test_a_wrong_token_is_refused_and_not_repeated(headers: Any) -> None:
    """Neither the sent nor the configured one is in the message."""
    with pytest.raises(InvalidWebhookTokenError) as raised:
        verify_webhook(headers, TOKEN)
    assert TOKEN not in str(raised.value)


@pytest.mark.parametrize("sent", [TOKEN, "x", TOKEN + "x", "ñ密", b"\xff\x00"])
def test_the_comparison_is_hmac_compare_digest_on_bytes(
    sent: str | bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every configured token is compared by it, whatever length or characters were sent."""
    compared: list[tuple[object, object]] = []

    def spy(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(tokens_module, "hmac", SimpleNamespace(compare_digest=spy))
    with contextlib.suppress(InvalidWebhookTokenError):
        verify_webhook([("TF-WebhookToken", sent)], [TOKEN, "other"])
    assert [one for one, _ in compared] == [TOKEN.encode(), b"other"]
    assert {type(value) for pair in compared for value in pair} == {bytes}


def test_a_strangers_body_is_not_parsed() -> None:
    """The token comes first."""
    with pytest.raises(InvalidWebhookTokenError):
        receive_webhook({}, b"not json", TOKEN)
    with pytest.raises(MalformedWebhookError):
        receive_webhook({"TF-WebhookToken": TOKEN}, b"not json", TOKEN)


def test_signing_and_receiving() -> None:
    """What the signer builds, the receiver takes."""
    created = datetime(2026, 3, 18, 18, 58, 11, tzinfo=UTC)
    headers, payload = sign_webhook(TOKEN, external_reference="a", creado=created, hook_id="h", msg=["x/y"])
    event = receive_webhook(headers, payload, TOKEN)
    assert (event.external_reference, event.created_at, event.hook_id, event.msg) == (
        "a",
        created,
        "h",
        ("x/y",),
    )
    assert event.creado == "18/03/2026 15:58:11"
    assert rb"\/" in payload


ANYTHING = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.floats()
HEADERS = st.dictionaries(
    st.sampled_from(["TF-WebhookToken", "tf-webhooktoken", "Host"]) | st.text(), ANYTHING
)


@given(
    headers=HEADERS | st.lists(st.tuples(ANYTHING, ANYTHING) | ANYTHING) | ANYTHING,
    payload=st.binary(),
    tokens=ANYTHING | st.lists(ANYTHING) | st.dictionaries(st.text(), ANYTHING),
)
def test_only_webhook_errors_come_out(headers: Any, payload: bytes, tokens: Any) -> None:
    """Whatever goes in."""
    try:
        receive_webhook(headers, payload, tokens)
    except WebhookError:
        return


# -- the receiver ---------------------------------------------------------------------------------


async def deliver(receiver: Any, content: Any, method: str = "POST", token: str = TOKEN) -> int:
    transport = httpx.ASGITransport(app=receiver)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        answer = await http.request(method, "/hook", content=content, headers={"TF-WebhookToken": token})
    return answer.status_code


def receiver_of(
    handler: Callable[[WebhookEvent], Awaitable[object]], **options: Any
) -> tuple[WebhookReceiver, list[WebhookEvent]]:
    seen: list[WebhookEvent] = []

    async def seeing(event: WebhookEvent) -> None:
        seen.append(event)
        await handler(event)

    return WebhookReceiver(seeing, tokens=TOKEN, **options), seen


async def fine(event: WebhookEvent) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("content", "method", "token", "status", "seen"),
    [
        (body(), "POST", TOKEN, 200, 1),
        (body(evento="anulado"), "POST", TOKEN, 200, 1),
        (b'{"evento": "test", "recurso": "test"}', "POST", TOKEN, 200, 0),
        (body(), "POST", "wrong", 403, 0),
        (b"not json", "POST", "wrong", 403, 0),
        (b"not json", "POST", TOKEN, 400, 0),
        (body(), "GET", TOKEN, 405, 0),
        (body(), "PUT", TOKEN, 405, 0),
        (body(msg="x" * 70_000), "POST", TOKEN, 413, 0),
    ],
)
async def test_answers(content: bytes, method: str, token: str, status: int, seen: int) -> None:
    """Each kind of delivery has its status, and only events reach the handler."""
    receiver, events = receiver_of(fine)
    assert await deliver(receiver, content, method, token) == status
    assert len(events) == seen


async def test_the_body_is_limited_while_it_streams() -> None:
    """A body without end is not read to its end."""
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b"x" * 1000

    receiver, _ = receiver_of(fine, max_body=10_000)
    assert await deliver(receiver, endless()) == 413
    assert sent < 20


async def test_200_only_after_the_handler_returned(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that fails is answered 500, and logged, so that the service delivers again."""

    async def broken(event: WebhookEvent) -> None:
        raise LookupError("the database is away")

    receiver, _ = receiver_of(broken)
    with caplog.at_level(logging.ERROR, "tusfacturas_async"):
        assert await deliver(receiver, body()) == 500
    assert "the handler failed" in caplog.text
    assert TOKEN not in caplog.text


async def test_a_handler_that_takes_too_long_is_cancelled_and_awaited(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """503; nothing of it goes on unnoticed."""
    state = []

    async def slow(event: WebhookEvent) -> None:
        state.append("begun")
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            state.append("cleaned up")

    receiver, _ = receiver_of(slow, time_limit=0.01)
    before = asyncio.all_tasks()
    assert await deliver(receiver, body()) == 503
    assert state == ["begun", "cleaned up"]
    assert asyncio.all_tasks() == before
    assert "cancelled" in caplog.text


async def test_a_handlers_own_timeout_is_a_failure() -> None:
    """Not ours: 500."""

    async def timing_out(event: WebhookEvent) -> None:
        raise TimeoutError

    assert await deliver(receiver_of(timing_out)[0], body()) == 500


class Oddity(BaseException):
    pass


async def cancels_itself(event: WebhookEvent) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("ending", [asyncio.CancelledError, Oddity, GeneratorExit, LookupError, "itself"])
async def test_however_a_handler_ends_it_is_answered(ending: Any) -> None:
    """500, and the server's task is left alone: a ``CancelledError`` of its own making is a failure."""

    async def raising(event: WebhookEvent) -> None:
        raise ending

    receiver, _ = receiver_of(cancels_itself if ending == "itself" else raising)
    assert await deliver(receiver, body()) == 500
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()


async def test_a_cancelled_delivery_cancels_its_handler_once_and_awaits_it() -> None:
    """Also when the cancellation is repeated at each turn of the loop, as anyio's scopes do."""
    state = []
    begun = asyncio.Event()

    async def slow(event: WebhookEvent) -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            state.append("cancelled")
            await asyncio.sleep(0.01)
            state.append("cleaned up")

    delivery = asyncio.create_task(deliver(receiver_of(slow)[0], body()))
    await begun.wait()
    while not delivery.done():
        delivery.cancel()
        await asyncio.sleep(0)
    assert (delivery.cancelled(), state) == (True, ["cancelled", "cleaned up"])


async def test_a_handler_that_breaks_off_the_program_does() -> None:
    """``SystemExit`` is not a failed delivery."""

    async def leaving(event: WebhookEvent) -> None:
        raise SystemExit(3)

    def main() -> None:
        asyncio.run(deliver(receiver_of(leaving)[0], body()))

    with pytest.raises(SystemExit):
        await asyncio.to_thread(main)


def plain(event: WebhookEvent) -> None:
    raise AssertionError


class Mailbox:
    async def __call__(self, event: WebhookEvent) -> None: ...

    async def method(self, event: WebhookEvent) -> None: ...

    def plain(self, event: WebhookEvent) -> None: ...


class PlainCallable:
    def __call__(self, event: WebhookEvent) -> None: ...


async def generator(event: WebhookEvent) -> Any:
    yield event


@functools.wraps(fine)
def decorated(event: WebhookEvent) -> Any:
    return fine(event)


@functools.wraps(plain)
async def made_async(event: WebhookEvent) -> None:
    await asyncio.to_thread(plain, event)


@pytest.mark.parametrize(
    "handler",
    [plain, lambda _: None, Mailbox().plain, PlainCallable(), functools.partial(plain), generator],
)
def test_a_handler_that_is_not_async_is_told_at_once(handler: Any, tmp_path: Path) -> None:
    """And not at each delivery: the service drops a URL after 24 hours without a 200."""
    with pytest.raises(TypeError, match="handler must be an async function"):
        WebhookReceiver(handler, tokens=TOKEN)
    with pytest.raises(TypeError, match="handler must be an async function"):
        Inbox.open(tmp_path / "inbox", handler)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "handler",
    [fine, Mailbox(), Mailbox().method, functools.partial(fine), decorated, made_async, AsyncMock()],
)
def test_every_kind_of_async_handler_is_taken(handler: Any) -> None:
    """Functions, methods, objects, partials, what decorators make of them, mocks."""
    WebhookReceiver(handler, tokens=TOKEN)


async def test_what_shows_only_when_called_is_told_then(caplog: pytest.LogCaptureFixture) -> None:
    """Compiled code does not say that it is synchronous."""
    assert await deliver(WebhookReceiver(print, tokens=TOKEN), body()) == 500  # type: ignore[arg-type]
    assert "it must be an async function" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"tokens": []}, ValueError, "tokens"),
        ({"tokens": {}}, ValueError, "tokens"),
        ({"tokens": ""}, ValueError, "tokens"),
        ({"tokens": [" ", ""]}, ValueError, "tokens"),
        ({"tokens": {"shop": ""}}, ValueError, "tokens"),
        ({"tokens": None}, TypeError, "tokens"),
        ({"tokens": b"token"}, TypeError, "tokens"),
        ({"tokens": 7}, TypeError, "tokens"),
        ({"tokens": [TOKEN, None]}, TypeError, "tokens"),
        ({"tokens": {"shop": 7}}, TypeError, "tokens"),
        ({"tokens": iter([TOKEN])}, TypeError, "tokens"),
        ({"max_body": 0}, ValueError, "max_body"),
        ({"max_body": "64k"}, TypeError, "max_body"),
        ({"time_limit": -1}, ValueError, "time_limit"),
        ({"time_limit": None}, TypeError, "time_limit"),
        ({"handler": "on_event"}, TypeError, "handler"),
    ],
)
def test_a_wrong_argument_is_told_where_it_is_given(
    arguments: Any, error: type[Exception], named: str
) -> None:
    """By name, and without what may be a secret."""
    with pytest.raises(error, match=named) as raised:
        WebhookReceiver(**{"handler": fine, "tokens": TOKEN, **arguments})
    assert TOKEN not in str(raised.value)


async def test_tokens_may_be_changed_while_it_serves() -> None:
    """A mapping or a list is asked at each delivery; emptied, it refuses all."""
    tokens = {"shop": "old"}
    receiver = WebhookReceiver(fine, tokens=tokens)
    tokens["shop"] = TOKEN
    assert await deliver(receiver, body()) == 200
    tokens.clear()
    assert await deliver(receiver, body()) == 403


def test_signing_needs_a_time_zone() -> None:
    """A naive ``creado`` would be this machine's time."""
    with pytest.raises(ValueError, match="creado"):
        sign_webhook(TOKEN, creado=datetime(2026, 3, 18))  # noqa: DTZ001


async def test_a_sender_that_leaves_in_the_middle() -> None:
    """Half a body is no event."""
    receiver, events = receiver_of(fine)
    sent: list[Any] = []
    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"tf-webhooktoken", TOKEN.encode())]}
    await receiver(scope, receive, send)
    assert (events, sent[0]["status"]) == ([], 400)


async def test_the_receiver_is_a_whole_application() -> None:
    """Lifespan is answered, a websocket is closed."""
    receiver, _ = receiver_of(fine)
    sent: list[str] = []
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> Any:
        return {"type": messages.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await receiver({"type": "lifespan"}, receive, send)
    await receiver({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
