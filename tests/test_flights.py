"""One reference of one set of credentials is under way once: who names it meanwhile shares its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import (
    AsyncClient,
    Credentials,
    Journal,
    Outcome,
    OutcomeUnknownError,
    ReprocessResult,
    TusFacturasError,
    VoucherNotFoundError,
)
from tusfacturas_async._call import clock
from tusfacturas_async.sandbox import Sandbox, State


def test_two_batches_at_once_are_billed_for_one() -> None:
    """Each has its results; the calls are made once, and counted once."""

    async def main() -> tuple[int, int, list[Outcome]]:
        references = [f"r{n}" for n in range(50)]
        async with Sandbox(references, latency=0.1) as sandbox, sandbox.client() as client:
            both = await asyncio.gather(client.reprocess_all(references), client.reprocess_all(references))
        outcomes = [result.outcome for report in both for result in report.results]
        return sandbox.queue.billed_calls, sum(report.billed_calls for report in both), outcomes

    billed, told, outcomes = run(main())
    assert (billed, told) == (50, 50)
    assert outcomes == [Outcome.ACCEPTED] * 100


def test_a_second_call_shares_the_outcome_also_when_it_is_an_error() -> None:
    """The error is its own, and neither is billed twice; afterwards a new call is a new call."""

    async def main() -> tuple[int, list[object]]:
        async with Sandbox(latency=0.1) as sandbox, sandbox.client() as client:
            other = client.with_credentials(sandbox.credentials)
            calls = (client.reprocess("a"), other.reprocess("a"))
            errors = await asyncio.gather(*calls, return_exceptions=True)
            with suppress(VoucherNotFoundError):
                await client.reprocess("a")
        return sandbox.queue.billed_calls, list(errors)

    billed, (first, second) = run(main())
    assert billed == 2
    assert isinstance(first, VoucherNotFoundError)
    assert isinstance(second, VoucherNotFoundError)
    assert first is not second


def test_other_credentials_and_other_requests_are_not_shared() -> None:
    """What is shared is the same request about the same voucher of the same point of sale."""
    stranger = Credentials(apikey="2", apitoken="two-apitoken", usertoken="two-usertoken")

    async def main() -> tuple[int, int]:
        async with Sandbox(["a"], latency=0.1) as sandbox, sandbox.client() as client:
            theirs = sandbox.add_point_of_sale(stranger, ["a"])
            await asyncio.gather(
                client.reprocess("a"),
                client.with_credentials(stranger).reprocess("a"),
                client.change_date("a", date(2026, 3, 18), date(2026, 4, 18)),
                client.change_date("a", date(2026, 3, 18), date(2026, 4, 18)),
            )
            return sandbox.queue.billed_calls, theirs.billed_calls

    assert run(main()) == (2, 1)


def test_when_the_first_caller_is_cancelled_the_second_takes_over_and_looks_first() -> None:
    """The cancelled request may have arrived: the free lookup tells, and nothing is billed again."""

    async def main() -> tuple[int, Outcome, str | None]:
        async with Sandbox(["a"], latency=0.1) as sandbox, sandbox.client() as client:
            first = asyncio.create_task(client.reprocess("a"))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(client.reprocess("a"))
            await asyncio.sleep(0.01)
            sandbox.queue.reprocess("a")  # the first one's request arrives
            first.cancel()
            result = await second
        assert sandbox.queue["a"].state is State.QUEUED
        return sandbox.queue.billed_calls, result.outcome, result.settled_by

    assert run(main()) == (1, Outcome.ACCEPTED, "lookup")


def test_who_cannot_wait_for_the_other_does_not_know() -> None:
    """Its own deadline holds; the other's call goes on."""

    async def main() -> tuple[type[BaseException], Outcome]:
        async with Sandbox(["a"], latency=1.0) as sandbox, sandbox.client() as client:
            hurried = sandbox.client(deadline=0.2)
            hurried._channel = client._channel
            first = asyncio.create_task(client.reprocess("a"))
            await asyncio.sleep(0.1)
            try:
                await hurried.reprocess("a")
            except OutcomeUnknownError as error:
                told = type(error)
            await hurried.aclose()
            return told, (await first).outcome

    assert run(main()) == (OutcomeUnknownError, Outcome.ACCEPTED)


def test_nothing_is_left_behind() -> None:
    """What has ended takes no memory."""

    async def main() -> int:
        async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
            await client.reprocess_all([f"r{n}" for n in range(100)])
            return len(flights(client))

    assert run(main()) == 0


# -- what is shared where one of them knows more ---------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "raised"),
    [
        (httpx.Response(200, json={"error": "S", "errores": ["No se han encontrado comprobantes."]}), 404),
        (httpx.Response(401), 401),
    ],
    ids=["not found", "no access"],
)
async def test_who_is_in_doubt_does_not_believe_a_refusal_of_who_is_not(
    refusal: httpx.Response, raised: int, tmp_path: Path
) -> None:
    """An earlier process may have sent it: "not found" can mean that, and "not sent" would lift the doubt."""
    billed: list[int] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.02)
        if request.url.path.endswith("reenviar_encolado"):
            billed.append(raised)
            return refusal
        issued = {"comprobante": {"external_reference": "a", "status": "EMITIDO"}}
        return httpx.Response(200, json={"error": "N", "total": 1, "comprobantes": [issued]})

    async with (
        Journal.open(tmp_path / "journal") as journal,
        AsyncClient(STRANGER, transport=httpx.MockTransport(handler), min_interval=0) as client,
    ):
        identity = STRANGER.identity
        await journal.sending(identity, "a", clock.utcnow())
        journal.release(identity, "a")  # as a crash leaves it
        single = asyncio.create_task(client.reprocess("a"))
        await asyncio.sleep(0)
        (result,) = (await client.reprocess_all(["a"], journal=journal)).results
        with pytest.raises(TusFacturasError):
            await single
        assert await journal.summary() == {"accepted": 1}
    assert (result.outcome, result.settled_by, len(billed)) == (Outcome.ACCEPTED, "lookup", 1)


async def test_a_batch_that_shares_a_call_has_it_on_record_before_its_end(tmp_path: Path) -> None:
    """A crash meanwhile leaves it "sending" in each journal: the next run looks it up, and bills nothing."""
    async with (
        Sandbox(["a"], latency=0.2) as sandbox,
        sandbox.client() as client,
        Journal.open(tmp_path / "journal") as journal,
    ):
        single = asyncio.create_task(client.reprocess("a"))
        await asyncio.sleep(0.02)
        batch = asyncio.create_task(client.reprocess_all(["a"], journal=journal))
        while not await journal.summary():
            await asyncio.sleep(0.01)
        assert (await journal.summary(), single.done()) == ({"sending": 1}, False)
        await asyncio.gather(single, batch)
        assert await journal.summary() == {"accepted": 1}
    assert sandbox.queue.billed_calls == 1


async def test_who_shares_and_leaves_does_not_end_the_claim_of_who_sends(tmp_path: Path) -> None:
    """Another client's batch with that journal must not send what is in flight."""
    async with (
        Sandbox(["a"], latency=0.3) as sandbox,
        sandbox.client() as client,
        sandbox.client() as other,
        Journal.open(tmp_path / "journal") as journal,
    ):
        leading = asyncio.create_task(client.reprocess_all(["a"], journal=journal))
        await asyncio.sleep(0.05)
        async with client.reprocess_many(["a"], journal=journal) as batch:
            await asyncio.sleep(0.05)
            batch.stop()
            assert [result.outcome async for result in batch] == [Outcome.UNKNOWN]
        assert await journal.summary() == {"sending": 1}
        assert (await other.reprocess_all(["a"], journal=journal)).counts == {Outcome.NOT_SENT: 1}
        await leading
        assert await journal.summary() == {"accepted": 1}
    assert sandbox.queue.billed_calls == 1


async def test_what_one_batchs_journal_says_is_not_shared(tmp_path: Path) -> None:
    """A single call has no journal: it asks the service, and is not told "skipped" as a success."""
    held = asyncio.Event()

    class Slow(Journal):
        async def sending(self, *given: Any, **options: Any) -> Any:
            await held.wait()
            return await super().sending(*given, **options)

    async with (
        Sandbox(["a"]) as sandbox,
        sandbox.client() as client,
        Slow(tmp_path / "journal") as journal,
    ):
        leading = asyncio.create_task(client.reprocess_all(["a"], journal=journal))
        await asyncio.sleep(0.05)
        single = asyncio.create_task(client.reprocess("a"))
        await asyncio.sleep(0)
        settled = ReprocessResult("a", Outcome.REJECTED, settled_by="response")
        await journal.record(sandbox.credentials.identity, settled)  # another client's, meanwhile
        held.set()
        assert (await leading).counts == {Outcome.SKIPPED: 1}
        assert (await single).outcome is Outcome.ACCEPTED


def test_who_comes_between_a_cancelled_caller_and_its_successor_looks_first() -> None:
    """The doubt is the voucher's, and not the next waiter's alone."""

    async def main() -> tuple[int, list[str | None]]:
        async with Sandbox(["a"], latency=0.1) as sandbox, sandbox.client() as client:
            first = asyncio.create_task(client.reprocess("a"))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(client.reprocess("a"))
            await asyncio.sleep(0.01)
            sandbox.queue.reprocess("a")  # the first one's request arrives
            first.cancel()
            while not first.done():
                await asyncio.sleep(0)
            results = [await client.reprocess("a"), await second]
            assert not flights(client)
        return sandbox.queue.billed_calls, [result.settled_by for result in results]

    assert run(main()) == (1, ["lookup", "lookup"])


STRANGER = Credentials(apikey="2", apitoken="two-apitoken", usertoken="two-usertoken")


def flights(client: AsyncClient) -> dict[object, object]:
    return client._channel.flights._flights  # type: ignore[return-value]
