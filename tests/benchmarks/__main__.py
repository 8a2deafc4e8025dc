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
from pathlib import Path
from typing import Any

from . import extras
from .chart import draw
from .contestants import CONTESTANTS
from .server import serving

FLIGHTS = (1, 10, 50, 100, 200)
LATENCIES = (0.0, 0.05)
RESULTS = Path(__file__).parent / "results"


def requests(name: str, flight: int, latency: float) -> int:
    """How many, so that no one takes much longer than the others, and waves do not show."""
    if "gather" in name:
        return max(200, 2 * flight) if flight > 1 or not latency else 20
    if latency:
        return {1: 20, 10: 200}.get(flight, 1500)
    return 600


async def measure(
    port: int, flight: int, latency: float, *, rounds: int, share: float
) -> dict[str, list[tuple[float, float]]]:
    """(CPU milliseconds per request, requests per second) of each round, the contestants taking turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, contestant in CONTESTANTS.items():
            count = max(1, int(share * requests(name, flight, latency)))
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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the requests and references: 0.01 to try it"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    asked = parser.parse_args()
    results: dict[str, Any] = {}
    lines: list[str] = []
    for latency in LATENCIES:
        with serving(latency) as port:
            found = {
                flight: asyncio.run(measure(port, flight, latency, rounds=asked.rounds, share=asked.share))
                for flight in FLIGHTS
            }
        cpu = {n: {str(f): summary([c for c, _ in found[f][n]]) for f in FLIGHTS} for n in CONTESTANTS}
        rate = {n: {str(f): summary([r for _, r in found[f][n]]) for f in FLIGHTS} for n in CONTESTANTS}
        results[f"latency {latency}"] = {"cpu_ms": cpu, "rate": rate}
        lines += table(f"CPU ms per request, latency {latency * 1000:.0f} ms, by requests in flight", cpu, 3)
        lines += table(f"Requests per second, latency {latency * 1000:.0f} ms", rate, 0)
    lines += ratios(results["latency 0.0"]["cpu_ms"], results["latency 0.05"]["rate"])
    results["extras"], told = extras.measure(asked.share)
    lines += told
    asked.results.mkdir(exist_ok=True)
    (asked.results / "latest.json").write_text(json.dumps(results, indent=1))
    (asked.results / "latest.md").write_text("\n".join(lines))
    draw(results["latency 0.05"]["cpu_ms"], asked.results / "latest.svg")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
