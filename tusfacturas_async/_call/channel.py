"""The way to the service: what one client shares, and the turn-taking request of one set of credentials.

A request goes out in its turn and comes back as evidence. What follows from it is ``_call``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from .._http.slots import TransportFailure
from .._wire import codec as wire
from ..errors import MaintenanceError, NotSentError, RateLimitError, TusFacturasError, UnexpectedResponseError
from ..results import Attempt, Evidence
from .pace import Pace
from .retry import RetryBudget, drive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from .._http.slots import Transport
    from ..models import Credentials, Identity
    from .retry import RetryPolicy, Unfinished

logger = logging.getLogger(__name__)

T = TypeVar("T")

_COOL_DOWN: Final = 1.0
"""Seconds without a request after a 429 that names none (no number is published)."""

_BELIEVE_MAINTENANCE: Final = timedelta(minutes=5)
"""How long at most nobody asks again after the service told of maintenance: each answer is billed, and
maintenance may end before its time."""


def utcnow() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Line:
    """What all credentials of one client share. It belongs to the event loop that first uses it.

    Args:
        transport: Moves the bytes.
        max_concurrency: Requests in flight.
        min_interval: Seconds between starts of one set of credentials.
        timeout: Seconds per attempt.
        policy: How calls retry.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        max_concurrency: int,
        min_interval: float,
        timeout: float,
        policy: RetryPolicy,
    ) -> None:
        self.transport = transport
        self.max_concurrency = max_concurrency
        self.timeout = timeout
        self.policy = policy
        self.budget: RetryBudget = RetryBudget(policy.budget)
        self.closed: bool = False
        self._slots = asyncio.Semaphore(max_concurrency)
        self._min_interval = min_interval
        self._channels: dict[str, Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Lock()

    def channel(self, credentials: Credentials) -> Channel:
        """The one channel of these credentials: two clients with the same set share its spacing."""
        identity = credentials.identity
        if identity.fingerprint not in self._channels:
            pace = Pace(self._slots, self._min_interval)
            self._channels[identity.fingerprint] = Channel(self, wire.Codec(credentials), pace, identity)
        return self._channels[identity.fingerprint]

    def check(self) -> None:
        """Raise ``RuntimeError`` unless this line is open and belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError("this client belongs to another event loop: create one client per event loop")
        if self.closed:
            raise RuntimeError("this client is closed: create a new one")

    async def aclose(self) -> None:
        """Let what is in flight finish (``timeout`` bounds it), start nothing new, close the connections."""
        self.closed = True
        async with self._closing:
            taken = 0
            try:
                for _ in range(self.max_concurrency):  # whoever waits before us gets a slot and sees `closed`
                    await self._slots.acquire()
                    taken += 1
            finally:
                for _ in range(taken):
                    self._slots.release()
                await self.transport.aclose()


class Exchange(NamedTuple):
    """One HTTP request and what it proved."""

    started_at: datetime
    elapsed: float
    answer: wire.Answer
    status_code: int | None = None

    def as_attempt(self, number: int) -> Attempt:
        """The public record of it."""
        return Attempt(
            number=number,
            started_at=self.started_at,
            elapsed=self.elapsed,
            evidence=self.answer.evidence,
            status_code=self.status_code,
            error=None if self.answer.error is None else str(self.answer.error),
        )


class Channel:
    """The way of one set of credentials to the service."""

    def __init__(self, line: Line, codec: wire.Codec, pace: Pace, identity: Identity) -> None:
        self.line = line
        self.codec = codec
        self.pace = pace
        self.identity = identity
        self.fingerprint = identity.fingerprint
        self._maintenance: MaintenanceError | None = None
        self._closed_until = datetime.min.replace(tzinfo=UTC)

    async def exchange(self, path: str, body: bytes, deadline: Deadline) -> Exchange | TusFacturasError:
        """Send one request in its turn, or tell what kept it from being sent."""
        line = self.line
        billed = path != wire.LOOKUP
        if self.pace.free and not deadline.stopped:
            await self.pace.enter_free()
        elif not await deadline.bounds(self.pace.enter(), stoppable=billed):
            return NotSentError("the call was ended before its turn came")
        try:
            if line.closed:
                return NotSentError("the client was closed before its turn came")
            if billed and self._maintenance is not None and utcnow() < self._closed_until:
                return self._known_maintenance(self._maintenance)
            timeout = min(line.timeout, deadline.left())
            if timeout <= 0:  # an open connection would take it at once, and nobody would hear the answer
                return NotSentError("the call's time was up before its turn came")
            status, started_at, clock = None, utcnow(), time.perf_counter()
            self.pace.started()  # no earlier than what is told
            try:
                reply = await line.transport.post(path, body, timeout=timeout, delayed=self.pace.started)
            except TransportFailure as failure:
                answer = wire.Answer(failure.evidence, error=_no_answer(failure))
            else:
                status = reply.status_code
                received = self.codec.redact(reply.body)
                answer = wire.read_answer(
                    status, reply.headers, received, now=utcnow, partial=path == wire.DELETE
                )
            elapsed = time.perf_counter() - clock
        finally:
            self.pace.leave()
        self._learn(answer)
        return Exchange(started_at, elapsed, answer, status)

    @staticmethod
    def _known_maintenance(known: MaintenanceError) -> MaintenanceError:
        message = f"not sent, because the service told of maintenance a moment ago: {known}"
        return MaintenanceError(message, until=known.until, errores=known.errores)

    def drive(
        self, step: Callable[[], Awaitable[T | Unfinished]], deadline: Deadline
    ) -> Awaitable[T | Unfinished]:
        """Repeat a step as the client's policy and budget allow; see ``retry.drive``."""
        line = self.line

        def time_left() -> float:
            return 0.0 if line.closed or deadline.stopped else deadline.left()

        return drive(step, policy=line.policy, budget=line.budget, time_left=time_left, sleep=deadline.sleep)

    def _learn(self, answer: wire.Answer) -> None:
        if isinstance(answer.error, MaintenanceError):
            self._maintenance = answer.error
            soon = utcnow() + _BELIEVE_MAINTENANCE
            self._closed_until = min(answer.error.until or soon, soon)
        if isinstance(answer.error, RateLimitError):
            asked = _COOL_DOWN if answer.retry_after is None else answer.retry_after
            self.pace.cool_down(min(asked, self.line.policy.max_retry_after))
        elif answer.evidence is Evidence.ANSWERED:
            self.line.budget.earn()


def _no_answer(failure: TransportFailure) -> TusFacturasError:
    """The failure as plain data: a chained traceback would keep its frames, with the request, alive."""
    logger.debug("no answer", exc_info=failure)
    if failure.evidence is Evidence.NOT_SENT:
        return NotSentError(f"nothing was sent: {failure}")
    return UnexpectedResponseError(f"no usable answer came: {failure}")


class Deadline:
    """The end of one whole call: its time, or the word of the batch that it belongs to.

    Args:
        seconds: From now on the event loop's clock; ``None`` for no end.
    """

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else asyncio.get_running_loop().time() + seconds
        self._waiting: asyncio.Timeout | None = None
        self.stopped: bool = False

    def left(self) -> float:
        """Seconds left; infinite without a deadline."""
        return float("inf") if self._at is None else self._at - asyncio.get_running_loop().time()

    def stop(self) -> None:
        """Start no further attempt and end any wait for one; lookups of what was sent may go on."""
        self.stopped = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(asyncio.get_running_loop().time())

    async def bounds(self, waiting: Coroutine[Any, Any, object], *, stoppable: bool) -> bool:
        """Await ``waiting``; ``False`` when the end came first."""
        if self.stopped and stoppable:
            waiting.close()
            return False
        try:
            async with asyncio.timeout_at(self._at) as limit:
                self._waiting = limit if stoppable else None
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting = None
        return True

    async def sleep(self, seconds: float) -> None:
        """Sleep so long, or until the end."""
        await self.bounds(asyncio.sleep(seconds), stoppable=True)
