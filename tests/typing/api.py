"""The public API as type-checkers see it. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, assert_never, assert_type

import httpx
import httpx2

from tusfacturas_async import (
    AnyWebhookEvent,
    AsyncClient,
    Attempt,
    Batch,
    BatchReport,
    CambioFechaWebhook,
    Credentials,
    DirectTransport,
    EliminadoWebhook,
    EmitidoWebhook,
    EncoladoWebhook,
    ErrorWebhook,
    Evidence,
    Inbox,
    MaintenanceError,
    Outcome,
    ReprocessRequest,
    ReprocessResponse,
    ReprocessResult,
    RetryPolicy,
    SlotsTransport,
    TestWebhook,
    TusFacturasError,
    UnknownWebhook,
    Voucher,
    VoucherStatus,
    parse_webhook,
    receive_webhook,
    verify_webhook,
)
from tusfacturas_async.instrumentation import (
    CallEnded,
    LoggingObserver,
    Observer,
    OpenTelemetryObserver,
    PrometheusObserver,
)

credentials = Credentials(apikey=1134, apitoken="t", usertoken="u")
assert_type(Credentials.from_env(), Credentials)
client = AsyncClient(
    credentials,
    base_url="https://www.tusfacturas.app/app/api/",
    max_concurrency=10,
    min_interval=0.1,
    timeout=30.0,
    deadline=None,
    retry=RetryPolicy(attempts=4),
    transport=httpx.AsyncHTTPTransport(),
    http_client=None,
)


def names() -> Iterator[str]:
    yield "a"


async def later_names() -> AsyncIterator[str | ReprocessRequest]:
    yield "a"


async def use() -> None:
    async with client as same:
        assert_type(same, AsyncClient)
        result = await client.reprocess("a")
        assert_type(result, ReprocessResult)
        assert_type(result.outcome, Outcome)
        assert_type(result.response, ReprocessResponse | None)
        assert_type(result.attempts, tuple[Attempt, ...])
        assert_type(result.attempts[0].evidence, Evidence)
        assert_type(result.attempts[0].started_at, datetime)
        assert_type(result.error, TusFacturasError | None)
        assert_type(result.billed_calls, int)
        vouchers = await client.lookup("a", ReprocessRequest("b"))
        assert_type(vouchers, list[Voucher])
        assert_type(vouchers[0].status, VoucherStatus | str)
        assert_type(vouchers[0].total, Decimal | None)
        assert_type(vouchers[0].fecha, date | None)
        async with client.reprocess_many(names()) as batch:
            assert_type(batch, Batch)
            async for each in batch:
                assert_type(each, ReprocessResult)
        assert_type(await client.reprocess_all(later_names()), BatchReport)
        assert_type(client.with_credentials(credentials), AsyncClient)


def catch(error: MaintenanceError) -> None:
    assert_type(error.until, datetime | None)
    match parse_webhook(b"{}"):
        case EncoladoWebhook(external_reference=reference):
            assert_type(reference, str)
        case ErrorWebhook(msg=reasons):
            assert_type(reasons, tuple[str, ...])
        case event:
            assert_type(event.external_reference, str | None)
    assert_type(verify_webhook({}, {"shop": "token"}), str)
    assert_type(verify_webhook([(b"name", b"value")], ["token", "next"]), str)


def tell(event: AnyWebhookEvent) -> str:
    match event:
        case EncoladoWebhook() | EmitidoWebhook() | EliminadoWebhook() | CambioFechaWebhook():
            return event.external_reference
        case ErrorWebhook(msg=reasons):
            return ", ".join(reasons)
        case TestWebhook() | UnknownWebhook():
            return event.evento
        case _:
            assert_never(event)


assert_type(parse_webhook(b"{}"), AnyWebhookEvent)
assert_type(receive_webhook({}, b"{}", "token"), AnyWebhookEvent)
assert_type(Voucher("a", "b").to_dict(), dict[str, Any])


class Watching:
    """An observer needs no more than the hooks that it wants."""

    def on_result(self, event: CallEnded) -> None:
        assert_type(event.billed_calls, int)


observers: list[Observer] = [Watching(), LoggingObserver(), OpenTelemetryObserver(), PrometheusObserver()]


async def confirm(inbox: Inbox) -> None:
    async with client.confirmations(inbox, within=5) as confirmed:
        assert_type(confirmed, AsyncClient)


def ways() -> list[AsyncClient]:
    return [
        AsyncClient(credentials, http_client=httpx.AsyncClient()),
        AsyncClient(credentials, http_client=httpx2.AsyncClient()),
        AsyncClient(credentials, transport=httpx2.AsyncHTTPTransport()),
        AsyncClient(credentials, transport=lambda: httpx.AsyncHTTPTransport(retries=1)),
        AsyncClient(credentials, transport=httpx2.AsyncHTTPTransport),
        AsyncClient(credentials, transport=DirectTransport),
        AsyncClient(credentials, transport=SlotsTransport(httpx.AsyncHTTPTransport)),
        AsyncClient(credentials, transport=httpx.AsyncClient()),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        AsyncClient(credentials, transport=httpx.HTTPTransport()),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        AsyncClient(credentials, http_client=httpx.Client()),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ]
