"""``python -m tests.benchmarks``: everything side by side, interleaved; writes Markdown, JSON and a chart.

CPU is that of this process (the client's); the server runs in another. Each figure is the median of the
rounds, with half the spread (highest less lowest, over the median). Compare within one run only.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from . import extras
from .contestants import CONTESTANTS, Run
from .server import serving

FLIGHTS = (1, 10, 50, 100, 200)
LATENCIES = (0.0, 0.05)
TARGETS = (
    ("reprocess_many", 50, "httpx, gather", 50, 1 / 4),
    ("reprocess_many", 100, "httpx, gather", 100, 1 / 6),
    ("reprocess_many", 100, "reprocess_many", 10, 1.25),
    ("reprocess_many, journal", 10, "reprocess_many", 10, 1.2),
    ("reprocess_many, journal", 50, "reprocess_many", 50, 1.2),
    ("reprocess_many, direct", 10, "aiohttp, workers", 10, 1.0),
    ("reprocess_many, direct", 50, "aiohttp, workers", 50, 1.0),
    ("reprocess_many, direct on h11", 50, "aiohttp, workers", 50, 1.5),
)
"""Who, with how many in flight, over whom, with how many; and the most that it may be."""

RESULTS = Path(__file__).parent / "results"


def requests(name: str, flight: int, latency: float) -> int:
    """How many, so that no one takes much longer than the others, and waves do not show."""
    if "gather" in name:
        return max(200, 2 * flight) if flight > 1 or not latency else 20
    if latency:
        return {1: 20, 10: 200}.get(flight, 1500)
    return 600


def measure(
    port: int, flight: int, latency: float, names: Iterable[str], *, rounds: int, share: float
) -> dict[str, list[tuple[float, float]]]:
    """(CPU milliseconds per request, requests per second) of each round, the contestants taking turns.

    Each has an event loop of its own, so that none pays for what another left to be closed.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, measured in found.items():
            count = max(1, int(share * requests(name, flight, latency)))
            measured.append(asyncio.run(once(CONTESTANTS[name](port, flight), count, flight)))
    return found


async def once(contestant: AbstractAsyncContextManager[Run], count: int, flight: int) -> tuple[float, float]:
    async with contestant as run:
        await run(min(count, 2 * flight))  # connections are open, code is warm
        gc.collect()
        cpu, clock = time.process_time(), time.perf_counter()
        await run(count)
        cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
    return 1000 * cpu / count, count / clock


def side_by_side(
    latency: float, flights: Iterable[int], names: Iterable[str], asked: argparse.Namespace
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """CPU milliseconds per request, and requests per second, of each and for each number in flight."""
    with serving(latency) as port:
        found = {
            flight: measure(port, flight, latency, names, rounds=asked.rounds, share=asked.share)
            for flight in flights
        }
    cpu = {n: {str(f): summary([c for c, _ in found[f][n]]) for f in found} for n in names}
    rate = {n: {str(f): summary([r for _, r in found[f][n]]) for f in found} for n in names}
    return cpu, rate


def summary(values: list[float]) -> dict[str, float]:
    median = statistics.median(values)
    return {"median": median, "spread": (max(values) - min(values)) / median}


def table(title: str, rows: dict[str, dict[str, dict[str, float]]], digits: int) -> list[str]:
    columns = list(next(iter(rows.values())))
    lines = [f"### {title}", "", "| |" + "|".join(columns) + "|", "|---|" + "---:|" * len(columns)]
    for name, cells in rows.items():
        shown = (f"{cell['median']:.{digits}f} ±{50 * cell['spread']:.0f} %" for cell in cells.values())
        lines.append(f"| {name} |" + "|".join(shown) + "|")
    return [*lines, ""]


def targets(cpu: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Ratios of CPU per request, without latency, and what each may be at most."""
    lines = ["### Targets", "", "| ratio | measured | at most | |", "|---|---:|---:|---|"]
    for ours, flight, theirs, their_flight, most in TARGETS:
        ratio = cpu[ours][str(flight)]["median"] / cpu[theirs][str(their_flight)]["median"]
        name = f"{ours} at {flight} / {theirs} at {their_flight}"
        lines.append(f"| {name} | {ratio:.2f} | {most:.2f} | {_met(ratio <= most)} |")
    return [*lines, ""]


def throughput(rate: dict[str, dict[str, dict[str, float]]]) -> list[str]:
    """Requests a second where each waits 50 ms for its answer, 50 in flight: 1,000 at best."""
    lines = ["### Requests a second at 50 ms and 50 in flight", "", "| | |", "|---|---:|"]
    shown = ("aiohttp, workers", "reprocess_many", "reprocess_many, direct")
    return [*lines, *(f"| {name} | {rate[name]['50']['median']:.0f} |" for name in shown), ""]


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the requests and references: 0.01 to try it"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    parser.add_argument("--targets", action="store_true", help="only what the targets need, printed alone")
    asked = parser.parse_args()
    if asked.targets:
        names = {name for ours, _, theirs, _, _ in TARGETS for name in (ours, theirs)}
        cpu, _ = side_by_side(0.0, (10, 50, 100), sorted(names), asked)
        print("\n".join(targets(cpu)))
        return
    results: dict[str, Any] = {}
    lines: list[str] = []
    for latency in LATENCIES:
        cpu, rate = side_by_side(latency, FLIGHTS, CONTESTANTS, asked)
        results[f"latency {latency}"] = {"cpu_ms": cpu, "rate": rate}
        lines += table(f"CPU ms per request, latency {latency * 1000:.0f} ms, by requests in flight", cpu, 3)
        lines += table(f"Requests per second, latency {latency * 1000:.0f} ms", rate, 0)
    lines += targets(results["latency 0.0"]["cpu_ms"]) + throughput(results["latency 0.05"]["rate"])
    results["extras"], told = extras.measure(asked.share)
    lines += told
    asked.results.mkdir(exist_ok=True)
    (asked.results / "latest.json").write_text(json.dumps(results, indent=1))
    (asked.results / "latest.md").write_text("\n".join(lines))
    from .chart import draw  # noqa: PLC0415 - its library's objects would be walked between all measurements

    draw(results["latency 0.05"]["cpu_ms"], asked.results / "latest.svg")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
