"""Turn-taking: slots, spacing, cool-down. In virtual time."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from contextlib import suppress
from itertools import pairwise

import httpx
import pytest

from tests.virtual import TURN, run
from tusfacturas_async import AsyncClient, Credentials, VoucherNotFoundError
from tusfacturas_async._call.pace import Pace
from tusfacturas_async.sandbox import Sandbox


async def occupy(pace: Pace, starts: list[float], seconds: float) -> None:
    await pace.enter()
    try:
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(seconds)
    finally:
        pace.leave()


def gaps(starts: list[float]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(starts)]


def test_starts_of_one_set_are_spaced() -> None:
    """However many wait, two starts of one set of credentials are ``min_interval`` apart, and no more."""
    starts: list[float] = []

    async def main() -> None:
        pace = Pace(asyncio.Semaphore(10), 0.1)
        await asyncio.gather(*(occupy(pace, starts, 0.01) for _ in range(50)))

    run(main())
    assert gaps(starts) == pytest.approx([0.1] * 49, abs=2e-6)


def test_short_intervals_are_exact() -> None:
    """No start is early, and none later than a turn of the loop; a timer alone would round up."""
    starts: list[float] = []

    async def main() -> None:
        pace = Pace(asyncio.Semaphore(10), 0.01)
        await asyncio.gather(*(occupy(pace, starts, 0.0) for _ in range(4)))

    run(main(), timers_late_by=0.0015)
    assert gaps(starts) == pytest.approx([0.01] * 3, abs=2e-6)
    assert min(gaps(starts)) >= 0.01


def test_the_spacing_counts_from_the_moment_a_request_leaves() -> None:
    """A connection that takes long to open moves the next start with it."""
    starts: list[float] = []

    async def main() -> None:
        pace = Pace(asyncio.Semaphore(10), 0.1)
        await pace.enter()
        waiting = asyncio.create_task(occupy(pace, starts, 0.0))
        await asyncio.sleep(0.07)
        pace.started()
        await waiting

    run(main())
    assert starts == pytest.approx([0.17])


def test_who_comes_late_to_the_door_waits_for_the_one_who_went_before() -> None:
    """After a long opening it is as far from the one that overtook it, and so is the next from it."""
    starts: list[float] = []

    async def send(pace: Pace, opening: float) -> None:
        await pace.enter()
        await asyncio.sleep(opening)
        if (late := pace.go()) is not None:
            await late
        starts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.02)  # until the head has left
        pace.gone()
        pace.leave()

    async def main() -> None:
        pace = Pace(asyncio.Semaphore(10), 0.1)
        await asyncio.gather(*(send(pace, opening) for opening in (0.15, 0.0, 0.0, 0.0)))

    run(main())
    assert starts == pytest.approx([0.1, 0.22, 0.34, 0.46], abs=1e-4)


def test_first_bytes_are_spaced_whatever_lies_before_them() -> None:
    """Connections that open in no time or in half a second: no two requests leave closer than told."""
    starts: list[float] = []
    openings: list[float] = []
    draw = random.Random(20261124)

    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            tell = request.extensions["trace"]
            openings.append(draw.choice((0.0, 0.003, 0.05, 0.5)))
            await asyncio.sleep(openings[-1])
            await tell("http11.send_request_headers.started", {"request": None})
            starts.append(asyncio.get_running_loop().time())
            await asyncio.sleep(draw.choice((0.0, 0.004)))
            await tell("http11.send_request_headers.complete", {"return_value": None})
            return httpx.Response(200, json={"error": "N", "errores": [], "rta": "ok"})

    async def main() -> None:
        credentials = Credentials(apikey="1", apitoken="t", usertoken="u")
        async with AsyncClient(credentials, transport=Slow(), max_concurrency=20) as client:
            await client.reprocess_all([f"r{number}" for number in range(200)])

    run(main())
    assert min(gaps(starts)) >= 0.1 - 1e-9
    late = sum(opening >= 0.05 for opening in openings)
    assert starts[-1] < (200 + late) * 0.104 + 0.5, "who is late costs one turn at most"


def test_spacing_holds_when_slots_are_scarce() -> None:
    """Waiting for a slot does not let two starts bunch up afterwards."""
    starts: list[float] = []
    draw = random.Random(7)

    async def main() -> None:
        slots = asyncio.Semaphore(2)
        pace, other = Pace(slots, 0.1), Pace(slots, 0.0)
        mine = (occupy(pace, starts, draw.uniform(0, 0.5)) for _ in range(100))
        theirs = (occupy(other, [], draw.uniform(0, 0.5)) for _ in range(100))
        await asyncio.gather(*mine, *theirs)

    run(main(), turn=TURN)
    assert min(gaps(starts)) >= 0.1 - 1e-9


def test_a_crowded_set_does_not_starve_another() -> None:
    """Only the head of a line waits for a slot: a set with one caller is served among the first."""
    alone: list[float] = []

    async def main() -> None:
        slots = asyncio.Semaphore(1)
        crowd, single = Pace(slots, 0.0), Pace(slots, 0.0)
        tasks = [asyncio.create_task(occupy(crowd, [], 1.0)) for _ in range(100)]
        await asyncio.sleep(0.5)
        await occupy(single, alone, 1.0)
        for task in tasks:
            task.cancel()

    run(main())
    assert alone[0] <= 2.0


def test_a_cool_down_stops_all_callers_also_those_that_wait_for_a_slot() -> None:
    """A 429 met by one holds back everyone of its credentials, and nobody else."""
    starts: list[float] = []
    others: list[float] = []

    async def main() -> None:
        slots = asyncio.Semaphore(1)
        pace, other = Pace(slots, 0.0), Pace(slots, 0.0)
        await pace.enter()
        waiting = [asyncio.create_task(occupy(pace, starts, 0.0)) for _ in range(3)]
        await asyncio.sleep(0.1)
        pace.cool_down(5.0)
        pace.cool_down(1.0)  # a shorter one does not undo it
        pace.leave()
        await occupy(other, others, 0.0)
        await asyncio.gather(*waiting)

    run(main())
    assert (min(starts) >= 5.1, others[0] < 5.1) == (True, True)


def test_idle_credentials_are_forgotten_and_their_spacing_is_not() -> None:
    """Thousands of points of sale in turn leave nothing; one that has just sent keeps its distance."""

    async def main() -> tuple[int, float]:
        async with Sandbox() as sandbox, sandbox.client(min_interval=0.1) as client:
            sets = [Credentials(apikey=n, apitoken=f"apitoken-{n}", usertoken="u") for n in range(1, 1001)]
            for each in sets:
                sandbox.add_point_of_sale(each, ["a"])
                await client.with_credentials(each).reprocess("a")
                await asyncio.sleep(0.01)
            started = asyncio.get_running_loop().time()
            with suppress(VoucherNotFoundError):
                await client.with_credentials(sets[-1]).reprocess("b")
            waited = asyncio.get_running_loop().time() - started
            gc.collect()
            return len(client._line.channels), waited

    left, waited = run(main(), turn=TURN)
    assert left < 100
    assert waited == pytest.approx(0.09, abs=0.001)


def test_a_crowd_of_credentials_is_forgotten_when_it_is_idle() -> None:
    """Hundreds that were busy at once: one that goes on being used is enough to let them go."""

    async def main() -> int:
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b'{"error": "N"}'))
        sets = [Credentials(apikey=n, apitoken=f"apitoken-{n}", usertoken="u") for n in range(1, 201)]
        async with AsyncClient(
            sets[0], transport=transport, min_interval=10.0, max_concurrency=200
        ) as client:
            await asyncio.gather(*(client.with_credentials(each).reprocess("a") for each in sets))
            for n in range(500):
                await asyncio.sleep(10.0)
                await client.reprocess(f"b{n}")
            gc.collect()
            return len(client._line.channels)

    assert run(main()) == 1


def test_a_stopped_clock_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test stops Python's clock no timer of the loop fires; spacing and cool-down still end."""
    starts: list[float] = []

    async def main() -> None:
        pace = Pace(asyncio.Semaphore(10), 0.001)
        for _ in range(3):
            pace.cool_down(0.001)
            await occupy(pace, starts, 0.0)

    monkeypatch.setattr(time, "monotonic", lambda: 5.0)
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # uvloop has a clock of its own
        runner.run(main())
    assert starts == [5.0] * 3


def test_cancelled_waiters_leave_nothing_behind() -> None:
    """Callers cancelled in the line, while spacing or waiting for a slot, cost nobody a slot."""

    async def main() -> int:
        slots = asyncio.Semaphore(3)
        pace = Pace(slots, 0.1)
        draw = random.Random(3)
        tasks = [asyncio.create_task(occupy(pace, [], 0.5)) for _ in range(300)]
        for task in draw.sample(tasks, 200):
            await asyncio.sleep(draw.uniform(0, 0.1))
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        taken = 0
        while not slots.locked():
            await slots.acquire()
            taken += 1
        return taken

    assert run(main(), turn=TURN) == 3
