"""``reprocess_many``: one result per reference, bounded work, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS
from tests.virtual import run
from tusfacturas_async import (
    AsyncClient,
    AuthenticationError,
    Credentials,
    InvalidReferenceError,
    MaintenanceError,
    Outcome,
    Progress,
    ReprocessResult,
    RetryPolicy,
    VoucherStatus,
)
from tusfacturas_async.batch import WINDOW
from tusfacturas_async.sandbox import Queue, Sandbox, State, StoredVoucher


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
    """Reading and sending keep a bounded distance ahead of the consumer."""
    taken = 0

    def references() -> Iterator[str]:
        nonlocal taken
        for n in range(10_000):
            taken += 1
            yield f"r{n}"

    async def main() -> list[tuple[int, int]]:
        ahead = []
        async with Sandbox(f"r{n}" for n in range(10_000)) as sandbox, sandbox.client() as client:
            async with client.reprocess_many(references()) as batch:
                done = 0
                async for _ in batch:
                    done += 1
                    await asyncio.sleep(1)
                    ahead.append((taken - done, sandbox.queue.billed_calls - done))
                    if done == 100:
                        break
        return ahead

    reading, sending = zip(*run(main()), strict=True)
    assert max(reading) <= WINDOW + 1
    assert max(sending) <= 30, "twice max_concurrency wait as results, and once is in flight"


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


# -- lanes ----------------------------------------------------------------------------------------


class Flaky(Sandbox):
    """A sandbox with random latency that loses answers, drops requests and answers 429, by seeded dice."""

    def __init__(self, references: list[str], dice: random.Random, faults: float) -> None:
        super().__init__(references)
        self._dice = dice
        self._faults = faults
        self.seen: list[tuple[float, str]] = []
        self.under_way: Counter[str] = Counter()
        self.overlaps = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        reference = json.loads(message["body"]).get("external_reference")
        lane = (reference or "").partition("-")[0]
        if reference is not None:
            self.seen.append((asyncio.get_running_loop().time(), reference))
            self.overlaps += self.under_way[lane] > 0
            self.under_way[lane] += 1

        async def again() -> Any:
            return {**message, "more_body": False}

        try:
            await asyncio.sleep(self._dice.uniform(0, 0.5))
            fault = self._dice.random()
            if fault < self._faults / 4:
                raise httpx.ConnectError("refused")
            if fault < self._faults / 2:
                raise httpx.ReadError("dropped before the work")
            if reference is not None and fault < self._faults:
                self.lose_answer(reference)
            await super().__call__(scope, again, send)
        finally:
            if reference is not None:
                self.under_way[lane] -= 1


def check_lanes(seed: int, faults: float) -> None:
    """One random schedule against the model: what a lane sends is a prefix of its input, in order."""
    dice = random.Random(seed)
    lanes = {f"L{n}": [f"L{n}-{i}" for i in range(dice.randint(1, 8))] for n in range(dice.randint(1, 6))}
    given = [reference for references in lanes.values() for reference in references]
    spread = [iter(references) for references in lanes.values()]
    mixed: list[str] = []
    while len(mixed) < len(given):
        mixed += [reference for reference in (next(dice.choice(spread), None),) if reference]

    async def main() -> tuple[list[ReprocessResult], Flaky]:
        async with Flaky(mixed, dice, faults) as sandbox:
            policy = RetryPolicy(attempts=dice.randint(1, 3), backoff=0.1, max_retry_after=1)
            concurrency = dice.randint(1, 6)
            async with sandbox.client(retry=policy, max_concurrency=concurrency, timeout=0.4) as client:
                batch = client.reprocess_many(mixed, lane=lambda reference: reference.partition("-")[0])
                async with batch:
                    results = [result async for result in batch]
            return results, sandbox

    results, sandbox = run(main())
    assert sorted(r.external_reference for r in results) == sorted(mixed), "one result per reference"
    assert sandbox.overlaps == 0 or faults, "one at a time within a lane"
    outcomes = {result.external_reference: result for result in results}
    for references in lanes.values():
        told = [outcomes[reference] for reference in references]
        stop = next(
            (i for i, r in enumerate(told) if r.outcome in {Outcome.NOT_SENT, Outcome.UNKNOWN}), len(told)
        )
        assert all(r.outcome is Outcome.ACCEPTED for r in told[:stop])
        assert all(r.outcome is Outcome.HELD for r in told[stop + 1 :])
        first_seen = list(dict.fromkeys(ref for _, ref in sandbox.seen if ref in references))
        assert first_seen == references[: len(first_seen)], "in input order"
        effective = [ref for ref in sandbox.queue.resent if ref in references]
        assert effective == references[: len(effective)], "took effect in input order, each once"
    for result in results:
        state = sandbox.queue[result.external_reference].state
        if result.outcome is Outcome.ACCEPTED:
            assert state is State.QUEUED
        if result.outcome in {Outcome.HELD, Outcome.NOT_SENT}:
            assert state is State.ERRORED


@pytest.mark.parametrize("faults", [0.0, 0.2, 0.7])
def test_lanes_keep_their_order_over_random_schedules(faults: float) -> None:
    """Thousands of schedules with random latency and faults, in virtual time."""
    for seed in range(700):
        check_lanes(seed, faults)


def test_lanes_run_side_by_side() -> None:
    """Ten lanes of ten take as long as one lane of ten."""

    async def main() -> float:
        references = [f"L{n % 10}-{n}" for n in range(100)]
        async with Sandbox(references, latency=1.0) as sandbox, sandbox.client() as client:
            await client.reprocess_all(references, lane=lambda reference: reference[:2])
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(10.0)


def test_a_long_lane_does_not_starve_the_others() -> None:
    """A lane may fill the window but for the others' places; those already read go their way."""

    async def main() -> int:
        references = [f"long-{n}" for n in range(900)] + [f"short-{n}" for n in range(50)]
        async with Sandbox(references, latency=1.0) as sandbox, sandbox.client() as client:
            order = []
            async with client.reprocess_many(
                references, lane=lambda r: "long" if r.startswith("long") else r
            ) as batch:
                async for result in batch:
                    order.append(result.external_reference)
                    if len(order) == 80:
                        break
        return sum(reference.startswith("short") for reference in order)

    assert run(main()) == 50


async def test_a_lane_that_raises_is_told() -> None:
    """The user's own error comes out at the end."""
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        with pytest.raises(ZeroDivisionError):
            await client.reprocess_all(["a"], lane=lambda _: 1 // 0)


# -- check first ----------------------------------------------------------------------------------


async def test_check_first_sends_only_what_is_errored() -> None:
    """The rest comes out with its voucher, and the report says what was saved."""
    vouchers: list[StoredVoucher | str] = ["errored", StoredVoucher("queued", State.QUEUED)]
    vouchers.append(StoredVoucher("issued", State.ISSUED))
    async with Sandbox(vouchers) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(["errored", "queued", "issued", "nobody"], check_first=True)
    by_reference = {result.external_reference: result for result in report.results}
    assert {reference: str(result.outcome) for reference, result in by_reference.items()} == {
        "errored": "accepted",
        "queued": "skipped",
        "issued": "skipped",
        "nobody": "not_found",
    }
    voucher = by_reference["issued"].voucher
    assert voucher is not None
    assert voucher.status is VoucherStatus.ISSUED
    assert (report.billed_calls, report.saved_calls, sandbox.queue.billed_calls) == (1, 3, 1)


async def test_check_first_asks_in_chunks() -> None:
    """250 references are three free lookups."""
    async with Loopback(Queue([f"r{n}" for n in range(250)])) as server:
        async with AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0) as client:
            await client.reprocess_all([f"r{n}" for n in range(250)], check_first=True)
    assert (server.lookups, len(server.resends)) == (3, 250)


async def test_what_cannot_be_checked_is_not_sent() -> None:
    """Sending unchecked is not what was asked for."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path.endswith("consulta_avanzada")
        return httpx.Response(500)

    policy = RetryPolicy(attempts=1)
    async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(handler), retry=policy) as client:
        report = await client.reprocess_all(["a", "b"], check_first=True, lane=lambda _: 1)
    assert report.counts == {Outcome.NOT_SENT: 1, Outcome.HELD: 1}


# -- stopping -------------------------------------------------------------------------------------


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


# -- trouble at the service -----------------------------------------------------------------------


def test_a_network_that_is_down_ends_the_batch_soon() -> None:
    """The retry budget is spent once, the rest is NOT_SENT unasked."""
    asked = 0

    async def main() -> Counter[Outcome]:
        def handler(request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            raise httpx.ConnectError("down")

        transport = httpx.MockTransport(handler)
        async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0.1) as client:
            report = await client.reprocess_all([f"r{n}" for n in range(3000)])
        return Counter(report.counts)

    assert run(main()) == {Outcome.NOT_SENT: 3000}
    assert asked < 200


@pytest.fixture
def virtual_wall_clock(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The wall clock follows virtual time; returns where it starts."""
    start = datetime(2026, 7, 26, 3, 0, tzinfo=UTC)

    def now(_: object = None) -> datetime:
        return start + timedelta(seconds=asyncio.get_running_loop().time())

    monkeypatch.setattr("tusfacturas_async._call.channel.utcnow", now)
    monkeypatch.setattr("tusfacturas_async._batch.sender.utcnow", now)
    monkeypatch.setattr("tusfacturas_async.sandbox.app.utcnow", now)
    return start


def maintained(start: datetime, wait: float | None) -> tuple[Counter[Outcome], int, float, str]:
    """50 references while the service is closed for two hours."""

    async def main() -> tuple[Counter[Outcome], int, float, str]:
        references = [f"r{n}" for n in range(50)]
        raised, results = "", []
        async with Sandbox(references, latency=0.1) as sandbox, sandbox.client(max_concurrency=5) as client:
            sandbox.maintenance_until = start + timedelta(hours=2)
            try:
                async with client.reprocess_many(references, wait_maintenance=wait) as batch:
                    async for result in batch:
                        results.append(result)  # noqa: PERF401
            except MaintenanceError as error:
                raised = type(error).__name__
        ended = asyncio.get_running_loop().time()
        return Counter(r.outcome for r in results), sandbox.queue.billed_calls, ended, raised

    return run(main())


def test_a_batch_waits_for_the_end_of_maintenance(virtual_wall_clock: datetime) -> None:
    """And goes on; only those in flight when it was told were billed for being told."""
    outcomes, billed, ended, raised = maintained(virtual_wall_clock, 3 * 3600)
    assert (outcomes, raised) == ({Outcome.ACCEPTED: 50}, "")
    assert billed == 55
    assert 7200 <= ended < 7210


@pytest.mark.parametrize("wait", [None, 3600.0])
def test_a_batch_that_does_not_wait_so_long_stops(virtual_wall_clock: datetime, wait: float | None) -> None:
    """The rest is HELD, and the error says until when."""
    outcomes, billed, ended, raised = maintained(virtual_wall_clock, wait)
    assert (outcomes, raised) == ({Outcome.NOT_SENT: 5, Outcome.HELD: 45}, "MaintenanceError")
    assert (billed, ended < 1) == (5, True)


def test_maintenance_is_told_to_the_other_callers_for_nothing(virtual_wall_clock: datetime) -> None:
    """For five minutes nobody pays to hear it again; then one may ask."""

    async def main() -> list[int]:
        billed = []
        async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
            sandbox.maintenance_until = virtual_wall_clock + timedelta(minutes=10)
            for pause in (0, 1, 290, 10, 400):
                await asyncio.sleep(pause)
                with contextlib.suppress(MaintenanceError):
                    await client.reprocess("a")
                billed.append(sandbox.queue.billed_calls)
            assert sandbox.queue["a"].state is State.QUEUED
        return billed

    assert run(main()) == [1, 1, 1, 2, 3]


def test_a_lost_answer_is_remembered_through_maintenance(virtual_wall_clock: datetime) -> None:
    """The lost request takes effect while the batch waits: a later "not found" is not believed."""

    async def main() -> tuple[Outcome, str | None, int]:
        async with Sandbox(["a"]) as sandbox:
            calls: list[str] = []

            async def app(scope: Any, receive: Any, send: Any) -> None:
                resend = scope["path"].endswith("reenviar_encolado")
                if resend:
                    calls.append("resend")
                if resend and len(calls) == 1:  # lost on its way; it arrives later
                    await send({"type": "http.response.start", "status": 524, "headers": []})
                    await send({"type": "http.response.body", "body": b""})
                    return
                if resend and len(calls) == 2:
                    sandbox.maintenance_until = virtual_wall_clock + timedelta(hours=1)
                await sandbox(scope, receive, send)
                if resend and len(calls) == 2:
                    sandbox.maintenance_until = None
                    asyncio.get_running_loop().call_later(600, sandbox.queue.reprocess, "a")

            transport = httpx.ASGITransport(app=app)
            async with AsyncClient(sandbox.credentials, transport=transport, min_interval=0) as client:
                report = await client.reprocess_all(["a"], wait_maintenance=7200)
        (result,) = report.results
        return result.outcome, result.settled_by, len(calls)

    assert run(main()) == (Outcome.ACCEPTED, "lookup", 2)


# -- many points of sale --------------------------------------------------------------------------


def test_a_hundred_points_of_sale_share_one_client() -> None:
    """Each keeps its own spacing, all share the connections, none starves."""
    starts: dict[str, list[float]] = {}
    most = 0

    async def main() -> float:
        nonlocal most
        in_flight = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal in_flight, most
            apikey = json.loads((await receive())["body"])["apikey"]
            starts.setdefault(apikey, []).append(asyncio.get_running_loop().time())
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0.05)
            in_flight -= 1
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b'{"error": "N"}'})

        transport = httpx.ASGITransport(app=app)
        async with AsyncClient(
            CREDENTIALS, transport=transport, max_concurrency=20, min_interval=1.0
        ) as client:
            sets = [Credentials(apikey=n, apitoken=f"token-{n}", usertoken="user") for n in range(100)]
            batches = (client.with_credentials(c).reprocess_all([f"r{i}" for i in range(10)]) for c in sets)
            await asyncio.gather(*batches)
        return asyncio.get_running_loop().time()

    ended = run(main())
    gaps = [later - earlier for times in starts.values() for earlier, later in pairwise(times)]
    assert (len(starts), most) == (100, 20)
    assert min(gaps) >= 1.0 - 1e-9
    assert max(gaps) < 1.5, "none starves"
    assert ended < 12, "1,000 calls of 50 ms over 20 slots take 2.5 s; the spacing asks for 9"


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
