"""Draining under anyio, whose scopes cancel again at every turn of the loop: once is enough.

Most of it runs in virtual time, which stands still while callbacks are ready: a drain that spins never ends.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from tests.loopback import Loopback
from tests.virtual import run
from tusfacturas_async import AsyncClient, Journal, Outcome
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, LoopbackServer, Queue, Sandbox

REFERENCES = [f"r{n}" for n in range(100)]
IN_FLIGHT, LATENCY, PATIENCE = 5, 10.0, 1.0
"""Five are in flight when the scope is cancelled after a second; they are answered nine seconds later."""

Sweep = Callable[[], Coroutine[Any, Any, None]]


async def move_on_after(sweep: Sweep) -> None:
    with anyio.move_on_after(PATIENCE) as scope:
        await sweep()
    assert scope.cancelled_caught


async def fail_after(sweep: Sweep) -> None:
    with pytest.raises(TimeoutError):
        with anyio.fail_after(PATIENCE):
            await sweep()


async def cancelled_task_group(sweep: Sweep) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sweep)
        await anyio.sleep(PATIENCE)
        tasks.cancel_scope.cancel()


async def failing_task_group(sweep: Sweep) -> None:
    async def fail() -> None:
        await anyio.sleep(PATIENCE)
        raise LookupError("a sibling")

    with pytest.raises(ExceptionGroup) as raised:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sweep)
            tasks.start_soon(fail)
    assert [type(error) for error in raised.value.exceptions] == [LookupError]


async def nested_scopes(sweep: Sweep) -> None:
    """Both are cancelled, one after the other, and both while it drains."""
    with anyio.move_on_after(2 * PATIENCE):
        with anyio.move_on_after(PATIENCE):
            await sweep()


async def scope_in_asyncio_timeout(sweep: Sweep) -> None:
    """The counts of cancellations must come out even, or asyncio would not know its own."""
    async with asyncio.timeout(60):
        await move_on_after(sweep)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(1)


async def asyncio_timeout(sweep: Sweep) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await sweep()


async def asyncio_task_group(sweep: Sweep) -> None:
    async def fail() -> None:
        await asyncio.sleep(PATIENCE)
        raise LookupError("a sibling")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fail())
            await sweep()
    assert [type(error) for error in raised.value.exceptions] == [LookupError]


WAYS = [
    move_on_after,
    fail_after,
    cancelled_task_group,
    failing_task_group,
    nested_scopes,
    scope_in_asyncio_timeout,
    asyncio_timeout,
    asyncio_task_group,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_one_cancelled_scope_is_one_cancellation(way: Callable[[Sweep], Awaitable[None]]) -> None:
    """What is in flight is answered and told, nothing new starts, and then the scope ends as it would."""

    async def main() -> tuple[Counter[Outcome], int, set[asyncio.Task[Any]]]:
        before = asyncio.all_tasks()
        async with (
            Sandbox(REFERENCES, latency=LATENCY) as sandbox,
            sandbox.client(max_concurrency=IN_FLIGHT) as client,
        ):
            told: Counter[Outcome] = Counter()

            async def sweep() -> None:
                batch = client.reprocess_many(REFERENCES)
                try:
                    async with batch:
                        async for _ in batch:
                            pass
                finally:
                    assert asyncio.get_running_loop().time() == LATENCY
                    told.update(batch.progress.done)
                    assert batch.progress.in_flight == 0

            await way(sweep)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            return told, sandbox.queue.billed_calls, asyncio.all_tasks() - before

    told, billed, tasks = run(main())
    assert (told, billed, tasks) == ({Outcome.ACCEPTED: 5, Outcome.HELD: 95}, 5, set())


@pytest.mark.parametrize("scope", [asyncio.timeout, anyio.move_on_after], ids=["asyncio", "anyio"])
def test_a_cancellation_while_leaving_is_the_first_one(scope: Callable[[float], Any]) -> None:
    """Whoever broke off by himself was not cancelled yet."""

    async def main() -> tuple[int, float]:
        async with (
            Sandbox(REFERENCES, latency=LATENCY) as sandbox,
            sandbox.client(max_concurrency=5) as client,
        ):

            async def leave() -> None:
                async with client.reprocess_many(REFERENCES) as batch:
                    async for _ in batch:
                        break

            if scope is asyncio.timeout:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(15):
                        await leave()
            else:
                with anyio.move_on_after(15):
                    await leave()
            return sandbox.queue.billed_calls, asyncio.get_running_loop().time()

    assert run(main()) == (10, 20.0)


def test_a_cancel_of_asyncios_own_gives_up_within_a_scope_as_well() -> None:
    """The scope's is the first cancellation; this is the second, as a server sends at its own end."""

    async def main() -> tuple[int, float]:
        async with (
            Sandbox(REFERENCES, latency=LATENCY) as sandbox,
            sandbox.client(max_concurrency=5) as client,
        ):
            batch = client.reprocess_many(REFERENCES)

            async def sweep() -> None:
                with anyio.move_on_after(PATIENCE):
                    async with batch:
                        async for _ in batch:
                            pass

            task = asyncio.create_task(sweep())
            await asyncio.sleep(3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert batch.progress.in_flight == 5, "that many nobody can tell of"
            return sandbox.queue.billed_calls, asyncio.get_running_loop().time()

    assert run(main()) == (0, 3.0)


def test_the_drain_is_bounded_by_the_timeout() -> None:
    """A service that does not answer keeps nobody longer than an attempt may take."""

    async def main() -> float:
        async with Sandbox(REFERENCES, latency=1000) as sandbox, sandbox.client(timeout=4) as client:
            with anyio.move_on_after(PATIENCE):
                await client.reprocess_all(REFERENCES)
            return asyncio.get_running_loop().time()

    # The lookups that settle what is in flight take four seconds each as well, within the policy.
    assert run(main()) < 40


# -- one call -------------------------------------------------------------------------------------


async def test_a_cancelled_call_leaks_nothing() -> None:
    """Cancelled by a scope, a single call is given up at once; its slot is free and its connection closed."""
    async with Loopback(Queue(["a0", "a1", "a2", "b"])) as server:
        async with AsyncClient(SANDBOX_CREDENTIALS, base_url=server.url, max_concurrency=1) as client:
            server.latency = 0.5
            for number in range(3):
                arrived = len(server.resends)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.reprocess, f"a{number}")
                    while len(server.resends) == arrived:
                        await anyio.sleep(0.001)
                    tasks.cancel_scope.cancel()
            server.latency = 0
            async with asyncio.timeout(10):
                result = await client.reprocess("b")
            assert result.outcome is Outcome.ACCEPTED
        async with asyncio.timeout(10):
            while server.open_connections:
                await asyncio.sleep(0.001)


async def test_a_client_that_is_closed_in_a_cancelled_scope_closes_its_connections() -> None:
    """It waits for what is in flight, as it does after a cancellation of asyncio's own."""
    async with Loopback(Queue(["a", "b"])) as server:
        server.latency = 0.2
        async with asyncio.TaskGroup() as others:
            with anyio.CancelScope() as scope:
                async with AsyncClient(SANDBOX_CREDENTIALS, base_url=server.url, min_interval=0) as client:
                    await client.reprocess("a")
                    other = others.create_task(client.reprocess("b"))
                    while len(server.resends) < 2:
                        await asyncio.sleep(0.001)
                    scope.cancel()
                    await asyncio.sleep(1)
            assert other.done()
            assert other.result().outcome is Outcome.ACCEPTED
        assert not client._line.transport.way._client._transport._idle  # type: ignore[attr-defined]


# -- a streamed response --------------------------------------------------------------------------


async def test_a_streamed_response_whose_client_leaves(tmp_path: Path) -> None:
    """FastAPI on uvicorn: what was in flight when the browser left is finished, and in the journal."""
    references = [f"r{n}" for n in range(200)]
    left = asyncio.Event()
    async with (
        Loopback(Queue(references)) as server,
        Journal.open(tmp_path / "journal") as journal,
        AsyncClient(SANDBOX_CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=8) as client,
    ):
        server.latency = 0.3
        app = FastAPI()

        async def rows() -> AsyncIterator[str]:
            try:
                async with client.reprocess_many(references, journal=journal) as batch:
                    async for result in batch:
                        yield f"{result.external_reference} {result.outcome}\n"
            finally:
                left.set()

        @app.get("/sweep")
        async def sweep() -> StreamingResponse:
            return StreamingResponse(rows())

        async with LoopbackServer(app) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1].strip("/")))
            writer.write(b"GET /sweep HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"accepted\n")
            while len(server.resends) == server.answered:  # until some are in flight
                await asyncio.sleep(0.001)
            processor = time.process_time()
            writer.transport.abort()
            async with asyncio.timeout(20):
                await left.wait()
            processor = time.process_time() - processor
        summary = await journal.summary()
    sent = Counter(server.resends)
    print(f"\nsent {len(sent)}, processor while draining {processor:.3f} s")
    assert set(sent.values()) == {1}
    assert 8 <= len(sent) < 200, "what was in flight, and no more"
    held = summary.get("held", 0)  # what had its row, and not yet its turn
    assert summary == {"accepted": len(sent), **({"held": held} if held else {})}
