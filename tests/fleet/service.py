"""The service of many points of sale, counting for itself: who was sent what, when, after which lookup."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.loopback.server import ok
from tusfacturas_async import AsyncClient, Credentials, RetryPolicy
from tusfacturas_async.sandbox import Queue, State

if TYPE_CHECKING:
    from types import TracebackType

CLOSED = (Path(__file__).parents[1] / "golden" / "maintenance.json").read_bytes()
HASTY = RetryPolicy(attempts=2, backoff=0.01)


def credentials(name: str) -> Credentials:
    """The credentials of a point of sale: what a worker resolves its name to."""
    return Credentials(
        apikey=f"8{name}", apitoken=f"secret-apitoken-{name}", usertoken=f"secret-usertoken-{name}"
    )


class Service:
    """Serves re-sends and lookups, and goes on with its work when the caller is gone.

    Args:
        points: For each point of sale its lanes, each a list of references in order.
        seed: Of the dice.
        lost: The share of answers that are lost, half of them with the work undone.
        slow: Seconds that one request in fifty is worked on.
    """

    def __init__(
        self, points: dict[str, list[list[str]]], *, seed: int = 0, lost: float = 0.0, slow: float = 0.0
    ) -> None:
        self.dice = random.Random(seed)
        self.lost = lost
        self.slow = slow
        self.think = 0.01
        self.pause = 0.0  # answers 429 with this Retry-After while it is above 0
        self.queues = {name: Queue([ref for lane in lanes for ref in lane]) for name, lanes in points.items()}
        self.before = {
            ref: lane[n - 1] for lanes in points.values() for lane in lanes for n, ref in enumerate(lane) if n
        }
        self.names = {credentials(name).apitoken: name for name in points}
        self.arrivals: dict[str, list[float]] = {name: [] for name in points}
        self.sent: Counter[str] = Counter()
        self.working: Counter[str] = Counter()
        self.maintenance = False
        self.locked_out: set[str] = set()  # answers these 401
        self.lookups = 0
        self.refused = 0
        self.seen_errored: set[str] = set()
        self.blind: list[str] = []
        self.disorder: list[str] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/app/api/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def client(self, **options: Any) -> AsyncClient:
        given: dict[str, Any] = {"min_interval": 0.0, "timeout": 1.0, "retry": HASTY} | options
        return AsyncClient(credentials("0"), base_url=self.url, **given)

    @property
    def left(self) -> list[str]:
        """References that were not re-sent: lost, in the end."""
        return [
            v.external_reference for q in self.queues.values() for v in q.vouchers if v.state is State.ERRORED
        ]

    @property
    def most_effects(self) -> int:
        return max(Counter(ref for queue in self.queues.values() for ref in queue.resent).values(), default=0)

    @property
    def gaps(self) -> list[float]:
        """Seconds between the arrivals of two re-sends of one point of sale."""
        return [b - a for times in self.arrivals.values() for a, b in pairwise(times)]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = head.lower().partition("content-length:")[2].partition("\r\n")[0]
                payload = json.loads(await reader.readexactly(int(length)))
                answer = await self._answer(head.split(" ")[1].rpartition("/")[2], payload)
                if answer is None:
                    return
                writer.write(answer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, call: str, payload: dict[str, Any]) -> bytes | None:
        name = self.names[payload["apitoken"]]
        queue = self.queues[name]
        if name in self.locked_out:
            return b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
        if call == "consulta_avanzada":
            self.lookups += 1
            if self.maintenance:
                return ok(CLOSED)
            wanted = payload["comprobante"]
            references = wanted.get("external_reference_list") or [wanted["external_reference"]]
            found = list(queue.find(references))
            self.seen_errored |= {v.external_reference for v in found if v.state is State.ERRORED}
            vouchers = [voucher.as_wire() for voucher in found]
            page = {"error": "N", "errores": [], "rta": "OK", "total": len(found), "comprobantes": vouchers}
            return ok(json.dumps(page).encode())
        return await self._resend(name, queue, payload["external_reference"])

    async def _resend(self, name: str, queue: Queue, reference: str) -> bytes | None:
        self.arrivals[name].append(asyncio.get_running_loop().time())
        if self.maintenance:
            self.refused += 1
            return ok(CLOSED)
        if self.pause > 0:
            self.refused += 1
            return f"HTTP/1.1 429 Slow\r\nRetry-After: {self.pause}\r\nContent-Length: 0\r\n\r\n".encode()
        if (reference in self.sent and reference not in self.seen_errored) or self.working[reference]:
            self.blind.append(reference)
        before = self.before.get(reference)
        if before is not None and queue[before].state is State.ERRORED:
            self.disorder.append(reference)
        self.seen_errored.discard(reference)
        self.sent[reference] += 1
        lost = self.dice.random() < self.lost
        if lost and self.dice.random() < 0.5:
            return None
        slow = self.slow if self.dice.random() < 0.02 else 0.0
        work = asyncio.create_task(self._work(queue, reference, slow or self.dice.uniform(0, 2 * self.think)))
        answer = await asyncio.shield(work)
        return None if lost else answer

    async def _work(self, queue: Queue, reference: str, seconds: float) -> bytes:
        self.working[reference] += 1
        await asyncio.sleep(seconds)
        self.working[reference] -= 1
        return ok(json.dumps(queue.reprocess(reference)).encode())
