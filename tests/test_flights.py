"""One reference of one set of credentials is under way once: who names it meanwhile shares its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import date

from tests.virtual import run
from tusfacturas_async import AsyncClient, Credentials, Outcome, OutcomeUnknownError, VoucherNotFoundError
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


def flights(client: AsyncClient) -> dict[object, object]:
    return client._channel.flights._ends  # type: ignore[return-value]
