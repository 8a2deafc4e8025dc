"""The fence: who may write and send, and until when; asked in PostgreSQL and on the boot-time clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.postgres import Postgres
from tests.fleet.proxy import Proxy
from tests.fleet.service import Service, credentials
from tusfacturas_async import JournalError, Outcome, ReprocessResult
from tusfacturas_async.fleet import Fleet, PostgresJournal, lease, store
from tusfacturas_async.fleet.lease import Lease
from tusfacturas_async.fleet.writer import Claim, Record

ME = credentials("p").identity
NOW = datetime.now(UTC)
ACCEPTED = ReprocessResult("a", Outcome.ACCEPTED, settled_by="response")


async def sql(fleet: Fleet, statement: str, *values: object) -> list[tuple[Any, ...]]:
    async def work(connection: Any) -> list[tuple[Any, ...]]:
        cursor = await connection.execute(statement, values)
        return await cursor.fetchall() if cursor.description else []

    return await fleet._store.run(work)


async def take(fleet: Fleet, name: str = "p") -> Lease:
    taken = await fleet._leases.take(name)
    assert taken is not None
    return taken


def journal_of(fleet: Fleet, held: Lease, timeout: float = 0.0) -> PostgresJournal:
    return PostgresJournal(fleet._store, fleet._leases, fleet._writer, held, timeout=timeout, adopt=True)


@asynccontextmanager
async def taken_over(fleet: Fleet, other: Fleet) -> AsyncIterator[tuple[PostgresJournal, PostgresJournal]]:
    """A holder that has claimed "a", and the one that took the point of sale over."""
    stale = journal_of(fleet, await take(fleet))
    assert await stale.sending(ME, "a", NOW) is None
    await sql(other, "UPDATE tusfacturas.point SET expires_at = clock_timestamp() - interval '1 second'")
    yield stale, journal_of(other, await take(other))


async def test_the_gate_closes_before_postgresql_lets_another_in(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the boot-time clock, with a margin: a machine that slept finds it closed."""
    now = lease.boot_time()
    monkeypatch.setattr(lease, "boot_time", lambda: now)
    async with Fleet(conninfo, lease=60.0) as fleet:
        held = await take(fleet)
        assert held.refusal() is None
        now += 47.9
        assert held.refusal() is None
        now += 0.2
        assert "could not be renewed" in (held.refusal() or "")
        ((left,),) = await sql(fleet, "SELECT expires_at > clock_timestamp() FROM tusfacturas.point")
        assert left, "in PostgreSQL it is held still"


async def test_a_lease_is_one_holders_until_it_expires_or_is_given_back(conninfo: str) -> None:
    """Each taking raises the epoch."""
    async with Fleet(conninfo) as fleet, Fleet(conninfo) as other:
        held = await take(fleet)
        assert await other._leases.take("p") is None
        assert await fleet._leases.take("p") is None, "nor twice in one process"
        await fleet._leases.give_back(held)
        assert held.refusal() is not None
        assert (await take(other)).epoch > held.epoch


async def test_one_process_takes_a_lease_once_however_often_it_is_asked_at_once(conninfo: str) -> None:
    """PostgreSQL lets a holder take again what it has, as an answer may be lost: so it is asked once."""
    async with Fleet(conninfo) as fleet:
        taken = await asyncio.gather(*(fleet._leases.take("p") for _ in range(3)))
        (held,) = [lease for lease in taken if lease is not None]
        await fleet._leases.give_back(held)
        assert await fleet._leases.take("p") is not None


async def test_a_taking_that_a_fail_over_lost_is_not_taken_for_the_next(conninfo: str) -> None:
    """Whoever held it by what the new primary never heard of finds it lost, and what it claimed is fenced."""
    async with Fleet(conninfo, lease=60.0) as fleet, Fleet(conninfo, lease=60.0) as other:
        held = await take(fleet)
        await sql(other, "UPDATE tusfacturas.point SET epoch = 0, holder = NULL, expires_at = NULL")
        await take(other)
        with pytest.raises(JournalError, match="not held"):
            await journal_of(fleet, held).sending(ME, "a", NOW)
        await fleet._store.run(fleet._leases._renew_all)
        assert "taken by another" in (held.refusal() or "")


async def test_a_record_that_arrives_long_after_is_not_of_a_later_claim(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was lost on its way, written again, and then the row was claimed again: in doubt it stays."""
    async with Fleet(conninfo) as fleet:
        held = await take(fleet)
        journal = journal_of(fleet, held)
        late: list[Record] = []
        record = fleet._writer.record

        def kept(each: Record) -> asyncio.Future[tuple[Any, ...] | None]:
            late.append(each)
            return record(each)

        monkeypatch.setattr(fleet._writer, "record", kept)
        await journal.sending(ME, "a", NOW)
        await journal.record(ME, ReprocessResult("a", Outcome.NOT_SENT))
        assert await journal.sending(ME, "a", NOW) is None
        assert await record(late[0]) is None
        assert (await journal.rows(ME, ["a"]))["a"].doubtful
        assert await journal.record(ME, ACCEPTED) is None


async def test_what_cannot_be_written_at_all_keeps_nobody_waiting(conninfo: str) -> None:
    """Who asked is told, and the next group is written."""
    async with Fleet(conninfo) as fleet:
        held = await take(fleet)
        claims = [
            Claim(held.point, held.epoch, reference, NOW, doubtful=False, adopt=True)
            for reference in ("lone \ud800", "good")
        ]
        with pytest.raises(JournalError, match="surrogates"):
            await asyncio.wait_for(fleet._writer.claim(claims[0]), 10)
        assert await asyncio.wait_for(fleet._writer.claim(claims[1]), 10) is not None


async def test_a_holder_that_was_overtaken_neither_claims_nor_records(conninfo: str) -> None:
    """Its outcome is not written over the claim of the later epoch, and it is told so."""
    async with (
        Fleet(conninfo) as fleet,
        Fleet(conninfo) as other,
        taken_over(fleet, other) as (stale, holder),
    ):
        with pytest.raises(JournalError, match="not held"):
            await stale.sending(ME, "b", NOW)
        assert await holder.sending(ME, "a", NOW, doubtful=True) is None
        with pytest.raises(JournalError, match="another holder"):
            await stale.record(ME, ACCEPTED)
        assert await holder.record(ME, ACCEPTED) is None


async def test_an_outcome_that_comes_late_is_kept_under_its_own_epoch(conninfo: str) -> None:
    """The later holder has not claimed the row yet: the truth is written, and forbids the sending."""
    async with (
        Fleet(conninfo) as fleet,
        Fleet(conninfo) as other,
        taken_over(fleet, other) as (stale, holder),
    ):
        assert (await holder.rows(ME, ["a"]))["a"].doubtful
        assert await stale.record(ME, ACCEPTED) is None
        row = await holder.sending(ME, "a", NOW, doubtful=True)
        assert row is not None
        assert row.outcome is Outcome.ACCEPTED


@asynccontextmanager
async def falls_silent(proxy: Proxy, word: bytes, doing: Coroutine[Any, Any, Any]) -> AsyncIterator[None]:
    """Within, who does this has sent the piece with that word, and nothing after it."""
    proxy.mute_after = word
    task = asyncio.create_task(doing)
    while proxy.mute_after is not None:
        await asyncio.sleep(0.01)
    async with asyncio.timeout(20):
        yield
    proxy.cut()
    await asyncio.gather(task, return_exceptions=True)  # it may well be told that it was overtaken


async def test_who_is_paused_within_a_group_holds_no_row(
    conninfo: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who takes over need not wait until it wakes."""
    monkeypatch.setattr(store, "ATTEMPT", 60.0)
    async with (
        Proxy(postgres.folder) as proxy,
        Fleet(conninfo.replace(str(postgres.folder), str(proxy.folder)), lease=60.0) as fleet,
        Fleet(conninfo, lease=60.0) as other,
        taken_over(fleet, other) as (stale, holder),
    ):

        async def both() -> None:
            await asyncio.gather(stale.record(ME, ACCEPTED), stale.sending(ME, "b", NOW))

        async with falls_silent(proxy, b"UPDATE tusfacturas.work", both()):
            await holder.sending(ME, "a", NOW, doubtful=True)


async def test_who_is_paused_while_it_wakes_keeps_nobody_from_waking(
    conninfo: str, postgres: Postgres
) -> None:
    """The job's lock is another's again at once."""
    async with (
        Proxy(postgres.folder) as proxy,
        Fleet(conninfo.replace(str(postgres.folder), str(proxy.folder))) as fleet,
        Fleet(conninfo) as other,
    ):
        async with falls_silent(proxy, b"procrastinate_defer_job", fleet.jobs.wake("p")):
            await other.jobs.wake("p")
            assert await sql(other, "SELECT count(*) FROM tusfacturas.procrastinate_jobs") == [(1,)]


@pytest.mark.parametrize("word", [b"FROM STDIN", b"ON CONFLICT (name) DO UPDATE"], ids=["COPY", "know"])
async def test_who_is_paused_while_it_submits_keeps_no_lease_from_its_holder(
    word: bytes, conninfo: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows come before the lock, and a silent transaction loses its lock. It goes on when it wakes."""
    monkeypatch.setattr(store, "ATTEMPT", 60.0)
    async with (
        Proxy(postgres.folder) as proxy,
        Fleet(conninfo.replace(str(postgres.folder), str(proxy.folder))) as fleet,
        Fleet(conninfo, lease=60.0) as other,
    ):
        await other.submit("p", ["a"])
        async with falls_silent(proxy, word, fleet.submit("p", ["b", "c"])):
            await take(other)
        assert (await other.progress()).counts == {"waiting": 3}


async def test_who_wakes_without_its_transaction_does_it_again(conninfo: str) -> None:
    """PostgreSQL has ended it, and its connection, while it slept."""
    naps = [0.5, 0.0]

    async def work(connection: store.Connection) -> str:
        async with connection.transaction():
            await connection.execute("SET LOCAL idle_in_transaction_session_timeout = '50ms'")
            await asyncio.sleep(naps.pop(0))
            await connection.execute("SELECT 1")
        return "done"

    async with Fleet(conninfo) as fleet:
        assert await fleet._store.run(work) == "done"
    assert naps == []


async def test_the_renewal_finds_a_lease_lost(conninfo: str) -> None:
    """Its gate closes, and who sends below it is told."""
    async with Fleet(conninfo, lease=1.0) as fleet, Fleet(conninfo, lease=60.0) as other:
        held = await take(fleet)
        told = asyncio.Event()
        held.on_trouble = told.set
        await sql(other, "UPDATE tusfacturas.point SET expires_at = clock_timestamp() - interval '1 second'")
        await take(other)
        await asyncio.wait_for(told.wait(), 10)
        assert "taken by another" in (held.refusal() or "")


async def test_what_is_in_doubt_is_not_believed_before_its_request_had_its_time(
    conninfo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request may be worked on still: the claim waits until it is older than the timeout."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with Fleet(conninfo) as fleet, Fleet(conninfo) as other, taken_over(fleet, other) as (_, holder):
        holder._timeout = 30.0
        await holder.rows(ME, ["a"])
        monkeypatch.setattr("tusfacturas_async.fleet.journal.asyncio.sleep", sleep)
        await holder.sending(ME, "a", NOW, doubtful=True)
        await holder.sending(ME, "b", NOW)
    assert 29.0 < slept[0] <= 30.0
    assert slept[1] == 0.0, "what was never sent is in no doubt"


async def test_who_was_overtaken_looks_nothing_up(conninfo: str) -> None:
    """A free lookup has its place in the spacing, too: it is left to the next holder."""
    overtaken = asyncio.Event()

    class Losing(Service):
        async def _resend(self, *arguments: Any) -> None:
            await super()._resend(*arguments)
            await overtaken.wait()

    async with (
        Losing({"p": [["a"]]}) as service,
        Fleet(conninfo, lease=60.0) as fleet,
        Fleet(conninfo) as other,
        service.client(timeout=20.0) as client,
    ):
        await fleet.submit("p", ["a"])
        running = asyncio.create_task(fleet.run("p", client, credentials("p")))
        while not service.sent:
            await asyncio.sleep(0.01)
        await sql(other, "UPDATE tusfacturas.point SET expires_at = clock_timestamp() - interval '1 second'")
        await take(other)
        await fleet._store.run(fleet._leases._renew_all)
        overtaken.set()
        run = await running
        assert run is not None
        assert (run.counts, service.lookups) == ({Outcome.UNKNOWN: 1}, 0)
        assert client.with_credentials(credentials("p"))._channel.fence() is None, "who calls it later may"


async def test_two_names_cannot_share_credentials_and_a_new_token_orphans_nothing(conninfo: str) -> None:
    """The name is the key; the fingerprint beside it is unique."""
    one, changed = credentials("one"), credentials("changed")
    async with Service({"one": [["a", "b"]], "changed": [["a", "b"]]}) as service, Fleet(conninfo) as fleet:
        async with service.client() as client:
            await fleet.submit("p", ["a"])
            await fleet.run("p", client, one)
            await fleet.submit("q", ["x"])
            with pytest.raises(JournalError, match="another point of sale"):
                await fleet.run("q", client, one)
            await fleet.submit("p", ["a", "b"])
            run = await fleet.run("p", client, changed)
    assert run is not None
    assert run.counts == {Outcome.ACCEPTED: 1}, "the row of the old token is known"
    assert dict(service.sent) == {"a": 1, "b": 1}


async def test_a_journal_is_used_with_one_set_of_credentials(conninfo: str) -> None:
    """Another set is refused: it has a name of its own."""
    async with PostgresJournal.open(conninfo, "p", interval=0.0) as journal:
        await journal.rows(ME, ["a"])
        with pytest.raises(JournalError, match="two sets of credentials"):
            await journal.rows(credentials("q").identity, ["a"])


async def test_the_first_start_is_an_interval_after_the_taking(conninfo: str) -> None:
    """What the earlier holder started last is as far away, at least."""
    async with Service({"p": [["a"]]}) as service, Fleet(conninfo) as fleet:
        async with service.client(min_interval=0.3) as client:
            await fleet.submit("p", ["a"])
            before = lease.boot_time()
            await fleet.run("p", client, credentials("p"))
            began = service.arrivals["p"][0] - asyncio.get_running_loop().time() + lease.boot_time() - before
    assert began >= 0.3
