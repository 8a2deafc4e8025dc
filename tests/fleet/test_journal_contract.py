"""What every journal promises a batch: one suite over the SQLite file and the PostgreSQL table."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tusfacturas_async import (
    Attempt,
    Evidence,
    Journal,
    JournalError,
    JournalInUseError,
    NotSentError,
    Outcome,
    ReprocessResult,
)
from tusfacturas_async.results import SettledBy
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS
from tusfacturas_async.webhooks import EncoladoWebhook, TestWebhook, parse_webhook

OPEN = Callable[[], AbstractAsyncContextManager[Any]]

GOLDEN = Path(__file__).parents[1] / "golden"
ARGENTINA = timezone(timedelta(hours=-3))
ME = SANDBOX_CREDENTIALS.identity
NOW = datetime.now(UTC)
SENT = Attempt(1, NOW, 0.1, Evidence.ANSWERED, 200)


@pytest.fixture(params=["sqlite", "postgres"])
def opens(request: pytest.FixtureRequest, tmp_path: Path) -> OPEN:
    """How to open the journal, again and again."""
    if request.param == "sqlite":
        return lambda: Journal.open(tmp_path / "journal.db")
    conninfo = request.getfixturevalue("conninfo")
    from tusfacturas_async.fleet import PostgresJournal

    return lambda: PostgresJournal.open(conninfo, "pdv-1", lease=1.0, interval=0.0, timeout=0.2)


def result(outcome: Outcome, reference: str = "a", *, billed: int = 1) -> ReprocessResult:
    error = None if outcome is Outcome.ACCEPTED else NotSentError("why not")
    settled_by: SettledBy | None = "response" if outcome in {Outcome.ACCEPTED, Outcome.REJECTED} else None
    return ReprocessResult(reference, outcome, settled_by=settled_by, attempts=(SENT,) * billed, error=error)


def confirmation(reference: str, at: datetime) -> EncoladoWebhook:
    payload = json.loads((GOLDEN / "encolado.json").read_bytes())
    created = f"{at.astimezone(ARGENTINA):%d/%m/%Y %H:%M:%S}"
    body = json.dumps(payload | {"creado": created, "external_reference": reference}).encode()
    event = parse_webhook(body)
    assert isinstance(event, EncoladoWebhook)
    return event


async def test_what_was_never_written_is_not_known(opens: OPEN) -> None:
    """A reference without a row is not in the answer."""
    async with opens() as journal:
        assert await journal.rows(ME, ["a"]) == {}


async def test_a_claim_is_doubtful_until_its_outcome_is_recorded(opens: OPEN) -> None:
    """ "sending" comes first, and survives the journal's closing."""
    async with opens() as journal:
        assert await journal.sending(ME, "a", NOW) is None
    async with opens() as journal:
        row = (await journal.rows(ME, ["a", "b"]))["a"]
        assert (row.outcome, row.doubtful, row.final, row.fingerprint) == (None, True, False, ME.fingerprint)
        forbids = await journal.sending(ME, "a", NOW)
        assert forbids is not None
        assert forbids.doubtful, "who sends it must look it up"
        assert await journal.sending(ME, "a", NOW, doubtful=True) is None
        assert await journal.record(ME, result(Outcome.ACCEPTED)) is None
        row = (await journal.rows(ME, ["a"]))["a"]
    assert (row.outcome, row.final, row.settled_by) == (Outcome.ACCEPTED, True, "response")


async def test_a_final_row_forbids_a_sending(opens: OPEN) -> None:
    """Who asks late is told the row, and does not send."""
    async with opens() as journal:
        await journal.sending(ME, "a", NOW)
        await journal.record(ME, result(Outcome.REJECTED))
        row = await journal.sending(ME, "a", NOW)
    assert row is not None
    assert (row.outcome, row.error) == (Outcome.REJECTED, "why not")


async def test_a_live_claim_forbids_another(opens: OPEN) -> None:
    """Two batches over one journal do not send the same reference at once."""
    async with opens() as journal:
        assert await journal.sending(ME, "a", NOW) is None
        row = await journal.sending(ME, "a", NOW)
        assert row is not None
        assert not row.final
        journal.release(ME, "a")
        assert (await journal.rows(ME, ["a"]))["a"].doubtful
        assert await journal.sending(ME, "a", NOW, doubtful=True) is None


@pytest.mark.parametrize("outcome", [Outcome.HELD, Outcome.NOT_SENT, Outcome.UNKNOWN])
async def test_what_is_open_is_sent_again_and_what_was_billed_adds_up(opens: OPEN, outcome: Outcome) -> None:
    """An outcome that is not final forbids nothing; billed calls are counted over all runs."""
    async with opens() as journal:
        await journal.sending(ME, "a", NOW)
        await journal.record(ME, result(outcome, billed=2))
    async with opens() as journal:
        before = (await journal.rows(ME, ["a"]))["a"]
        assert (before.outcome, before.final) == (outcome, False)
        assert await journal.sending(ME, "a", NOW, doubtful=before.doubtful) is None
        await journal.record(ME, result(Outcome.ACCEPTED))
        row = (await journal.rows(ME, ["a"]))["a"]
    assert (row.outcome, row.billed_calls, row.error) == (Outcome.ACCEPTED, 3, None)


async def test_a_webhook_settles_what_is_being_sent_and_is_not_lowered(opens: OPEN) -> None:
    """ACCEPTED by its event stands against an UNKNOWN that is recorded later, which is told so."""
    now = datetime.now(UTC)  # PostgreSQL believes no event that is minutes older than its row
    async with opens() as journal:
        await journal.sending(ME, "a", now - timedelta(seconds=5))
        assert await journal.settle(confirmation("a", now))
        row = await journal.record(ME, result(Outcome.UNKNOWN))
        assert row is not None
        assert (row.outcome, row.settled_by) == (Outcome.ACCEPTED, "webhook")
        assert not await journal.settle(confirmation("a", now)), "there is nothing left to settle"


async def test_an_event_from_before_the_sending_settles_nothing(opens: OPEN) -> None:
    """It tells of an earlier re-send."""
    async with opens() as journal:
        await journal.sending(ME, "a", NOW)
        assert not await journal.settle(confirmation("a", NOW - timedelta(hours=1)))
        assert not await journal.settle(confirmation("b", NOW))


async def test_an_event_that_confirms_nothing_settles_nothing(opens: OPEN) -> None:
    """Who hands every event on would have an ``error`` stand as accepted."""
    now = datetime.now(UTC)
    payload = confirmation("a", now + timedelta(seconds=1)).raw
    async with opens() as journal:
        await journal.sending(ME, "a", now - timedelta(seconds=5))
        for evento in ("error", "eliminado", "cambio_fecha", "unheard-of"):
            event = parse_webhook(json.dumps({**payload, "evento": evento}).encode())
            assert not await journal.settle(event)
        assert not await journal.settle(TestWebhook())
        assert await journal.summary() == {"sending": 1}


async def test_a_time_without_a_zone_is_refused(opens: OPEN) -> None:
    """Whose clock it is nobody knows: PostgreSQL would take its session's, and an old event settle a row."""
    naive = datetime(2026, 11, 24, 12, 0)  # noqa: DTZ001 - that is what is refused
    async with opens() as journal:
        with pytest.raises(ValueError, match="since must have a time zone"):
            await journal.sending(ME, "a", naive)
        await journal.sending(ME, "a", NOW)
        with pytest.raises(ValueError, match="created_at must have a time zone"):
            await journal.settle(EncoladoWebhook(external_reference="a", created_at=naive))


async def test_what_runs_on_when_it_is_closed_is_told_so(opens: OPEN) -> None:
    """It would wait for ever for its outcome to be written."""
    async with opens() as journal:
        await journal.sending(ME, "a", NOW)
    with pytest.raises(JournalError, match="is not open"):
        await asyncio.wait_for(journal.record(ME, result(Outcome.ACCEPTED)), 20)


async def test_a_verdict_is_recorded_without_a_claim(opens: OPEN) -> None:
    """What the free lookup showed ahead of the sending needs none."""
    async with opens() as journal:
        assert await journal.record(ME, result(Outcome.SKIPPED, billed=0)) is None
        assert (await journal.rows(ME, ["a"]))["a"].final


async def test_it_tells_all_it_knows(opens: OPEN) -> None:
    """Each row, and how many there are of each outcome."""
    async with opens() as journal:
        for reference in ("a", "b", "c"):
            await journal.sending(ME, reference, NOW)
        await journal.record(ME, result(Outcome.ACCEPTED, "a"))
        await journal.record(ME, result(Outcome.UNKNOWN, "b"))
        assert await journal.summary() == {"accepted": 1, "sending": 1, "unknown": 1}
        rows = {row.external_reference: row.outcome async for row in journal}
    assert rows == {"a": Outcome.ACCEPTED, "b": Outcome.UNKNOWN, "c": None}


async def test_one_holds_it_at_a_time(opens: OPEN) -> None:
    """A second one that opens it is refused, and the first one goes on."""
    async with opens() as journal:
        with pytest.raises(JournalInUseError, match="in use"):
            async with opens():
                pass
        assert await journal.sending(ME, "a", NOW) is None


async def test_its_gate_is_open_while_it_is_held(opens: OPEN) -> None:
    """A file needs none; a lease says why not, once it is given back."""
    async with opens() as journal:
        assert journal.gate is None or journal.gate() is None
