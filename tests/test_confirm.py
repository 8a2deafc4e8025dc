"""Results that wait for their webhook."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback.server import CREDENTIALS
from tusfacturas_async import (
    AsyncClient,
    Credentials,
    Inbox,
    Journal,
    Outcome,
    OutcomeUnknownError,
    RetryPolicy,
    WebhookReceiver,
    parse_webhook,
    sign_webhook,
)
from tusfacturas_async._call.clock import ServiceClock, utcnow
from tusfacturas_async.sandbox import WEBHOOK_TOKEN, Sandbox


def told(reference: str, evento: str = "encolado", ago: timedelta = timedelta()) -> Any:
    return parse_webhook(
        sign_webhook("t", evento=evento, external_reference=reference, creado=utcnow() - ago).body
    )


async def test_a_webhook_confirms_one(tmp_path: Path) -> None:
    """The sandbox's own delivery, through a receiver and an inbox; it comes before the answer."""
    async with Inbox.open(tmp_path / "inbox") as inbox:
        receiver = WebhookReceiver(inbox.receive, tokens=WEBHOOK_TOKEN)
        async with Sandbox(["a"], webhook=receiver) as sandbox, sandbox.client() as client:
            async with client.confirmations(inbox) as confirmed:
                result = await confirmed.reprocess("a")
    assert (result.outcome, result.settled_by, result.billed_calls) == (Outcome.ACCEPTED, "webhook", 1)


async def test_a_batch_is_confirmed_while_its_workers_go_on(tmp_path: Path) -> None:
    """Events that come late hold no slot; repeats and refusals are what they were."""
    references = [f"r{n}" for n in range(100)]
    async with Inbox.open(tmp_path / "inbox") as inbox:

        async def late(event: Any) -> None:
            await asyncio.sleep(0.3)
            await inbox.receive(event)

        receiver = WebhookReceiver(late, tokens=WEBHOOK_TOKEN)
        async with (
            Sandbox(references, webhook=receiver) as sandbox,
            sandbox.client(max_concurrency=2) as client,
        ):
            async with client.confirmations(inbox) as confirmed:
                report = await confirmed.reprocess_all([*references, "nobody", "r1"])
    assert Counter((r.outcome, r.settled_by) for r in report.results) == {
        (Outcome.ACCEPTED, "webhook"): 101,
        (Outcome.NOT_FOUND, "response"): 1,
    }


async def test_an_event_that_does_not_come_changes_nothing(tmp_path: Path) -> None:
    """After the time limit the answer stands; an older event is no confirmation."""
    async with Inbox.open(tmp_path / "inbox") as inbox:
        async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
            async with client.confirmations(inbox, within=0.05) as confirmed:
                calling = asyncio.create_task(confirmed.reprocess("a"))
                await asyncio.sleep(0.01)
                await inbox.receive(told("a", ago=timedelta(hours=3)))
                await inbox.receive(told("a", "error"))
                await inbox.receive(told("b"))
                result = await calling
                report = await confirmed.reprocess_all(["b"])
                assert confirmed._confirmations is not None
                assert confirmed._confirmations._expected == {}
    assert (result.settled_by, report.results[0].settled_by) == ("response", "response")


def losing(inbox: Inbox, *, tells: bool) -> tuple[httpx.MockTransport, list[str]]:
    """A service that takes re-sends, loses every answer and every lookup, and may tell by webhook."""
    resends: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("reenviar_encolado"):
            resends.append("a")
            if tells:
                await inbox.receive(told("a"))
        return httpx.Response(524)

    return httpx.MockTransport(handler), resends


async def test_a_lost_answer_is_settled_by_its_event(tmp_path: Path) -> None:
    """Without a second billed call, though no lookup can tell; the batch's journal has it."""
    async with Inbox.open(tmp_path / "inbox") as inbox, Journal.open(tmp_path / "journal") as journal:
        transport, resends = losing(inbox, tells=True)
        policy = RetryPolicy(attempts=3, backoff=0)
        async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0, retry=policy) as client:
            async with client.confirmations(inbox) as confirmed:
                (result,) = (await confirmed.reprocess_all(["a"], journal=journal)).results
        assert (result.outcome, result.settled_by, result.error) == (Outcome.ACCEPTED, "webhook", None)
        assert await journal.summary() == {"accepted": 1}
    assert resends == ["a"]


async def test_an_unknown_waits_for_its_event(tmp_path: Path) -> None:
    """One that comes when the attempts are used up settles it; without one it stays unknown."""
    async with Inbox.open(tmp_path / "inbox") as inbox, Journal.open(tmp_path / "journal") as journal:
        transport, resends = losing(inbox, tells=False)
        policy = RetryPolicy(attempts=1, backoff=0)
        async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0, retry=policy) as client:
            async with client.confirmations(inbox, within=60) as confirmed:
                batch = asyncio.create_task(confirmed.reprocess_all(["a"], journal=journal))
                while not resends:  # an event from before proves nothing
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.05)
                await inbox.receive(told("a"))
                (result,) = (await batch).results
            async with client.confirmations(inbox, within=0.05) as confirmed:
                with pytest.raises(OutcomeUnknownError):
                    await confirmed.reprocess("b")
        assert await journal.summary() == {"accepted": 1}
    assert (result.outcome, result.settled_by) == (Outcome.ACCEPTED, "webhook")


async def test_leaving_a_batch_does_not_wait_for_events(tmp_path: Path) -> None:
    """What is accepted is accepted; nothing is left waiting."""
    before = asyncio.all_tasks()
    async with Inbox.open(tmp_path / "inbox") as inbox, Sandbox(["a", "b"]) as sandbox:
        async with sandbox.client() as client, client.confirmations(inbox, within=3600) as confirmed:
            async with confirmed.reprocess_many(["a", "b"]) as batch:
                while sandbox.queue.billed_calls < 2:
                    await asyncio.sleep(0.001)
            assert confirmed._confirmations is not None
            assert confirmed._confirmations._expected == {}
            assert batch.progress.done == {Outcome.ACCEPTED: 2}
        assert client is not None
    assert asyncio.all_tasks() == before


async def test_an_emitido_confirms_as_well(tmp_path: Path) -> None:
    """It may overtake the ``encolado``."""
    async with Inbox.open(tmp_path / "inbox") as inbox:
        async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
            async with client.confirmations(inbox, within=5) as confirmed:
                calling = asyncio.create_task(confirmed.reprocess("a"))
                await asyncio.sleep(0.01)
                await inbox.receive(told("a", "emitido"))
                assert (await calling).settled_by == "webhook"


@pytest.mark.parametrize(
    ("dated", "ahead", "ago", "settled"),
    [
        (True, 0, 90, False),
        (True, 0, 0, True),
        (True, 0, 1, True),
        (True, 3600, 3600 + 90, False),
        (True, 3600, 3600, False),
        (True, 3600, 0, True),
        (True, -3600, 0, True),
        (True, -3600, 5, False),
        (False, 0, 5, False),
        (False, 0, 0, True),
        (False, 3600, 90, False),
        (True, 0, -60, False),
    ],
)
async def test_an_event_is_judged_by_the_services_own_clock(
    dated: bool, ahead: int, ago: int, settled: bool, tmp_path: Path
) -> None:
    """``Date`` teaches it, within 2 seconds; without one no older event settles a request that got lost."""

    def service_now() -> datetime:
        return utcnow() + timedelta(seconds=ahead)

    async def handler(request: httpx.Request) -> httpx.Response:
        headers = {"date": format_datetime(service_now(), usegmt=True)} if dated else {}
        if request.url.path.endswith("consulta_avanzada"):
            return httpx.Response(503, headers=headers)
        if b'"first"' in request.content:
            return httpx.Response(200, json={"error": "N", "errores": []}, headers=headers)
        event = sign_webhook("t", external_reference="a", creado=service_now() - timedelta(seconds=ago))
        await inbox.receive(parse_webhook(event.body))
        raise httpx.ReadTimeout("lost")

    policy = RetryPolicy(attempts=1, backoff=0)
    options: dict[str, Any] = {"transport": httpx.MockTransport(handler), "min_interval": 0, "retry": policy}
    async with Inbox.open(tmp_path / "inbox") as inbox, AsyncClient(CREDENTIALS, **options) as client:
        async with client.confirmations(inbox, within=0.01) as confirmed:
            await confirmed.reprocess("first")
            (result,) = (await confirmed.reprocess_all(["a"])).results
    assert result.outcome is (Outcome.ACCEPTED if settled else Outcome.UNKNOWN)
    assert result.settled_by == ("webhook" if settled else None)


@pytest.mark.parametrize(
    "date", ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "yesterday"]
)
def test_an_absurd_date_teaches_nothing(date: str) -> None:
    """Nor does it break anything: no older event is believed, as without one."""
    clock, now = ServiceClock(), utcnow()
    clock.learn({"date": date}, now)
    assert clock.earliest_event(now) == now.replace(microsecond=0)


def test_a_date_that_lags_makes_no_older_event_believed() -> None:
    """Somebody on the way may have kept it: the furthest of the last few counts."""
    clock, now = ServiceClock(), utcnow()
    for ago in (0, 600):
        clock.learn({"date": format_datetime(now - timedelta(seconds=ago), usegmt=True)}, now)
    assert now - timedelta(seconds=4) < clock.earliest_event(now) <= now


async def test_an_event_without_a_time_proves_nothing(tmp_path: Path) -> None:
    """It may be of any sending before this one."""

    async def handler(request: httpx.Request) -> httpx.Response:
        body = {"evento": "encolado", "recurso": "facturacion", "external_reference": "a"}
        await inbox.receive(parse_webhook(json.dumps(body).encode()))
        return httpx.Response(524)

    policy = RetryPolicy(attempts=1, backoff=0)
    options: dict[str, Any] = {"transport": httpx.MockTransport(handler), "min_interval": 0, "retry": policy}
    async with Inbox.open(tmp_path / "inbox") as inbox, AsyncClient(CREDENTIALS, **options) as client:
        async with client.confirmations(inbox, within=0.01) as confirmed:
            (result,) = (await confirmed.reprocess_all(["a"])).results
    assert result.outcome is Outcome.UNKNOWN


async def test_an_event_confirms_nothing_of_another_point_of_sale(tmp_path: Path) -> None:
    """An event does not say whose it is; two points of sale may use one reference."""
    stranger = Credentials(apikey="2", apitoken="two-apitoken", usertoken="two-usertoken")
    async with Inbox.open(tmp_path / "inbox") as inbox:
        transport, _ = losing(inbox, tells=True)
        policy = RetryPolicy(attempts=1, backoff=0)
        async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0, retry=policy) as client:
            async with client.confirmations(inbox, within=0.01) as confirmed:
                assert (await confirmed.with_credentials(CREDENTIALS).reprocess("a")).settled_by == "webhook"
                with pytest.raises(OutcomeUnknownError):
                    await confirmed.with_credentials(stranger).reprocess("a")
