"""sentry-sdk: its httpx integration patches ``httpx.AsyncClient.send``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import sentry_sdk
from sentry_sdk.integrations.httpx import HttpxIntegration

from tests.ecosystem.counting import ONCE, counting
from tests.helpers import ended
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import AsyncClient, Evidence, TusFacturasError


@pytest.fixture(scope="module", autouse=True)
def _patched() -> Iterator[None]:
    """The integration patches once and for ever: for the tests of this module alone."""
    clients: tuple[Any, ...] = (httpx.Client, httpx.AsyncClient)
    real = [client.send for client in clients]
    yield
    for client, send in zip(clients, real, strict=True):
        client.send = send


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    """What would go to sentry."""
    sent: list[dict[str, Any]] = []

    def keep(event: Any, hint: Any) -> None:
        sent.append(event)

    sentry_sdk.init(
        dsn="http://key@127.0.0.1:9/1",
        traces_sample_rate=1.0,
        before_send=keep,
        before_send_transaction=keep,
        default_integrations=False,
        integrations=[HttpxIntegration()],
        max_request_body_size="always",
    )
    yield sent
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


async def test_a_span_and_its_headers(events: list[dict[str, Any]]) -> None:
    """The request is a span of the transaction, and carries it on."""
    async with counting() as (server, client):
        with sentry_sdk.start_transaction(name="resend", op="task") as transaction:
            await client.reprocess("r0")
    (event,) = events
    assert [span["op"] for span in event["spans"]] == ["http.client"]
    assert server.heads[0]["sentry-trace"].startswith(transaction.trace_id)


async def test_a_refused_connection_stays_proven(events: list[dict[str, Any]]) -> None:
    """And what is reported of it, with the locals of every frame, holds no credential."""
    async with counting() as (server, _):
        url = server.url
    async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE) as client:
        with sentry_sdk.start_transaction(name="resend", op="task"):
            assert [a.evidence for a in (await ended(client)).attempts] == [Evidence.NOT_SENT]
        try:
            await client.reprocess("r0")
        except TusFacturasError as error:
            sentry_sdk.capture_exception(error)
    assert len(events) == 2
    assert not [secret for secret in (CREDENTIALS.apitoken, CREDENTIALS.usertoken) if secret in str(events)]
