"""A real server whose every connection counts: what is mocked must not reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import AsyncClient, RetryPolicy
from tusfacturas_async.sandbox import Queue

ACCEPTED: dict[str, Any] = {"error": "N", "errores": []}
RESEND = "v2/facturacion/reenviar_encolado"
ONCE = RetryPolicy(attempts=1, backoff=0)


@asynccontextmanager
async def counting(**options: Any) -> AsyncIterator[tuple[Loopback, AsyncClient]]:
    """The server, and a client of it as a user makes one."""
    async with (
        Loopback(Queue([f"r{n}" for n in range(10)])) as server,
        AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0, retry=ONCE, **options) as client,
    ):
        yield server, client


def reached(server: Loopback) -> int:
    """Connections and requests that came."""
    return server.most_open + len(server.resends) + server.lookups
