"""Webhooks on the same PostgreSQL: received anywhere, kept once, settling what is sent elsewhere."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.postgres import Postgres
from tests.fleet.proxy import Proxy
from tests.fleet.service import Service, credentials
from tests.fleet.test_fence import journal_of, sql, take
from tusfacturas_async import AsyncClient, JournalError, Outcome, ReprocessResult, RetryPolicy
from tusfacturas_async.fleet import Fleet, PostgresInbox, store
from tusfacturas_async.webhooks import EncoladoWebhook, WebhookEvent, parse_webhook

GOLDEN = Path(__file__).parents[1] / "golden" / "encolado.json"
ME = credentials("p").identity


def now() -> datetime:
    """Not once for the module: PostgreSQL believes no event that is minutes older than its row."""
    return datetime.now(UTC).replace(microsecond=0)


def event(reference: str, evento: str = "encolado", at: datetime | None = None) -> WebhookEvent:
    created = (at or datetime.now(UTC) + timedelta(seconds=1)).astimezone(timezone(timedelta(hours=-3)))
    told = {"creado": f"{created:%d/%m/%Y %H:%M:%S}", "external_reference": reference, "evento": evento}
    return parse_webhook(json.dumps(json.loads(GOLDEN.read_bytes()) | told | {"hook_id": None}).encode())


async def test_an_event_is_kept_once_by_all(conninfo: str) -> None:
    """Two receivers are handed the same delivery: one keeps it, the other is told so."""
    async with PostgresInbox.open(conninfo) as one, PostgresInbox.open(conninfo) as two:
        told = event("a", at=now())
        assert await one.receive(told)
        assert not await two.receive(told)
        state = await two.state("a")
        assert state is not None
        assert state.evento == "encolado"
        assert await two.state("b") is None


async def test_a_late_event_changes_no_state(conninfo: str) -> None:
    """The latest by ``creado`` tells where a voucher stands."""
    async with PostgresInbox.open(conninfo) as inbox:
        await inbox.receive(event("a", "error", now()))
        await inbox.receive(event("a", "encolado", now() - timedelta(hours=1)))
        await inbox.receive(event("b", "encolado", now()))
        states = {state.external_reference: state.evento async for state in inbox.states()}
    assert states == {"a": "error", "b": "encolado"}


async def test_a_confirmation_settles_a_row_wherever_it_is_sent(conninfo: str) -> None:
    """Received by a process that knows nothing of the sending; the sender is told when it records."""
    async with Fleet(conninfo) as fleet, PostgresInbox.open(conninfo) as inbox:
        held = await take(fleet)
        journal = journal_of(fleet, held)
        await journal.sending(ME, "a", now() - timedelta(seconds=5))
        await inbox.receive(event("a"), name="p")
        ((row),) = [row async for row in fleet.results("p")]
    assert (row.outcome, row.settled_by) == (Outcome.ACCEPTED, "webhook")


async def test_a_reference_in_doubt_at_two_points_of_sale_is_settled_when_told_which(conninfo: str) -> None:
    """Else nobody knows whose event it is."""
    async with Fleet(conninfo) as fleet, PostgresInbox.open(conninfo) as inbox:
        for name in ("p", "q"):
            journal = journal_of(fleet, await take(fleet, name))
            await journal.sending(credentials(name).identity, "a", now() - timedelta(seconds=5))
        await inbox.receive(event("a"))
        assert (await fleet.progress()).counts == {"sending": 2}
        await inbox.receive(event("a", at=now() + timedelta(seconds=2)), name="q")
        assert (await fleet.progress("q")).counts == {"accepted": 1}
        assert (await fleet.progress("p")).counts == {"sending": 1}


async def test_an_event_of_another_point_of_sale_settles_nothing(conninfo: str) -> None:
    """Two have the reference, one is accepted: its webhook, which names nobody, is not the other's."""
    async with Fleet(conninfo) as fleet, PostgresInbox.open(conninfo) as inbox:
        for name in ("p", "q"):
            journal = journal_of(fleet, await take(fleet, name))
            await journal.sending(credentials(name).identity, "a", now() - timedelta(seconds=5))
        await journal.record(ME, ReprocessResult("a", Outcome.ACCEPTED, settled_by="response"))
        await inbox.receive(event("a"))
        assert (await fleet.progress("p")).counts == {"sending": 1}


async def test_an_old_event_settles_nothing_though_the_hosts_clock_is_behind(conninfo: str) -> None:
    """Before its first answer a host knows no clock but its own; PostgreSQL's bounds how wrong that is."""
    async with Fleet(conninfo) as fleet, PostgresInbox.open(conninfo) as inbox:
        journal = journal_of(fleet, await take(fleet))
        await journal.sending(ME, "a", now() - timedelta(hours=1))
        await inbox.receive(event("a", at=now() - timedelta(minutes=30)))
        assert (await fleet.progress("p")).counts == {"sending": 1}


async def test_who_waits_for_a_confirmation_hears_of_one_that_another_process_received(conninfo: str) -> None:
    """The inbox of each process is told by NOTIFY: a lost answer is settled without another billed call."""
    async with Service({"0": [["a"]]}, lost=1.0) as service:
        service.dice.random = lambda: 0.9  # type: ignore[method-assign]
        service.lost = 0.95
        policy = RetryPolicy(attempts=3, backoff=1.0)
        client = AsyncClient(credentials("0"), base_url=service.url, retry=policy)
        async with client, PostgresInbox.open(conninfo) as here, PostgresInbox.open(conninfo) as there:
            async with client.confirmations(here, within=20.0) as confirmed:
                while here._seen is None:
                    await asyncio.sleep(0.01)
                sending = asyncio.create_task(confirmed.reprocess("a"))
                while not service.sent:
                    await asyncio.sleep(0.01)
                await there.receive(event("a"))
                async with asyncio.timeout(20):
                    result = await sending
    assert result.settled_by in {"webhook", "lookup"}
    assert dict(service.sent) == {"a": 1}


async def test_a_listener_hears_each_new_event_once(conninfo: str) -> None:
    """Also those that came while the connection was cut."""
    heard: list[str | None] = []
    async with PostgresInbox.open(conninfo) as inbox, PostgresInbox.open(conninfo) as other:
        unsubscribe = inbox.subscribe(lambda each: heard.append(each.external_reference))
        async with asyncio.timeout(20):
            while inbox._seen is None:
                await asyncio.sleep(0.01)
            for number in range(3):
                told = event(f"r{number}")
                await other.receive(told)
                await other.receive(told)
            while len(heard) < 3:
                await asyncio.sleep(0.01)
        unsubscribe()
    assert heard == ["r0", "r1", "r2"]


async def test_a_listener_hears_of_an_event_whose_receiver_was_slow(conninfo: str) -> None:
    """It waits for a row that another has locked, and a later event overtakes it: both are told."""
    heard: list[str | None] = []
    async with Fleet(conninfo) as fleet, PostgresInbox.open(conninfo) as inbox:
        await journal_of(fleet, await take(fleet)).sending(ME, "slow", now() - timedelta(seconds=5))
        inbox.subscribe(lambda each: heard.append(each.external_reference))
        async with asyncio.timeout(20), await psycopg.AsyncConnection.connect(conninfo) as other:
            await other.execute("SELECT FROM tusfacturas.work FOR UPDATE")
            receiving = asyncio.create_task(inbox.receive(event("slow")))
            while not await sql(fleet, "SELECT 1 FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            await inbox.receive(event("fast"))
            while not heard:
                await asyncio.sleep(0.01)
            await other.rollback()
            assert await receiving
            while len(heard) < 2:
                await asyncio.sleep(0.01)
    assert heard == ["fast", "slow"]


async def test_an_event_that_no_text_of_postgresql_can_hold_is_kept_all_the_same(conninfo: str) -> None:
    """Refused, it would be delivered for a day, and then the URL be ignored for good. It settles nothing."""
    async with PostgresInbox.open(conninfo) as inbox:
        told = event("a\0b")
        assert await inbox.receive(told)
        assert not await inbox.receive(told)
        with pytest.raises(ValueError, match="created_at must have a time zone"):
            await inbox.receive(EncoladoWebhook(external_reference="a", created_at=datetime(2026, 11, 24)))  # noqa: DTZ001


async def test_a_listener_hears_of_what_comes_right_after_it_subscribed(conninfo: str) -> None:
    """A re-send does not wait until somebody listens. One that raises ends nobody's listening."""
    heard: list[str | None] = []

    def fail(_: WebhookEvent) -> None:
        raise asyncio.CancelledError

    async with PostgresInbox.open(conninfo) as inbox:
        inbox.subscribe(fail)
        inbox.subscribe(lambda each: heard.append(each.external_reference))
        async with asyncio.timeout(20):
            for number in range(2):
                await inbox.receive(event(f"r{number}"))
                while len(heard) == number:
                    await asyncio.sleep(0.01)
        with pytest.raises(TypeError, match="plain function"):
            inbox.subscribe(inbox.receive)  # type: ignore[arg-type]
    assert heard == ["r0", "r1"]


async def test_a_listener_outlasts_what_cannot_be_read(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL stays away too long while events are read: they are read again, without another word."""
    heard: list[str | None] = []
    failed, told = asyncio.Event(), False
    async with PostgresInbox.open(conninfo) as inbox, PostgresInbox.open(conninfo) as other:
        fetch = inbox._store.fetch

        async def away_once(statement: str, /, **values: object) -> list[tuple[object, ...]]:
            if statement == "events_after" and told and not failed.is_set():
                failed.set()
                raise JournalError("PostgreSQL stayed away")
            return await fetch(statement, **values)

        monkeypatch.setattr(inbox._store, "fetch", away_once)
        inbox.subscribe(lambda each: heard.append(each.external_reference))
        async with asyncio.timeout(20):
            while inbox._seen is None:
                await asyncio.sleep(0.01)
            told = True
            await other.receive(event("a"))
            while not heard:
                await asyncio.sleep(0.01)
    assert (heard, failed.is_set()) == (["a"], True)


async def test_a_listener_whose_way_is_lost_finds_out(
    conninfo: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes through and nothing is closed: it asks when it has heard nothing, and listens anew."""
    monkeypatch.setattr(store, "_SILENCE", 0.1)
    monkeypatch.setattr(store, "ATTEMPT", 0.5)
    connect, connected = store._connect, 0

    async def counted(conninfo: str) -> store.Connection:
        nonlocal connected
        connected += 1
        return await connect(conninfo)

    monkeypatch.setattr(store, "_connect", counted)
    async with Proxy(postgres.folder) as proxy:
        through = store.Store(conninfo.replace(str(postgres.folder), str(proxy.folder)), patience=0.0)
        async with asyncio.timeout(60), aclosing(through.listen("channel")) as listening:
            await anext(listening)
            proxy.mute()
            await anext(listening)
    assert connected == 2
