"""One reference given more than once: one call, told and counted once, and true of each voucher."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from tusfacturas_async import Outcome, Progress
from tusfacturas_async.sandbox import Sandbox


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


async def test_progress() -> None:
    """Done by outcome, in flight, billed calls, and the total where the input tells it."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        batch = client.reprocess_many(["a", "b", "nobody"])
        assert batch.progress == Progress({}, 0, 0, 3)
        async with batch:
            _ = [result async for result in batch]
        assert batch.progress == Progress({Outcome.ACCEPTED: 2, Outcome.NOT_FOUND: 1}, 0, 3, 3)
        assert client.reprocess_many(iter(["a"])).progress.total is None
