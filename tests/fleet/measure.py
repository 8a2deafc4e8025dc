"""The figures of docs/how-to/fleet.md: ``python -m tests.fleet.measure cpu|spacing|throughput|million``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.fleet.chaos import Plan, Workers, lane_of
from tests.fleet.postgres import Postgres, binaries
from tests.fleet.service import Service, credentials
from tusfacturas_async import AsyncClient, Journal
from tusfacturas_async.fleet import Fleet

MANY = 3_000


async def child(kind: str, conninfo: str, url: str) -> None:
    """One process that re-sends ``MANY``, over the one journal or the other; its CPU time for each."""
    references = [f"ref-{number}" for number in range(MANY)]
    client = AsyncClient(credentials("pdv0"), base_url=url, min_interval=0, max_concurrency=50)
    async with client, Fleet(conninfo) as fleet:
        with tempfile.TemporaryDirectory() as folder:
            if kind == "fleet":
                await fleet.submit("pdv0", references)
            before, began = time.process_time(), time.monotonic()
            if kind == "fleet":
                await fleet.run("pdv0", client, credentials("pdv0"))
            else:
                async with Journal.open(Path(folder) / "journal") as journal:
                    await client.reprocess_all(references, journal=journal)
            used, took = time.process_time() - before, time.monotonic() - began
    groups = fleet._writer.groups
    told = {"ms_cpu": 1000 * used / MANY, "per_second": MANY / took, "round_trips": groups / MANY}
    print(kind, json.dumps({name: round(figure, 3) for name, figure in told.items()}))


async def cpu(server: Postgres) -> None:
    for number, kind in enumerate(("sqlite", "fleet") * 2):
        conninfo = server.database(f"cpu{number}")
        await Fleet(conninfo).migrate()
        async with Service({"pdv0": [[f"ref-{n}"] for n in range(MANY)]}) as service:
            service.think = 0.01
            arguments = ("-m", "tests.fleet.measure", "child", kind, conninfo, service.url)
            process = await asyncio.create_subprocess_exec(sys.executable, *arguments)
            await process.wait()


async def run(server: Postgres, plan: Plan, name: str) -> float:
    """Seconds from the first re-send to the last."""
    conninfo = server.database(name)
    await Fleet(conninfo).migrate()
    async with Service(plan.points) as service, Fleet(conninfo) as fleet:
        workers = Workers(plan, conninfo, service.url, Path(os.devnull))
        for _ in range(plan.workers):
            await workers.start()
        await asyncio.sleep(3 + plan.workers)
        try:
            for point, lanes in plan.points.items():
                await fleet.submit(point, [ref for lane in lanes for ref in lane], lane=lane_of(plan))
            while (await fleet.progress()).open:
                await asyncio.sleep(0.2)
        finally:
            await workers.end()
        arrivals = [at for times in service.arrivals.values() for at in times]
    return max(arrivals) - min(arrivals)


async def spacing(server: Postgres) -> None:
    plan = Plan(references=1000, credentials=5, lanes=100, workers=2, lost=0, slow=0, lease=15, timeout=30)
    took = await run(server, plan, "spacing")
    print(f"5 credentials, 100 ms: {100 * (1000 / 5 - 1) * plan.interval / took:.1f} % of ideal")


async def throughput(server: Postgres) -> None:
    for workers in (1, 2, 4):
        plan = Plan(references=4000, credentials=20, lanes=4000, workers=workers, lost=0, slow=0)
        plan.interval, plan.timeout, plan.concurrency, plan.lease = 0.0, 30.0, 50, 15.0
        took = await run(server, plan, f"through{workers}")
        print(f"{workers} workers: {4000 / took:.0f} vouchers a second")


async def million(server: Postgres) -> None:
    conninfo = server.database("million")
    await Fleet(conninfo).migrate()
    async with Fleet(conninfo) as fleet:
        began = time.monotonic()
        for point in range(10_000):
            await fleet.submit(f"pdv{point}", (f"ref-{point}-{number}" for number in range(100)))
        print(f"submitted in {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        print(await fleet.progress(), f"{time.monotonic() - began:.2f} s")
        sizes = "SELECT pg_size_pretty(pg_table_size(%s)), pg_size_pretty(pg_indexes_size(%s))"

        async def size(connection: Any) -> None:
            for table in ("tusfacturas.work", "tusfacturas.point", "tusfacturas.procrastinate_jobs"):
                print(table, await (await connection.execute(sizes, [table, table])).fetchone())

        await fleet._store.run(size)


def main() -> None:
    what, *rest = sys.argv[1:]
    if what == "child":
        asyncio.run(child(*rest))
        return
    programs = binaries()
    assert programs is not None, "there is no PostgreSQL here"
    with Postgres(programs, durable=True) as server:
        asyncio.run(globals()[what](server))


if __name__ == "__main__":
    main()
