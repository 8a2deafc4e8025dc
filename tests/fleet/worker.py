"""A worker process of the chaos harness: ``python -m tests.fleet.worker CONNINFO URL OPTIONS`` (JSON).

It stamps each request on the boot-time clock, which all processes share, where its first byte is handed to
the kernel: just before and just after, below everything that is tested.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from asyncio.selector_events import _SelectorSocketTransport as SocketTransport  # type: ignore[attr-defined]
from datetime import UTC, datetime, timedelta
from typing import Any
from weakref import WeakKeyDictionary

from tests.fleet.service import credentials
from tusfacturas_async import AsyncClient, RetryPolicy
from tusfacturas_async._call import clock
from tusfacturas_async.fleet import Fleet, Worker, jobs, lease, store
from tusfacturas_async.fleet.lease import Lease, boot_time


def stamp_writes(stamps: int) -> None:
    """Of each request a line: before and after its first byte, which call, whose."""
    write = SocketTransport.write
    heads: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def stamped(transport: Any, data: Any) -> None:
        before = boot_time()
        write(transport, data)
        if bytes(data[:5]) == b"POST ":
            call = bytes(data).partition(b" HTTP/")[0].rpartition(b"/")[2].decode()
            heads[transport] = f"{before} {boot_time()} {call}"
        if transport in heads and (key := re.search(rb'"apikey": ?"(\w+)"', data)):
            os.write(stamps, f"{heads.pop(transport)} {key[1].decode()}\n".encode())

    SocketTransport.write = stamped


async def main(conninfo: str, url: str, options: dict[str, Any]) -> None:
    if options["no_gate"]:
        Lease.refusal = lambda _: None  # type: ignore[assignment,method-assign]
    for module in (store, jobs, lease):
        module.ATTEMPT = options["attempt"]  # type: ignore[attr-defined]
    if options["skew"]:
        wall_clock, off = time.time, timedelta(seconds=options["skew"])
        time.time = lambda: wall_clock() + options["skew"]
        clock.utcnow = lambda: datetime.now(UTC) + off
    client = AsyncClient(
        credentials("0"),
        base_url=url,
        min_interval=options["interval"],
        max_concurrency=options["concurrency"],
        timeout=options["timeout"],
        retry=RetryPolicy(attempts=4, backoff=0.1, max_backoff=0.5),
    )
    stamp_writes(os.open(options["stamps"], os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    async with client, Fleet(conninfo, lease=options["lease"]) as fleet:
        await Worker(fleet, client, credentials, points=options["points_at_once"]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
