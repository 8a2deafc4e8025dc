"""Faults against real workers, the service counting: ``python -m tests.fleet.chaos --references 10000 …``.

The tests run it small; the figures in docs/how-to/fleet.md are of the command line.
"""

from __future__ import annotations

import argparse
import asyncio
import glob
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, frozen

from tests.fleet.postgres import Postgres, binaries
from tests.fleet.proxy import Proxy
from tests.fleet.service import Service
from tusfacturas_async.fleet import Fleet

LIBFAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)  # noqa: PTH207
"""Sets the wall clock of one process, for all that runs in it."""

FAULTS = ("kill", "pause", "term", "stall", "cut", "restart-fast", "restart-immediate")


@define
class Plan:
    """What is run. ``lease`` and ``timeout`` in seconds; ``every``: seconds between two faults."""

    references: int = 200
    credentials: int = 4
    lanes: int = 12
    workers: int = 3
    faults: tuple[str, ...] = FAULTS
    every: float = 2.0
    most: int = 1000
    seed: int = 1
    lease: float = 2.0
    timeout: float = 1.5
    interval: float = 0.1
    concurrency: int = 20
    lost: float = 0.05
    slow: float = 1.0
    no_gate: bool = False
    patience: float = 120.0
    skew: float = 0.0  # seconds that a worker's wall clock is off, ahead and behind in turn
    attempt: float = 5.0  # seconds after which a worker gives up a connection that does not answer
    points_at_once: int = 50

    @property
    def points(self) -> dict[str, list[list[str]]]:
        points: dict[str, list[list[str]]] = {f"pdv{n}": [] for n in range(self.credentials)}
        names = list(points)
        for lane in range(self.lanes):
            points[names[lane % len(names)]].append([])
        for n in range(self.references):
            lane = n % self.lanes
            points[names[lane % len(names)]][lane // len(names)].append(f"ref-{n}")
        return points


@frozen
class Count:
    """What the service counted, and what the workers wrote down.

    ``closest``: milliseconds between two re-sends of one set of credentials, by the senders' own clock: from
    just after the one's first byte to just before the other's, over all workers. ``closest_any``: lookups
    counted in. ``closest_arrivals``: of re-sends, as the service saw them;
    ``early_arrivals``: how many came closer than the spacing.
    """

    faults: Mapping[str, int]
    lost: int
    blind: int
    disorder: int
    most_effects: int
    untrue: int
    closest: float
    closest_any: float
    closest_arrivals: float
    early_arrivals: int
    seconds: float

    @property
    def good(self) -> bool:
        return not (self.lost or self.blind or self.disorder or self.untrue) and self.most_effects == 1


class Workers:
    """The processes; each is started anew when it ends."""

    def __init__(self, plan: Plan, conninfo: str, url: str, stamps: Path) -> None:
        names = ("lease", "timeout", "interval", "concurrency", "no_gate", "attempt", "points_at_once")
        options = {name: getattr(plan, name) for name in names} | {"stamps": str(stamps)}
        self._command = [sys.executable, "-m", "tests.fleet.worker", conninfo, url]
        self._options = options
        self._skews = itertools.cycle((plan.skew, -plan.skew))
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self) -> None:
        skew, environment = next(self._skews), dict(os.environ)
        if skew and LIBFAKETIME is not None:  # else the worker does it itself, and only where Python looks
            environment |= {"LD_PRELOAD": LIBFAKETIME, "FAKETIME": f"{skew:+.0f}s"}
            environment |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            skew = 0.0
        options = json.dumps(self._options | {"skew": skew})
        process = await asyncio.create_subprocess_exec(*self._command, options, env=environment)
        self.processes.append(process)

    async def replace(self, process: asyncio.subprocess.Process, number: int) -> None:
        if process.returncode is None:
            process.send_signal(number)
        await asyncio.wait_for(process.wait(), 60)
        self.processes.remove(process)
        await self.start()

    async def end(self) -> None:
        for process in self.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()


def lane_of(plan: Plan) -> Callable[[str], int]:
    """The lane of a reference: they were dealt out in turn."""
    return lambda reference: int(reference.partition("-")[2]) % plan.lanes


async def run(plan: Plan, server: Postgres, database: str) -> Count:
    """Submit, break, wait until all is final; then count."""
    dice = random.Random(plan.seed)
    conninfo = server.database(database)
    await Fleet(conninfo).migrate()
    faults: Counter[str] = Counter()
    stamps = Path(tempfile.mkstemp(prefix="stamps")[1])
    service = Service(plan.points, seed=plan.seed, lost=plan.lost, slow=plan.slow)
    began = time.monotonic()
    async with service, Proxy(server.folder) as proxy, Fleet(conninfo, lease=60.0) as fleet:
        workers = Workers(plan, conninfo.replace(str(server.folder), str(proxy.folder)), service.url, stamps)
        for name, lanes in plan.points.items():
            references = (ref for row in itertools.zip_longest(*lanes) for ref in row if ref is not None)
            await fleet.submit(name, references, lane=lane_of(plan))
        for _ in range(plan.workers):
            await workers.start()
        try:
            breaking = asyncio.create_task(_break(plan, dice, server, proxy, workers, faults))
            async with asyncio.timeout(plan.patience):
                while (progress := await fleet.progress()).open:
                    await asyncio.sleep(0.1)
                    if os.environ.get("CHAOS_WATCH"):
                        print(
                            f"{time.monotonic() - began:.1f}", dict(progress.counts), dict(faults), flush=True
                        )
                    if breaking.done():
                        await breaking
        except TimeoutError:
            print("not all ended:", await fleet.progress())
        finally:
            plan.most = 0  # a fault that is under way ends as it must
            await breaking
            await workers.end()
        progress = await fleet.progress()
        untrue = plan.references - progress.counts.get("accepted", 0)
    closest = _closest(stamps, "reenviar_encolado"), _closest(stamps, "")
    stamps.unlink()
    return Count(
        *(faults, len(service.left), len(service.blind), len(service.disorder), service.most_effects, untrue),
        *closest,
        closest_arrivals=1000 * min(service.gaps),
        early_arrivals=sum(gap < plan.interval for gap in service.gaps),
        seconds=time.monotonic() - began,
    )


async def _break(
    plan: Plan, dice: random.Random, server: Postgres, proxy: Proxy, workers: Workers, faults: Counter[str]
) -> None:
    await asyncio.sleep(1.5)

    async def pause(process: asyncio.subprocess.Process) -> None:
        if process.returncode is not None:
            return  # it could not start while PostgreSQL was away, and is started anew when its turn comes
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(plan.lease + dice.uniform(2.5, 4.0))  # until another has taken over
        process.send_signal(signal.SIGCONT)

    async def stall(_: asyncio.subprocess.Process) -> None:
        proxy.flows.clear()
        await asyncio.sleep(dice.uniform(0.5, 2 * plan.lease))
        proxy.flows.set()

    async def cut(_: asyncio.subprocess.Process) -> None:
        proxy.cut()

    acts: dict[str, Callable[[asyncio.subprocess.Process], Awaitable[object]]] = {
        "kill": lambda process: workers.replace(process, signal.SIGKILL),
        "term": lambda process: workers.replace(process, signal.SIGTERM),
        "pause": pause,
        "stall": stall,
        "cut": cut,
        "restart-fast": lambda _: asyncio.to_thread(server.restart, "fast"),
        "restart-immediate": lambda _: asyncio.to_thread(server.restart, "immediate"),
    }
    order: list[str] = []
    while faults.total() < plan.most:
        order = order or dice.sample(plan.faults, len(plan.faults))
        fault = order.pop()
        await acts[fault](dice.choice(workers.processes))
        faults[fault] += 1
        await asyncio.sleep(dice.uniform(0.5, 1.5) * plan.every)


def _closest(stamps: Path, call: str) -> float:
    """Milliseconds; see ``Count``. ``call``: how its name begins."""
    starts: dict[str, list[tuple[float, float]]] = {}
    for line in stamps.read_text().splitlines():
        before, after, called, key = line.split()
        if called.startswith(call):
            starts.setdefault(key, []).append((float(before), float(after)))
    gaps = [
        1000 * (later[0] - earlier[1])
        for each in starts.values()
        for earlier, later in itertools.pairwise(sorted(each))
    ]
    return min(gaps, default=float("inf"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("references", "credentials", "lanes", "workers", "concurrency", "most"):
        parser.add_argument(f"--{name}", type=int, default=getattr(Plan(), name))
    for name in ("every", "lease", "timeout", "interval", "lost", "slow", "patience"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Plan(), name))
    parser.add_argument("--faults", nargs="*", choices=FAULTS, default=FAULTS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--no-gate", action="store_true")
    arguments = vars(parser.parse_args())
    seeds = arguments.pop("seeds")
    programs = binaries()
    assert programs is not None, "there is no PostgreSQL here"
    bad = 0
    with Postgres(programs, durable=True) as server:
        for seed in seeds:
            plan: dict[str, Any] = arguments | {"faults": tuple(arguments["faults"]), "seed": seed}
            count = asyncio.run(run(Plan(**plan), server, f"chaos{seed}"))
            print(seed, count, "good" if count.good else "BAD", flush=True)
            bad += not count.good
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
