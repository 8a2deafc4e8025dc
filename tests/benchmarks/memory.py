"""Peak resident memory of a batch against the number of references: ``python -m tests.benchmarks.memory``.

Each size runs in a process of its own, against a transport that answers at once.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx

from tusfacturas_async import AsyncClient, Outcome
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

SIZES = (10_000, 200_000)
ALLOWED = 10.0
"""MiB that the larger batch may need more."""


async def batch(size: int) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b'{"error": "N", "errores": []}'))
    references = (f"pedido-{n}" for n in range(size))
    async with AsyncClient(SANDBOX_CREDENTIALS, transport=transport, min_interval=0) as client:
        async with client.reprocess_many(references, lane=lambda ref: int(ref[-2:]) % 50) as running:
            done = 0
            async for result in running:
                done += result.outcome is Outcome.ACCEPTED
    assert done == size


def highest_resident() -> float:
    """MiB of this process at its peak; not ``ru_maxrss``, which starts with what the parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def peak(size: int) -> float:
    """MiB of a fresh process that runs one batch."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", str(size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    if len(sys.argv) > 1:
        asyncio.run(batch(int(sys.argv[1])))
        print(highest_resident())
        return
    peaks = [peak(size) for size in SIZES]
    for size, mib in zip(SIZES, peaks, strict=True):
        print(f"{size:>8,} references: {mib:7.1f} MiB at the peak")
    print(f"difference: {peaks[-1] - peaks[0]:.1f} MiB, {ALLOWED:.0f} allowed")


if __name__ == "__main__":
    main()
