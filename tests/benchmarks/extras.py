"""What else is measured: imports, spacing, memory, webhooks."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import httpx

from tusfacturas_async import AsyncClient, WebhookEvent, WebhookReceiver, receive_webhook, sign_webhook
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

from . import memory

TOKEN = "benchmark"


def import_ratio(rounds: int = 15) -> float:
    """``import tusfacturas_async`` over ``import httpx, attrs, tenacity``, fresh processes taking turns."""

    def seconds(names: str) -> float:
        code = f"import time; t = time.perf_counter(); import {names}; print(time.perf_counter() - t)"
        return float(
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
        )

    pairs = [(seconds("tusfacturas_async"), seconds("httpx, attrs, tenacity")) for _ in range(rounds)]
    return statistics.median(ours for ours, _ in pairs) / statistics.median(core for _, core in pairs)


async def spacing(interval: float, count: int) -> tuple[float, float]:
    """(share of the ideal rate, the closest two starts over the interval)."""
    starts: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        starts.append(time.perf_counter())
        return httpx.Response(200, content=b'{"error": "N"}')

    transport = httpx.MockTransport(handler)
    async with AsyncClient(SANDBOX_CREDENTIALS, transport=transport, min_interval=interval) as client:
        await client.reprocess_all(f"r{n}" for n in range(count))
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    return interval * len(gaps) / (starts[-1] - starts[0]), min(gaps) / interval


def events_parsed() -> float:
    """``receive_webhook`` calls per second."""
    signed = sign_webhook(TOKEN, external_reference="pedido-1", msg=["a text"])
    count = 20_000
    started = time.perf_counter()
    for _ in range(count):
        receive_webhook(signed.headers, signed.body, TOKEN)
    return count / (time.perf_counter() - started)


async def events_received() -> float:
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

    count = 20_000
    started = time.perf_counter()
    for _ in range(count):
        await receiver(scope, receive, send)
    return count / (time.perf_counter() - started)


def measure() -> tuple[dict[str, Any], list[str]]:
    found: dict[str, Any] = {"import ratio": import_ratio()}
    for interval, count in ((0.1, 60), (0.01, 400)):
        found[f"spacing {interval}"] = asyncio.run(spacing(interval, count))
    found["receive_webhook per second"] = events_parsed()
    found["receiver per second"] = asyncio.run(events_received())
    peaks = [memory.peak(size) for size in memory.SIZES]
    found["peak MiB"] = dict(zip(map(str, memory.SIZES), peaks, strict=True))
    lines = ["### The rest", "", "| | measured | target |", "|---|---:|---|"]
    lines.append(f"| import, over httpx, attrs and tenacity | {found['import ratio']:.2f} | at most 1.15 |")
    for interval in (0.1, 0.01):
        rate, closest = found[f"spacing {interval}"]
        told = f"{rate:.1%} of the ideal rate; closest {closest:.3f}"
        lines.append(f"| spacing at {interval} s | {told} | at least 99 %; at least 1 |")
    lines.append(f"| receive_webhook | {found['receive_webhook per second']:,.0f}/s | |")
    lines.append(f"| WebhookReceiver, in process | {found['receiver per second']:,.0f}/s | |")
    lines.append(
        f"| peak memory, 200,000 over 10,000 references | {peaks[1] - peaks[0]:+.1f} MiB | at most +10 |"
    )
    return found, [*lines, ""]
