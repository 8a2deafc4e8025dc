"""``reprocess_many``: one result per reference, bounded work, an orderly end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.virtual import run
from tusfacturas_async import InvalidReferenceError, Outcome
from tusfacturas_async.sandbox import Sandbox


async def test_one_result_per_reference() -> None:
    """Whatever became of it, a reference that breaks a rule included; nothing raises."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(["a", "b", "nobody", "not allowed"])
    assert report.counts == {Outcome.ACCEPTED: 2, Outcome.NOT_FOUND: 1, Outcome.REJECTED: 1}
    assert report.billed_calls == sandbox.queue.billed_calls == 3
    wrong = next(result for result in report.results if result.outcome is Outcome.REJECTED)
    assert isinstance(wrong.error, InvalidReferenceError)


async def test_async_input() -> None:
    """An async iterable is consumed as well."""

    async def references() -> AsyncIterator[str]:
        for n in range(50):
            yield f"r{n}"

    async with Sandbox([f"r{n}" for n in range(50)]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(references())
    assert Counter(r.external_reference for r in report.results) == Counter(f"r{n}" for n in range(50))


def test_a_slow_consumer_slows_the_sending() -> None:
    """The input is consumed lazily: a bounded window ahead of the consumer."""
    taken = 0

    def references() -> Iterator[str]:
        nonlocal taken
        for n in range(10_000):
            taken += 1
            yield f"r{n}"

    async def main() -> list[int]:
        ahead = []
        async with Sandbox(f"r{n}" for n in range(10_000)) as sandbox, sandbox.client() as client:
            async with client.reprocess_many(references()) as batch:
                done = 0
                async for _ in batch:
                    done += 1
                    await asyncio.sleep(1)
                    ahead.append(taken - done)
                    if done == 100:
                        break
        return ahead

    assert max(run(main())) < 200


def test_never_more_in_flight_than_allowed() -> None:
    """The server's own count."""

    async def main() -> int:
        references = [f"r{n}" for n in range(300)]
        async with Sandbox(references, latency=0.1) as sandbox, sandbox.client(max_concurrency=7) as client:
            await asyncio.gather(*(client.reprocess_all(references[n::3]) for n in range(3)))
        return sandbox.most_in_flight

    assert run(main()) == 7


def test_leaving_early_finishes_what_is_in_flight_and_starts_nothing_new() -> None:
    """What was sent is known to the server and to us."""

    async def main() -> tuple[int, int]:
        references = [f"r{n}" for n in range(100)]
        async with Sandbox(references, latency=1.0) as sandbox, sandbox.client(max_concurrency=5) as client:
            async with client.reprocess_many(references) as batch:
                async for _ in batch:
                    break
            after = sandbox.queue.billed_calls
            await asyncio.sleep(60)
            return after, sandbox.queue.billed_calls

    after, later = run(main())
    assert 5 <= after == later <= 10


async def test_the_inputs_own_error_is_raised_at_the_end() -> None:
    """After the results of what it had given."""

    def references() -> Iterator[str]:
        yield "a"
        raise LookupError("the database went away")

    results = []
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        with pytest.raises(LookupError, match="database"):
            async with client.reprocess_many(references()) as batch:
                async for result in batch:
                    results.append(result)  # noqa: PERF401 - a comprehension would lose them when it raises
    assert [result.outcome for result in results] == [Outcome.ACCEPTED]


async def test_a_batch_is_used_once_and_entered_first() -> None:
    """Misuse says what to do."""
    async with Sandbox() as sandbox, sandbox.client() as client:
        batch = client.reprocess_many([])
        with pytest.raises(RuntimeError, match="async with"):
            await anext(batch)
        async with batch:
            assert [result async for result in batch] == []
            assert [result async for result in batch] == []
        with pytest.raises(RuntimeError, match="make a new one"):
            await batch.__aenter__()
