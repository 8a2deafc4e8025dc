"""What else is measured: imports, spacing, memory, webhooks."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

from tusfacturas_async import WebhookEvent, WebhookReceiver, receive_webhook, sign_webhook

from . import memory
from .contestants import client
from .server import serving

TOKEN = "benchmark"


def import_ratio(ours: str, rounds: int) -> float:
    """CPU of ``ours`` over that of ``import httpx, attrs, tenacity``, fresh processes taking turns.

    Both from bytecode, as installed packages are: the first pair writes it and is not counted.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def seconds(statement: str) -> float:
        code = f"import time; t = time.process_time(); {statement}; print(time.process_time() - t)"
        command = [sys.executable, "-c", code]
        return float(subprocess.check_output(command, env=environment, text=True))

    core = "import httpx, attrs, tenacity"
    pairs = [(seconds(ours), seconds(core)) for _ in range(rounds + 1)][1:]
    return statistics.median(our for our, _ in pairs) / statistics.median(its for _, its in pairs)


async def spacing(port: int, interval: float, count: int) -> tuple[float, float, float]:
    """The closest two starts, the median, and the mean, each over the interval; the mean has the stalls."""
    async with client(port, 10, min_interval=interval) as ours:
        report = await ours.reprocess_all(f"r{n}" for n in range(count))
    starts = sorted(attempt.started_at for result in report.results for attempt in result.attempts)
    gaps = [(later - earlier).total_seconds() / interval for earlier, later in pairwise(starts)]
    return min(gaps), statistics.median(gaps), statistics.mean(gaps)


async def sleeping(interval: float, count: int) -> float:
    """The mean of as many bare ``asyncio.sleep``, over the interval: what the machine alone makes late."""
    started = time.perf_counter()
    for _ in range(count):
        await asyncio.sleep(interval)
    return (time.perf_counter() - started) / count / interval


def events_parsed(count: int) -> float:
    """``receive_webhook`` calls per second."""
    signed = sign_webhook(TOKEN, external_reference="pedido-1", msg=["a text"])
    started = time.perf_counter()
    for _ in range(count):
        receive_webhook(signed.headers, signed.body, TOKEN)
    return count / (time.perf_counter() - started)


async def events_received(count: int) -> float:
    """Deliveries per second through ``WebhookReceiver``, without a socket."""
    signed = sign_webhook(TOKEN, external_reference="pedido-1")
    headers = [(name.lower().encode(), value.encode()) for name, value in signed.headers.items()]

    async def handler(event: WebhookEvent) -> None:
        pass

    receiver = WebhookReceiver(handler, tokens=TOKEN)
    scope = {"type": "http", "method": "POST", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": signed.body, "more_body": False}

    async def send(message: Any) -> None:
        pass

    started = time.perf_counter()
    for _ in range(count):
        await receiver(scope, receive, send)
    return count / (time.perf_counter() - started)


def measure(share: float) -> tuple[dict[str, Any], list[str]]:
    rounds = max(1, int(share * 15))
    found: dict[str, Any] = {
        "import ratio": import_ratio("import tusfacturas_async", rounds),
        "import of all names": import_ratio("from tusfacturas_async import *", rounds),
    }
    lines = ["### The rest", "", "| | measured | target |", "|---|---:|---|"]
    lines.append(f"| import, over httpx, attrs and tenacity | {found['import ratio']:.2f} | at most 1.15 |")
    lines.append(f"| the same with every name loaded | {found['import of all names']:.2f} | |")
    with serving(0.0) as port:
        for interval, count in ((0.1, 60), (0.01, 400)):
            closest, median, mean = asyncio.run(spacing(port, interval, max(5, int(share * count))))
            slept = asyncio.run(sleeping(interval, max(5, int(share * count))))
            gaps = {"closest": closest, "median": median, "mean": mean, "bare sleep": slept}
            found[f"spacing {interval}"] = gaps
            told = f"median {1 / median:.1%}, mean {1 / mean:.1%} (bare sleep {1 / slept:.1%})"
            lines.append(f"| spacing at {interval} s: share of the ideal rate | {told} | at least 99 % |")
            lines.append(f"| spacing at {interval} s: closest two starts | {closest:.4f} | at least 1 |")
    found["receive_webhook per second"] = events_parsed(int(share * 20_000))
    lines.append(f"| receive_webhook | {found['receive_webhook per second']:,.0f}/s | |")
    found["receiver per second"] = asyncio.run(events_received(int(share * 20_000)))
    lines.append(f"| WebhookReceiver, in process | {found['receiver per second']:,.0f}/s | |")
    peaks = [memory.figure("batch", int(share * size)) for size in memory.SIZES]
    found["peak MiB"] = dict(zip(map(str, memory.SIZES), peaks, strict=True))
    told = f"{peaks[-1] - peaks[0]:+.1f} MiB"
    lines.append(f"| peak memory, 200,000 over 10,000 references | {told} | at most +10 |")
    held, idle = (memory.figure(what, int(share * memory.SETS)) for what in ("held", "idle"))
    found["bytes for each set of credentials"] = {"held": held, "idle": idle}
    told = f"{idle / held:.3f} ({idle:,.0f} over {held:,.0f} bytes)"
    lines.append(f"| memory of 10,000 sets of credentials, idle over held | {told} | at most {memory.KEPT} |")
    return found, [*lines, ""]
