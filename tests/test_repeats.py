"""One reference given more than once: one call, told and counted once, and true of each voucher."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import (
    AsyncClient,
    Inbox,
    Journal,
    Outcome,
    OutcomeUnknownError,
    Progress,
    Voucher,
    VoucherStatus,
    parse_webhook,
    sign_webhook,
)
from tusfacturas_async.sandbox import Sandbox, State, StoredVoucher


async def test_a_repeat_in_hand_is_no_second_call() -> None:
    """It shares the outcome of the first; every reference given still gets a result."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(["a", "b", "a", "a", "b"])
    assert Counter((r.external_reference, r.outcome) for r in report.results) == {
        ("a", Outcome.ACCEPTED): 3,
        ("b", Outcome.ACCEPTED): 2,
    }
    assert sandbox.queue.billed_calls == 2


async def test_a_repeat_of_one_that_waits_for_the_consumer_is_no_second_call() -> None:
    """As long as its result was not taken it is in hand."""
    gate = asyncio.Event()

    async def references() -> AsyncIterator[str]:
        yield "a"
        await gate.wait()
        yield "a"

    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        async with client.reprocess_many(references()) as batch:
            while not sandbox.queue.billed_calls or batch.progress.in_flight:
                await asyncio.sleep(0)
            gate.set()
            await asyncio.sleep(0.01)
            outcomes = [result.outcome async for result in batch]
    assert (outcomes, sandbox.queue.billed_calls) == ([Outcome.ACCEPTED] * 2, 1)


@pytest.mark.parametrize(
    ("vouchers", "outcome", "billed"), [(["a"], Outcome.ACCEPTED, 1), ([], Outcome.NOT_FOUND, 1)]
)
async def test_a_report_has_one_outcome_of_each_reference(
    vouchers: list[str], outcome: Outcome, billed: int
) -> None:
    """It keeps all results, so it remembers them: sent anew, an accepted one would come out as not found."""

    async def references() -> AsyncIterator[str]:
        for _ in range(3):
            yield "a"
            await asyncio.sleep(0.05)

    async with Sandbox(vouchers) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(references())
    assert [(result.outcome, result.shared) for result in report.results] == [
        (outcome, False),
        (outcome, True),
        (outcome, True),
    ]
    assert report.billed_calls == sandbox.queue.billed_calls == billed


async def test_repeats_are_billed_once() -> None:
    """In the report as in the progress, and as the service counts."""
    given = ["a", "a", "b", "a", "x", "x"]
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(given)
        assert report.billed_calls == sandbox.queue.billed_calls == 3
        assert report.counts == {Outcome.ACCEPTED: 4, Outcome.NOT_FOUND: 2}
        first = [result for result in report.results if not result.shared]
        assert sorted(result.external_reference for result in first) == ["a", "b", "x"]
        assert all(len(result.attempts) == (not result.shared) for result in report.results)

        batch = client.reprocess_many(given)
        async with batch:
            async for _ in batch:
                pass
        assert batch.progress.billed_calls == sandbox.queue.billed_calls - 3 == 3


async def test_repeats_save_nothing() -> None:
    """A screened reference saves one call, however often it is given; so does none that was sent."""
    vouchers: list[StoredVoucher | str] = ["sent", StoredVoucher("queued", State.QUEUED)]
    async with Sandbox(vouchers) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(["queued", "sent", "queued", "nobody", "sent"], check_first=True)
    assert report.counts == {Outcome.ACCEPTED: 2, Outcome.SKIPPED: 2, Outcome.NOT_FOUND: 1}
    assert (report.saved_calls, report.billed_calls, sandbox.queue.billed_calls) == (2, 1, 1)


# -- vouchers that share a reference --------------------------------------------------------------


def voucher(numero: int, tipo: str = "FACTURA A", reference: str = "shared") -> Voucher:
    return Voucher(reference, VoucherStatus.ERRORED, tipo=tipo, punto_venta=1, numero=numero)


async def test_two_vouchers_with_one_reference_are_both_unknown(tmp_path: Path) -> None:
    """One call is made, and it may have meant either; the journal says so, and the next run looks first."""
    async with (
        Sandbox(["shared", "other"]) as sandbox,
        sandbox.client() as client,
        Journal.open(tmp_path / "journal") as journal,
    ):
        given: list[str | Voucher] = [voucher(1), "other", voucher(2), voucher(1), voucher(3)]
        report = await client.reprocess_all(given, journal=journal)
        assert await journal.summary() == {"accepted": 1, "unknown": 1}
    assert sandbox.queue.billed_calls == report.billed_calls == 2
    told = [result for result in report.results if result.external_reference == "shared"]
    assert [result.outcome for result in told] == [Outcome.UNKNOWN] * 4
    assert [len(result.attempts) for result in told] == [1, 0, 0, 0]
    assert [result.response is not None for result in told] == [True, False, True, False]
    for result in told:
        assert isinstance(result.error, OutcomeUnknownError)
        assert "3 vouchers share the reference 'shared'" in str(result.error)
        assert str(result.error).count("came out as") == str(result.error).count("as accepted") == 1


async def test_one_voucher_given_twice_is_a_repeat() -> None:
    """Equal vouchers are one; so are a voucher and its bare reference."""
    async with Sandbox(["shared"]) as sandbox, sandbox.client() as client:
        given: list[str | Voucher] = [voucher(1), "shared", voucher(1)]
        report = await client.reprocess_all(given)
    assert report.counts == {Outcome.ACCEPTED: 3}
    assert sandbox.queue.billed_calls == 1


@pytest.mark.parametrize("first", [voucher(1), "nobody"], ids=["voucher", "text"])
async def test_what_holds_for_all_of_a_reference(first: Voucher | str) -> None:
    """Not found is not found for each of them."""
    async with Sandbox() as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(
            [first, voucher(1, reference="nobody"), voucher(2, reference="nobody")]
        )
    assert set(report.counts) == {Outcome.NOT_FOUND}


@pytest.mark.parametrize(
    ("tipo", "beside"), [("NOTA DE CREDITO A", Outcome.ACCEPTED), ("FACTURA A", Outcome.HELD)]
)
async def test_a_voucher_that_comes_after_the_outcome_is_unknown_alone(
    tipo: str, beside: Outcome, tmp_path: Path
) -> None:
    """What was told and recorded of the first stands; nothing more is sent, and the late one's lane stops."""
    gate = asyncio.Event()

    async def references() -> AsyncIterator[Voucher]:
        yield voucher(1)
        await gate.wait()
        yield voucher(2, tipo)
        yield voucher(3, tipo, reference="behind it")
        yield voucher(4, "FACTURA A", reference="beside it")

    async with (
        Sandbox(["shared", "behind it", "beside it"]) as sandbox,
        sandbox.client() as client,
        Journal.open(tmp_path / "journal") as journal,
    ):
        async with client.reprocess_many(references(), lane=attrgetter("lane"), journal=journal) as batch:
            while not batch.progress.done:
                await asyncio.sleep(0.001)
            gate.set()
            while sum(batch.progress.done.values()) < 4:
                await asyncio.sleep(0.001)
            results = [(r.external_reference, r.outcome, r.billed_calls) async for r in batch]
        billed = sandbox.queue.billed_calls
        assert await journal.summary() == {"accepted": billed}
    assert results == [
        ("shared", Outcome.ACCEPTED, 1),
        ("shared", Outcome.UNKNOWN, 0),
        ("behind it", Outcome.HELD, 0),
        ("beside it", beside, billed - 1),
    ]


def test_the_lanes_of_vouchers_that_share_a_reference_stop() -> None:
    """Which of them is still errored nobody knows, so nothing behind either may go."""

    async def main() -> dict[str, Outcome]:
        given = [
            voucher(1),
            voucher(2, "NOTA DE CREDITO A"),
            voucher(3, reference="behind-the-first"),
            voucher(4, "NOTA DE CREDITO A", reference="behind-the-second"),
            voucher(5, "FACTURA B", reference="beside"),
        ]
        async with Sandbox([item.external_reference or "" for item in given]) as sandbox:
            async with sandbox.client() as client:
                report = await client.reprocess_all(given, lane=attrgetter("lane"))
        return {result.external_reference: result.outcome for result in report.results}

    assert run(main()) == {
        "shared": Outcome.UNKNOWN,
        "behind-the-first": Outcome.HELD,
        "behind-the-second": Outcome.HELD,
        "beside": Outcome.ACCEPTED,
    }


async def test_a_webhook_does_not_tell_which_voucher_it_means(tmp_path: Path) -> None:
    """It carries the reference, which both have; here it comes before the answer."""
    async with Inbox.open(tmp_path / "inbox") as inbox, Sandbox(["shared"]) as sandbox:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            told = sign_webhook("t", evento="encolado", external_reference="shared", creado=datetime.now(UTC))
            await inbox.receive(parse_webhook(told.body))
            await sandbox(scope, receive, send)

        transport = httpx.ASGITransport(app=app)
        async with AsyncClient(sandbox.credentials, transport=transport) as client:
            async with client.confirmations(inbox, within=5) as confirmed:
                report = await confirmed.reprocess_all([voucher(1), voucher(2)])
    assert report.counts == {Outcome.UNKNOWN: 2}


async def test_the_lane_of_another_voucher_may_raise() -> None:
    """It was taken, so it has its result all the same."""

    def lane(given: Voucher) -> int:
        return 1 // (given.numero != 2)

    async with Sandbox(["shared"]) as sandbox, sandbox.client() as client:
        with pytest.raises(ZeroDivisionError) as raised:
            await client.reprocess_all([voucher(1), voucher(2)], lane=lane)
    assert len(raised.value.report.results) == 2  # type: ignore[attr-defined]


# -- progress -------------------------------------------------------------------------------------


async def test_progress() -> None:
    """Done by outcome, in flight, billed calls, and the total where the input tells it."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        batch = client.reprocess_many(["a", "b", "nobody"])
        assert batch.progress == Progress({}, 0, 0, 3)
        async with batch:
            _ = [result async for result in batch]
        assert batch.progress == Progress({Outcome.ACCEPTED: 2, Outcome.NOT_FOUND: 1}, 0, 3, 3)
        assert client.reprocess_many(iter(["a"])).progress.total is None


def test_the_numbers_of_the_progress_are_true_at_any_time() -> None:
    """In flight is what the service has; what ended and what is in flight are never more than was given."""

    async def main() -> list[tuple[int, int, int]]:
        seen = []
        async with (
            Sandbox(["a", "b", "c"], latency=1.0) as sandbox,
            sandbox.client(max_concurrency=2) as client,
        ):
            async with client.reprocess_many(["a", "a", "b", "c"]) as batch:
                for _ in range(4):
                    await asyncio.sleep(0.6)
                    now = batch.progress
                    seen.append((sum(now.done.values()), now.in_flight, now.billed_calls))
        return seen

    assert run(main()) == [(0, 2, 0), (3, 1, 2), (3, 1, 2), (4, 0, 3)]


def test_what_a_second_cancellation_gave_up_stays_in_flight() -> None:
    """Done, in flight when it ended, and never begun make up the input."""

    async def main() -> tuple[int, int]:
        references = [f"r{n}" for n in range(20)]
        async with Sandbox(references, latency=10.0) as sandbox, sandbox.client(max_concurrency=5) as client:
            batch = client.reprocess_many(references)

            async def sweep() -> None:
                async with batch:
                    async for _ in batch:
                        pass

            task = asyncio.create_task(sweep())
            for seconds in (15, 1):
                await asyncio.sleep(seconds)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return batch.progress.done[Outcome.ACCEPTED], batch.progress.in_flight

    assert run(main()) == (5, 5)


async def test_what_is_being_recorded_is_in_flight(tmp_path: Path) -> None:
    """Its outcome is not known to anybody yet."""
    gate = asyncio.Event()

    class Slow(Journal):
        async def record(self, *given: Any) -> Any:
            await gate.wait()
            return await super().record(*given)

    async with (
        Sandbox(["a"]) as sandbox,
        sandbox.client() as client,
        Slow(tmp_path / "journal") as journal,
        client.reprocess_many(["a"], journal=journal) as batch,
    ):
        while not sandbox.queue.billed_calls:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        assert (batch.progress.in_flight, batch.progress.done) == (1, {})
        gate.set()
        assert [result.outcome async for result in batch] == [Outcome.ACCEPTED]
        assert (batch.progress.in_flight, batch.progress.done) == (0, {Outcome.ACCEPTED: 1})
