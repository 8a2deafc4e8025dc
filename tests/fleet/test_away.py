"""PostgreSQL is away while a worker has to do what needs it."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.chaos import Plan, Workers, lane_of
from tests.fleet.postgres import Postgres
from tests.fleet.proxy import Proxy
from tests.fleet.service import Service
from tests.fleet.test_fleet import until_done
from tusfacturas_async.fleet import Fleet, jobs, store


async def test_who_submits_does_not_wait_for_a_job_on_a_dead_way(
    conninfo: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes through and nothing is closed: the work is durable, and the scan finds it."""
    for module in (jobs, store):
        monkeypatch.setattr(module, "ATTEMPT", 0.5)
    async with Proxy(postgres.folder) as proxy, asyncio.timeout(60):
        behind = conninfo.replace(str(postgres.folder), str(proxy.folder))
        async with Fleet(conninfo) as here, Fleet(behind) as fleet:
            proxy.mute()
            assert await fleet.submit("p", ["a"]) == 1
            assert (await here.progress("p")).counts == {"waiting": 1}


async def test_a_worker_that_is_told_to_end_while_postgresql_is_away(
    conninfo: str, postgres: Postgres, tmp_path: Path
) -> None:
    """It ends in order, what it could not record stays in doubt, and the next one settles it."""
    plan = Plan(
        references=60, credentials=1, lanes=60, lost=0.0, slow=0.0, lease=1.0, timeout=0.5, attempt=1.0
    )
    (name,) = plan.points
    async with Service(plan.points) as service:
        workers = Workers(plan, conninfo, service.url, tmp_path / "stamps")
        try:
            async with Fleet(conninfo) as fleet:
                lanes = plan.points[name]
                await fleet.submit(name, [ref for lane in lanes for ref in lane], lane=lane_of(plan))
            await workers.start()
            while len(service.sent) < 5:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(postgres.stop, "immediate")
            workers.processes[0].send_signal(signal.SIGTERM)
            try:
                status = await asyncio.wait_for(workers.processes[0].wait(), 60)
            finally:
                await asyncio.to_thread(postgres.start)
            await workers.start()
            async with Fleet(conninfo) as fleet:
                await until_done(fleet)
        finally:
            await workers.end()
    assert (status, service.left, service.blind, service.most_effects) == (0, [], [], 1)
