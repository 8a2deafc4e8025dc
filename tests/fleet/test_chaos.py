"""Real workers, broken in every way, with the service counting; and what happens without the gate.

Small here; ``python -m tests.fleet.chaos`` takes any size.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet import chaos
from tests.fleet.chaos import FAULTS, Plan, Workers, lane_of, run
from tests.fleet.postgres import Postgres
from tests.fleet.service import Service, credentials
from tests.fleet.test_fence import sql
from tusfacturas_async.fleet import Fleet
from tusfacturas_async.fleet.lease import Lease

PAUSE = float(os.environ.get("FLEET_PAUSE", "5"))
"""Seconds; the figure in docs/how-to/fleet.md is of 60."""

GRAIN = 0.001
"""Milliseconds. How close two starts came, by the clock of those who sent them, is no matter of how busy the
machine is: who sends counts from when the one before has left. How close they arrived is, and is printed."""


async def test_whatever_breaks_nothing_is_lost_or_repeated_blindly(postgres: Postgres) -> None:
    """One fault of each kind, and 5 % of the answers lost."""
    plan = Plan(references=320, most=len(FAULTS), every=0.7, seed=20261124)
    count = await run(plan, postgres, "chaos")
    print(count)
    assert set(count.faults) == set(FAULTS)
    assert (count.lost, count.blind, count.disorder, count.untrue) == (0, 0, 0, 0)
    assert count.most_effects == 1
    assert min(count.closest, count.closest_any) >= 1000 * plan.interval - GRAIN


@pytest.mark.parametrize("by", ["libfaketime", "Python"])
async def test_a_wall_clock_that_is_an_hour_off_changes_nothing(
    postgres: Postgres, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker's is an hour ahead, the other's an hour behind; one after another is killed."""
    if by == "Python":
        monkeypatch.setattr(chaos, "LIBFAKETIME", None)
    elif chaos.LIBFAKETIME is None:
        pytest.skip("there is no libfaketime here: apt-get install libfaketime")
    plan = Plan(references=100, workers=2, faults=("kill",), most=2, skew=3600.0)
    count = await run(plan, postgres, f"skew-{by}")
    print(count)
    assert count.good


@pytest.mark.parametrize("gate", [True, False])
async def test_a_worker_that_was_paused_longer_than_its_lease(
    conninfo: str, gate: bool, tmp_path: Path
) -> None:
    """Asked again just before the first byte, it repeats nothing that another has sent. Else it does."""
    plan = Plan(references=60, credentials=1, lanes=30, lost=0.0, slow=0.0, timeout=0.5, no_gate=not gate)
    (name,) = plan.points
    async with Service(plan.points) as service, Fleet(conninfo, lease=plan.lease) as fleet:
        workers = Workers(plan, conninfo, service.url, tmp_path / "stamps")
        try:
            await fleet.submit(name, [ref for lane in plan.points[name] for ref in lane], lane=lane_of(plan))
            await workers.start()
            async with asyncio.timeout(60):
                while len(service.sent) < 5:
                    await asyncio.sleep(0.01)
                workers.processes[0].send_signal(signal.SIGSTOP)  # many are claimed, and wait for their turn
                await workers.start()
                while (await fleet.progress()).open:
                    await asyncio.sleep(0.1)
                workers.processes[0].send_signal(signal.SIGCONT)
                await asyncio.sleep(1.5)
        finally:
            await workers.end()
    print(service.blind)
    assert (not service.blind) is gate


@pytest.mark.parametrize("gate", [True, False])
async def test_a_forced_takeover_while_a_cool_down_is_pending(
    conninfo: str, gate: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody clears the lease and the pause; who waits the pause out sends nothing more. Else it does."""
    references = [f"r{number}" for number in range(6)]
    if not gate:
        monkeypatch.setattr(Lease, "refusal", lambda _: None)
    options = {"timeout": 0.2, "min_interval": 0.05, "max_concurrency": 20}
    async with Service({"p": [[ref] for ref in references]}) as service:
        async with Fleet(conninfo, lease=2.0) as one, Fleet(conninfo, lease=2.0) as two:
            await one.submit("p", references)
            service.pause = PAUSE
            async with service.client(**options) as here, service.client(**options) as there:
                overtaken = asyncio.create_task(one.run("p", here, credentials("p")))
                while not service.refused:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.3)  # all are claimed, and wait for the end of the pause
                service.pause = 0.0
                await sql(two, "UPDATE tusfacturas.point SET expires_at = NULL, cool_down_until = NULL")
                await two.run("p", there, credentials("p"))
                assert dict(service.sent) == dict.fromkeys(references, 1)
                assert gate or not overtaken.done(), "else the pause was too short for this machine"
                await overtaken
            assert (await two.progress()).counts == {"accepted": 6}
    print(service.blind)
    assert (not service.blind) is gate
