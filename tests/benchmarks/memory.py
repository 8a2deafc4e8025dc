"""Memory of a batch, whatever its length, and of points of sale: ``python -m tests.benchmarks.memory``.

Each figure is of a process of its own, against a transport that answers at once. The first ones are the
resident peak, the last ones what is allocated when the work is done.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Final

import httpx

from tusfacturas_async import AsyncClient, Credentials, Outcome
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

SIZES = (10_000, 200_000)
ALLOWED = 10.0
"""MiB that the larger batch may need more."""

SETS: Final = 10_000
KEPT: Final = 0.02
"""Of what a set of credentials takes while its client is held: what may stay when it is idle and let go."""


def answering() -> httpx.MockTransport:
    return httpx.MockTransport(lambda _: httpx.Response(200, content=b'{"error": "N", "errores": []}'))


async def batch(size: int) -> float:
    """MiB at the peak of one batch."""
    references = (f"pedido-{n}" for n in range(size))
    async with AsyncClient(SANDBOX_CREDENTIALS, transport=answering(), min_interval=0) as client:
        async with client.reprocess_many(references, lane=lambda ref: int(ref[-2:]) % 50) as running:
            done = 0
            async for result in running:
                done += result.outcome is Outcome.ACCEPTED
    assert done == size
    return highest_resident()


def highest_resident() -> float:
    """MiB of this process at its peak; not ``ru_maxrss``, which starts with what the parent had."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def held(sets: int) -> float:
    """Bytes for each set of credentials that was used and whose client is there still."""
    return await _sets(sets, hold=True)


async def idle(sets: int) -> float:
    """Bytes for each that was used and let go, while the client goes on with others."""
    return await _sets(sets, hold=False)


async def _sets(count: int, *, hold: bool) -> float:
    async with AsyncClient(SANDBOX_CREDENTIALS, transport=answering(), min_interval=0.01) as client:

        async def use(number: int) -> AsyncClient:
            mine = Credentials(apikey=number, apitoken=f"apitoken-{number:030}", usertoken="u" * 40)
            other = client.with_credentials(mine)
            await other.reprocess("pedido-1")
            return other

        for number in range(1, 200):  # what is made once is made
            await use(number)
        before = await _allocated()
        clients = [await use(1000 + number) for number in range(count)]
        if not hold:
            clients.clear()
        for number in range(1, 200):
            await use(number)
        return (await _allocated() - before) / count


async def _allocated() -> int:
    await asyncio.sleep(0.1)  # nothing has waited so far: the event loop holds the timers of all requests
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


MEASURES: Final = {each.__name__: each for each in (batch, held, idle)}


def figure(what: str, size: int) -> float:
    """Of a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--one", what, str(size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the sizes: 0.01 to try it")
    parser.add_argument("--one", nargs=2, metavar=("WHAT", "SIZE"), help="one figure alone")
    asked = parser.parse_args()
    if asked.one is not None:
        what, size = asked.one
        if what != batch.__name__:
            tracemalloc.start()
        print(asyncio.run(MEASURES[what](int(size))))
        return
    sizes = [max(1, int(asked.share * size)) for size in SIZES]
    peaks = [figure("batch", size) for size in sizes]
    for size, mib in zip(sizes, peaks, strict=True):
        print(f"{size:>8,} references: {mib:7.1f} MiB at the peak")
    print(f"difference: {peaks[-1] - peaks[0]:.1f} MiB, {ALLOWED:.0f} allowed")
    sets = max(1, int(asked.share * SETS))
    used, left = figure("held", sets), figure("idle", sets)
    print(f"{sets:>8,} sets of credentials: {used:,.0f} bytes each while held, {left:,.0f} when idle")
    print(f"ratio: {left / used:.3f}, {KEPT} allowed")


if __name__ == "__main__":
    main()
