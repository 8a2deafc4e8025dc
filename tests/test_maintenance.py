"""Maintenance: what it costs to hear of it, who waits for its end, and when somebody may ask again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import AsyncClient, MaintenanceError, Outcome
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Sandbox, State


@pytest.fixture
def virtual_wall_clock(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """The wall clock follows virtual time; returns where it starts."""
    start = datetime(2026, 7, 26, 3, 0, tzinfo=UTC)

    def now(_: object = None) -> datetime:
        return start + timedelta(seconds=asyncio.get_running_loop().time())

    monkeypatch.setattr("tusfacturas_async._call.clock.utcnow", now)
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


@pytest.mark.parametrize("check_first", [False, True])
def test_the_wait_is_not_counted_by_a_calls_deadline(virtual_wall_clock: datetime, check_first: bool) -> None:
    """Neither a re-send's nor the check's: what was waited for is sent."""

    async def main() -> tuple[Counter[Outcome], float]:
        async with Sandbox(["a", "b"]) as sandbox, sandbox.client(deadline=60) as client:
            sandbox.maintenance_until = virtual_wall_clock + timedelta(minutes=30)
            report = await client.reprocess_all(["a", "b"], check_first=check_first, wait_maintenance=7200)
        return Counter(result.outcome for result in report.results), asyncio.get_running_loop().time()

    outcomes, ended = run(main())
    assert outcomes == {Outcome.ACCEPTED: 2}
    assert 1800 <= ended < 1860


@pytest.mark.parametrize("wait", [None, 3600.0])
def test_a_batch_that_does_not_wait_so_long_stops(virtual_wall_clock: datetime, wait: float | None) -> None:
    """The rest is HELD, and the error says until when."""
    outcomes, billed, ended, raised = maintained(virtual_wall_clock, wait)
    assert (outcomes, raised) == ({Outcome.NOT_SENT: 5, Outcome.HELD: 45}, "MaintenanceError")
    assert (billed, ended < 1) == (5, True)


def test_after_maintenance_only_free_lookups_leave_until_one_works(virtual_wall_clock: datetime) -> None:
    """Who calls meanwhile hears it for nothing, however long it lasts; then one call goes through."""

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

    assert run(main()) == [1, 1, 1, 1, 2]


def overrun(
    start: datetime, *, lookups_work: bool, references: int, patience: float
) -> tuple[Counter[Outcome], list[float], int]:
    """A batch while maintenance outlasts its end for ever; when each billed call left, and the lookups."""
    local = (start - timedelta(hours=3)).strftime("%d/%m/%Y %H:%M")  # the very minute, already over
    closed = {"error": "S", "mantenimiento": 1, "mantenimiento_hasta": local, "errores": ["cerrado"]}
    errored = {"status": "ENVIADO A PROCESAR - CON ERROR"}

    async def main() -> tuple[Counter[Outcome], list[float], int]:
        billed: list[float] = []
        lookups = 0

        async def handler(request: httpx.Request) -> httpx.Response:
            nonlocal lookups
            await asyncio.sleep(0.1)
            if request.url.path.endswith("reenviar_encolado"):
                billed.append(round(asyncio.get_running_loop().time()))
                return httpx.Response(200, json=closed)
            lookups += 1
            if not lookups_work:
                return httpx.Response(200, json=closed)
            found = [{"comprobante": {**errored, "external_reference": "r0"}}]
            return httpx.Response(200, json={"error": "N", "total": 1, "comprobantes": found})

        transport = httpx.MockTransport(handler)
        async with AsyncClient(SANDBOX_CREDENTIALS, transport=transport, min_interval=0) as client:
            names = [f"r{n}" for n in range(references)]
            results = []
            with contextlib.suppress(MaintenanceError):
                async with client.reprocess_many(names, wait_maintenance=patience) as batch:
                    async for result in batch:
                        results.append(result)  # noqa: PERF401
        return Counter(r.outcome for r in results), billed, lookups

    return run(main())


def test_maintenance_that_outlasts_its_end_is_billed_once_for_each_in_flight(
    virtual_wall_clock: datetime,
) -> None:
    """A time that has passed is an untold one: the free lookup is asked each minute, by one for all."""
    outcomes, billed, lookups = overrun(virtual_wall_clock, lookups_work=False, references=10, patience=3600)
    assert outcomes == {Outcome.NOT_SENT: 10}
    assert billed == [0] * 10
    assert 55 <= lookups <= 60


def test_billed_tries_are_minutes_apart_while_only_lookups_work(virtual_wall_clock: datetime) -> None:
    """One trial for all callers; the wait before the next doubles from one minute to five."""
    outcomes, billed, _ = overrun(virtual_wall_clock, lookups_work=True, references=10, patience=1800)
    assert outcomes == {Outcome.NOT_SENT: 10}
    assert billed[:10] == [0] * 10
    waits = [round((b - a) / 60) for a, b in itertools.pairwise(billed[9:])]
    assert waits == [1, 1, 2, 4, 5, 5, 5, 5]


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


def test_a_clock_that_is_set_back_does_not_prolong_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next caller has the free lookup asked, whatever time of day it is now."""
    ahead = [timedelta()]
    monkeypatch.setattr("tusfacturas_async._call.clock.utcnow", lambda: datetime.now(UTC) + ahead[0])

    async def main() -> tuple[Outcome, int]:
        async with Sandbox(["a"], maintenance=True) as sandbox, sandbox.client() as client:
            for _ in range(2):  # told by the service, then by the lookup
                with pytest.raises(MaintenanceError):
                    await client.reprocess("a")
                await asyncio.sleep(1)
            sandbox.switches.maintenance = False
            ahead[0] = timedelta(hours=-1)
            return (await client.reprocess("a")).outcome, sandbox.queue.billed_calls

    assert run(main()) == (Outcome.ACCEPTED, 2)
