"""How a batch stops: what is in flight ends, the rest is held, and the error comes at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import AsyncClient, AuthenticationError, Credentials, Inbox, Outcome
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS as CREDENTIALS
from tusfacturas_async.sandbox import Sandbox

STRANGER = Credentials(apikey="9", apitoken="nobody-knows-me", usertoken="nobody-knows-me")


async def test_what_concerns_every_reference_stops_the_batch() -> None:
    """401: what is in flight is reported, the rest is HELD, the loop raises at its end."""
    references = [f"r{n}" for n in range(5000)]
    results = []
    async with Sandbox(references, latency=0.01) as sandbox, sandbox.client(max_concurrency=4) as client:
        with pytest.raises(AuthenticationError):
            async with client.with_credentials(STRANGER).reprocess_many(references) as batch:
                async for result in batch:
                    results.append(result)  # noqa: PERF401
        assert sorted(r.external_reference for r in results) == sorted(references)
        assert Counter(r.outcome for r in results) == {Outcome.NOT_SENT: 4, Outcome.HELD: 4996}
        with pytest.raises(AuthenticationError) as raised:
            await client.with_credentials(STRANGER).reprocess_all(references)
    assert raised.value.report is not None
    assert len(raised.value.report.results) == 5000


async def test_an_error_in_the_consumer_drains_the_batch() -> None:
    """It passes through, after what was in flight has ended."""
    before = asyncio.all_tasks()
    references = [f"r{n}" for n in range(100)]
    async with Sandbox(references, latency=0.01) as sandbox, sandbox.client(max_concurrency=5) as client:
        with pytest.raises(LookupError, match="mine"):
            async with client.reprocess_many(references) as batch:
                async for _ in batch:
                    raise LookupError("mine")
        assert asyncio.all_tasks() == before
        billed = sandbox.queue.billed_calls
        assert len(sandbox.queue.resent) == billed <= 20


def test_cancelling_the_consumer_drains_the_batch() -> None:
    """What is in flight ends as it ends; a second cancellation gives it up, and still leaves nothing."""

    async def main(*, twice: bool) -> tuple[int, float, set[asyncio.Task[Any]]]:
        references = [f"r{n}" for n in range(100)]
        before = asyncio.all_tasks()
        async with Sandbox(references, latency=10.0) as sandbox, sandbox.client(max_concurrency=5) as client:
            task = asyncio.create_task(client.reprocess_all(references))
            await asyncio.sleep(1)
            task.cancel()
            if twice:
                await asyncio.sleep(1)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            ended = asyncio.get_running_loop().time()
            return sandbox.queue.billed_calls, ended, asyncio.all_tasks() - before

    assert run(main(twice=False)) == (5, 10.0, set())
    assert run(main(twice=True)) == (0, 2.0, set())


def test_stopping_ends_waits_at_once() -> None:
    """Backing off, cooling down or standing in line: nothing new starts, and nobody waits for it."""

    async def main() -> tuple[float, Counter[Outcome]]:
        def handler(request: httpx.Request) -> httpx.Response:
            return httpx.Response(429, headers={"retry-after": "50"})

        seen: Counter[Outcome] = Counter()
        async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(handler), min_interval=5) as client:
            batch = client.reprocess_many(f"r{n}" for n in range(100))
            async with batch:
                await asyncio.sleep(12)
            seen.update(batch.progress.done)
        return asyncio.get_running_loop().time(), seen

    ended, seen = run(main())
    assert ended == 12
    assert seen[Outcome.NOT_SENT] == 1
    assert set(seen) == {Outcome.NOT_SENT, Outcome.HELD}


async def test_leaving_before_the_work_began() -> None:
    """Nothing is read, nothing is sent."""
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        async with client.reprocess_many(["a"]):
            pass
    assert sandbox.queue.billed_calls == 0


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


# -- stop() ---------------------------------------------------------------------------------------


def test_stop_lets_the_rest_come_out_held() -> None:
    """What is in flight ends and comes out, the rest is HELD; nothing is raised, and nothing is missing."""

    async def main() -> tuple[Counter[Outcome], int, float]:
        references = [f"r{n}" for n in range(3000)]
        async with Sandbox(references, latency=1.0) as sandbox, sandbox.client(max_concurrency=5) as client:
            async with client.reprocess_many(references, lane=lambda ref: int(ref[1:]) % 7) as batch:
                outcomes: Counter[Outcome] = Counter()
                async for result in batch:
                    outcomes[result.outcome] += 1
                    if outcomes.total() == 10:
                        batch.stop()
        return outcomes, sandbox.queue.billed_calls, asyncio.get_running_loop().time()

    outcomes, billed, ended = run(main())
    assert outcomes.total() == 3000
    assert outcomes == {Outcome.ACCEPTED: billed, Outcome.HELD: 3000 - billed}
    assert (10 <= billed <= 15, ended <= 3) == (True, True)


def test_stop_waits_for_no_asynchronous_input() -> None:
    """What it has not given stays there; the input is told so once, and may put itself away."""
    closed = []

    async def references() -> AsyncIterator[str]:
        try:
            for n in range(8):
                yield f"r{n}"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            closed.append(asyncio.get_running_loop().time())

    async def main() -> Counter[Outcome]:
        async with Sandbox([f"r{n}" for n in range(8)], latency=4.0) as sandbox:
            async with (
                sandbox.client(max_concurrency=5) as client,
                client.reprocess_many(references()) as batch,
            ):
                await asyncio.sleep(2)
                batch.stop()
                await asyncio.sleep(0.5)
            return Counter([result.outcome async for result in batch])

    assert run(main()) == {Outcome.ACCEPTED: 5, Outcome.HELD: 3}
    assert closed == [3.0]


def test_an_input_that_will_not_end_is_left() -> None:
    """What it gives after it was told to end is HELD, and nothing more is asked of it."""
    given = []

    async def references() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for n in range(5):
                given.append(f"late-{n}")
                yield given[-1]

    async def main() -> list[Outcome]:
        async with Sandbox() as sandbox, sandbox.client() as client:
            async with client.reprocess_many(references()) as batch:
                await asyncio.sleep(1)
                batch.stop()
                return [result.outcome async for result in batch]

    assert (run(main()), given) == ([Outcome.HELD], ["late-0"])


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_batch_that_was_stopped_before_it_began(*, asynchronous: bool) -> None:
    """Sends nothing."""

    async def references() -> AsyncIterator[str]:
        yield "a"

    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        batch = client.reprocess_many(references() if asynchronous else ["a"])
        batch.stop()
        async with batch:
            outcomes = [result.outcome async for result in batch]
    assert outcomes == ([] if asynchronous else [Outcome.HELD])
    assert sandbox.queue.billed_calls == 0


async def test_stop_ends_the_wait_for_webhooks(tmp_path: Path) -> None:
    """A re-send that was accepted comes out as that; its event is not waited for."""
    async with Inbox.open(tmp_path / "inbox") as inbox, Sandbox(["a"]) as sandbox, sandbox.client() as client:
        async with client.confirmations(inbox, within=3600) as confirmed:
            async with confirmed.reprocess_many(["a"]) as batch, asyncio.timeout(10):
                while not sandbox.queue.billed_calls:
                    await asyncio.sleep(0.001)
                await asyncio.sleep(0.05)
                batch.stop()
                results = [(result.outcome, result.settled_by) async for result in batch]
    assert results == [(Outcome.ACCEPTED, "response")]
