"""``python -m tests.benchmarks [--quick]``: everything side by side, interleaved; writes Markdown and JSON.

CPU is that of this process (the client's); the server runs in another. Each figure is the median of the
rounds, with half the spread (highest less lowest, over the median). Compare within one run only.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from . import extras
from .contestants import CONTESTANTS
from .server import serving

FLIGHTS = (1, 10, 50, 100, 200)
ROUNDS = 5
LATENCIES = (0.0, 0.05)
FOLDER = Path(__file__).parent / "results"


def requests(name: str, flight: int, latency: float) -> int:
    """How many, so that no one takes much longer than the others, and waves do not show."""
    if "gather" in name:
        return max(200, 2 * flight) if flight > 1 or not latency else 20
    if latency:
        return {1: 20, 10: 200}.get(flight, 1500)
    return 600


async def measure(
    port: int, flight: int, latency: float, rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """(CPU milliseconds per request, requests per second) of each round, the contestants taking turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, contestant in CONTESTANTS.items():
            count = requests(name, flight, latency)
            async with contestant(port, flight) as run:
                await run(min(count, 2 * flight))  # connections are open, code is warm
                gc.collect()
                cpu, clock = time.process_time(), time.perf_counter()
                await run(count)
                cpu, clock = time.process_time() - cpu, time.perf_counter() - clock
            found[name].append((1000 * cpu / count, count / clock))
    return found


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


def ratios(
    cpu: dict[str, dict[str, dict[str, float]]], rate: dict[str, dict[str, dict[str, float]]]
) -> list[str]:
    def of(name: str, flight: int) -> float:
        return cpu[name][str(flight)]["median"]

    ours, journal = "reprocess_many", "reprocess_many, journal"
    targets = [
        ("reprocess_many / httpx at 50", of(ours, 50) / of("httpx, gather", 50), 1 / 3),
        ("reprocess_many / httpx at 100", of(ours, 100) / of("httpx, gather", 100), 1 / 6),
        ("reprocess_many at 100 / at 10", of(ours, 100) / of(ours, 10), 1.2),
        ("reprocess_many / bare transport at 50", of(ours, 50) / of("bare transport", 50), 1.2),
        ("with a journal / without at 50", of(journal, 50) / of(ours, 50), 1.2),
        ("reprocess_many / aiohttp at 50", of(ours, 50) / of("aiohttp, workers", 50), 2.0),
    ]
    lines = ["### Targets", "", "| ratio | measured | at most | |", "|---|---:|---:|---|"]
    lines += [
        f"| {name} | {value:.2f} | {most:.2f} | {_met(value <= most)} |" for name, value, most in targets
    ]
    slow, aio = (rate[name]["50"]["median"] for name in (ours, "aiohttp, workers"))
    told = _met(slow >= 950) if aio >= 1000 else "aiohttp does not reach 1,000 here"
    lines.append(f"| of 1,000 requests/s at 50 ms and 50 in flight | {slow:.0f} | at least 950 | {told} |")
    lines.append(f"| the same, of what aiohttp reaches ({aio:.0f}) | {slow / aio:.2f} | | |")
    return [*lines, ""]


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def main() -> None:
    rounds = 2 if "--quick" in sys.argv else ROUNDS
    results: dict[str, Any] = {}
    lines: list[str] = []
    for latency in LATENCIES:
        with serving(latency) as port:
            found = {f: asyncio.run(measure(port, f, latency, rounds)) for f in FLIGHTS}
        cpu = {n: {str(f): summary([c for c, _ in found[f][n]]) for f in FLIGHTS} for n in CONTESTANTS}
        rate = {n: {str(f): summary([r for _, r in found[f][n]]) for f in FLIGHTS} for n in CONTESTANTS}
        results[f"latency {latency}"] = {"cpu_ms": cpu, "rate": rate}
        lines += table(f"CPU ms per request, latency {latency * 1000:.0f} ms, by requests in flight", cpu, 3)
        lines += table(f"Requests per second, latency {latency * 1000:.0f} ms", rate, 0)
    lines += ratios(results["latency 0.0"]["cpu_ms"], results["latency 0.05"]["rate"])
    results["extras"], told = extras.measure()
    lines += told
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "latest.json").write_text(json.dumps(results, indent=1))
    (FOLDER / "latest.md").write_text("\n".join(lines))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
