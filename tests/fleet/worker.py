"""A worker process of the chaos harness: ``python -m tests.fleet.worker CONNINFO URL OPTIONS`` (JSON).

It stamps each re-send on the boot-time clock, just before the transport gets it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fleet.service import credentials
from tusfacturas_async import AsyncClient, RetryPolicy
from tusfacturas_async._call import clock
from tusfacturas_async.fleet import Fleet, Worker
from tusfacturas_async.fleet.lease import Lease, boot_time


async def main(conninfo: str, url: str, options: dict[str, Any]) -> None:
    if options["no_gate"]:
        Lease.refusal = lambda _: None  # type: ignore[assignment,method-assign]
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
    stamps = os.open(options["stamps"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    transport: Any = client._line.transport
    post = transport.post

    async def stamped(path: str, body: bytes, **rest: Any) -> Any:
        if path.endswith("reenviar_encolado"):
            os.write(stamps, f"{boot_time()} {json.loads(body)['apikey']}\n".encode())
        return await post(path, body, **rest)

    transport.post = stamped
    async with client, Fleet(conninfo, lease=options["lease"]) as fleet:
        await Worker(fleet, client, credentials, points=options["points"]).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))
