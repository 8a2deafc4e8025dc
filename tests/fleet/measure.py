"""The figures of docs/how-to/fleet.md: ``python -m tests.fleet.measure cpu|spacing|throughput|million``.

``million`` takes seconds to work for (240). With ``FLEET_DATA``, a folder that keeps PostgreSQL's data, the
next call goes on where this one ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from tests.fleet.chaos import Plan, Workers, lane_of
from tests.fleet.postgres import Postgres, binaries, cpu_of, memory_of
from tests.fleet.service import Service, credentials
from tests.fleet.test_schema import CALLS, explained
from tests.loopback.server import ok
from tusfacturas_async import AsyncClient, Journal, JournalError
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


class Figures(NamedTuple):
    """Of one run, from the first re-send to the last: seconds, and of the processor the seconds of each."""

    took: float
    workers: float
    postgres: float
    service: float

    def told(self, vouchers: int) -> str:
        used = {"workers": self.workers, "PostgreSQL": self.postgres, "service": self.service}
        cores = ", ".join(f"{who} {seconds / self.took:.2f}" for who, seconds in used.items())
        each = ", ".join(f"{who} {1000 * seconds / vouchers:.2f}" for who, seconds in used.items())
        return f"{vouchers / self.took:.0f} vouchers a second; cores: {cores}; ms of a core for each: {each}"


async def run(server: Postgres, plan: Plan, name: str) -> Figures:
    conninfo = server.database(name)
    await Fleet(conninfo).migrate()
    async with Service(plan.points) as service, Fleet(conninfo) as fleet:
        workers = Workers(plan, conninfo, service.url, Path(os.devnull))
        for _ in range(plan.workers):
            await workers.start()
        await asyncio.sleep(3 + plan.workers)
        before = Figures(0.0, _used(workers), server.cpu, time.process_time())
        try:
            for point, lanes in plan.points.items():
                await fleet.submit(point, [ref for lane in lanes for ref in lane], lane=lane_of(plan))
            while (await fleet.progress()).open:
                await asyncio.sleep(0.2)
            after = Figures(0.0, _used(workers), server.cpu, time.process_time())
        finally:
            await workers.end()
        arrivals = [at for times in service.arrivals.values() for at in times]
    used = (later - earlier for later, earlier in zip(after[1:], before[1:], strict=True))
    return Figures(max(arrivals) - min(arrivals), *used)


def _used(workers: Workers) -> float:
    return sum(cpu_of(process.pid) for process in workers.processes)


async def spacing(server: Postgres) -> None:
    plan = Plan(references=1000, credentials=5, lanes=100, workers=2, lost=0, slow=0, lease=15, timeout=30)
    figures = await run(server, plan, "spacing")
    ideal = (1000 / 5 - 1) * plan.interval
    print(f"5 credentials, 100 ms: {100 * ideal / figures.took:.1f} % of ideal; {figures.told(1000)}")


async def throughput(server: Postgres) -> None:
    for workers in (1, 2, 4):
        plan = Plan(references=8000, credentials=20, lanes=8000, workers=workers, lost=0, slow=0)
        plan.interval, plan.timeout, plan.concurrency, plan.lease = 0.0, 30.0, 50, 15.0
        figures = await run(server, plan, f"through{workers}")
        print(f"{workers} workers: {figures.told(8000)}", flush=True)


POINTS, EACH, AT_ONCE = 10_000, 100, 4


class Accepting(Service):
    """Accepts whatever it is sent, and remembers how often: a million vouchers are too many to keep."""

    async def _answer(self, call: str, payload: dict[str, Any]) -> bytes:
        assert call == "reenviar_encolado"
        self.sent[payload["external_reference"]] += 1
        return ok(b'{"error":"N","errores":[]}')


async def _million(server: Postgres) -> str:
    """Where the million is: submitted when it is not there yet."""
    conninfo = server.conninfo("million")
    try:
        async with Fleet(conninfo):
            return conninfo
    except JournalError:
        server.database("million")
    await Fleet(conninfo).migrate()
    async with Fleet(conninfo) as fleet:
        began, points = time.monotonic(), iter(range(POINTS))

        async def submit() -> None:
            for point in points:
                await fleet.submit(f"pdv{point}", (f"ref-{point}-{number}" for number in range(EACH)))

        await asyncio.gather(*(submit() for _ in range(AT_ONCE)))
        print(f"submitted in {time.monotonic() - began:.0f} s, {AT_ONCE} points of sale at once", flush=True)
        began = time.monotonic()
        print(await fleet.progress(), f"{time.monotonic() - began:.2f} s")
        await _sizes(fleet)
    return conninfo


async def _sizes(fleet: Fleet) -> None:
    sizes = "SELECT pg_size_pretty(pg_table_size(%s)), pg_size_pretty(pg_indexes_size(%s))"
    hot = (
        "SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname IN ('work', 'point')"
    )

    async def told(connection: Any) -> None:
        for table in ("tusfacturas.work", "tusfacturas.point", "tusfacturas.procrastinate_jobs"):
            print(table, await (await connection.execute(sizes, [table, table])).fetchone())
        print("updates, and those that were HOT:", await (await connection.execute(hot)).fetchall())

    await fleet._store.run(told)


async def million(server: Postgres, seconds: str = "240") -> None:
    """Work on it for so long with two workers, their memory told at steps; call it again to go on."""
    conninfo = await _million(server)
    plan = Plan(workers=2, interval=0.1, timeout=30.0, concurrency=50, lease=15.0, points_at_once=100)
    async with Accepting({}) as service, Fleet(conninfo) as fleet:
        workers = Workers(plan, conninfo, service.url, Path(os.devnull))
        for _ in range(plan.workers):
            await workers.start()
        began, used, sent, passed = time.monotonic(), server.cpu, 0, 0.0
        try:
            while passed < float(seconds):
                await asyncio.sleep(min(20.0, float(seconds) - passed + 0.01))
                step, passed = passed, time.monotonic() - began
                memory = ", ".join(f"{memory_of(process.pid):.1f}" for process in workers.processes)
                rate = (service.sent.total() - sent) / (passed - step)
                sent = service.sent.total()
                print(
                    f"{passed:4.0f} s: {sent} sent ({rate:.0f}/s), MiB of the workers: {memory}", flush=True
                )
            cpu_time = server.cpu - used, _used(workers)
            for process in list(workers.processes):
                process.terminate()
                assert await process.wait() == 0
        finally:
            await workers.end()
        print(
            "ms of a core for each: PostgreSQL {:.2f}, workers {:.2f}".format(
                *(1000 * t / sent for t in cpu_time)
            )
        )
        print(await fleet.progress(), "most for one:", max(service.sent.values()))
        await asyncio.sleep(2)
        await _sizes(fleet)
        for statement in CALLS:
            plan_of = await explained(fleet, statement)
            print(statement, "reads a whole table" if "Seq Scan" in plan_of else "by index", flush=True)


def main() -> None:
    what, *rest = sys.argv[1:]
    kept = os.environ.get("FLEET_DATA")
    if what == "child":
        asyncio.run(child(*rest))
        return
    programs = binaries()
    assert programs is not None, "there is no PostgreSQL here"
    with Postgres(programs, durable=True, kept=Path(kept) if kept else None) as server:
        asyncio.run(globals()[what](server, *rest))


if __name__ == "__main__":
    main()
