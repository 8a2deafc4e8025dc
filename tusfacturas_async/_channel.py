"""The way to the service: what one client shares, and the turn-taking request of one set of credentials.

A request goes out in its turn and comes back as evidence. What follows from it is ``_call``'s.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from attrs import frozen

from . import _wire
from ._pace import Pace
from ._retry import RetryBudget
from ._transport import TransportFailure
from .errors import NotSentError, RateLimitError, TusFacturasError, UnexpectedResponseError
from .results import Attempt, Evidence

if TYPE_CHECKING:
    from ._retry import RetryPolicy
    from ._transport import Transport
    from .models import Credentials

_COOL_DOWN: Final = 1.0
"""Seconds without a request after a 429 that names none (no number is published)."""


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
        self.budget = RetryBudget(policy.budget)
        self.closed = False
        self._slots = asyncio.Semaphore(max_concurrency)
        self._min_interval = min_interval
        self._channels: dict[str, Channel] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Lock()

    def channel(self, credentials: Credentials) -> Channel:
        """The one channel of these credentials: two clients with the same set share its spacing."""
        fingerprint = credentials.fingerprint
        if fingerprint not in self._channels:
            pace = Pace(self._slots, self._min_interval)
            self._channels[fingerprint] = Channel(self, _wire.Codec(credentials), pace)
        return self._channels[fingerprint]

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


@frozen
class Exchange:
    """One HTTP request and what it proved."""

    started_at: datetime
    elapsed: float
    answer: _wire.Answer
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

    def __init__(self, line: Line, codec: _wire.Codec, pace: Pace) -> None:
        self.line = line
        self.codec = codec
        self.pace = pace

    async def exchange(self, path: str, body: bytes, deadline: Deadline) -> Exchange | None:
        """Send one request in its turn; ``None`` when the deadline, or the end of the client, came first."""
        line = self.line
        try:
            async with asyncio.timeout(deadline.left_or_none()):
                await self.pace.__aenter__()
        except TimeoutError:
            return None
        try:
            if line.closed:
                return None
            started_at, clock = datetime.now(UTC), time.perf_counter()
            status = None
            try:
                reply = await line.transport.post(path, body, timeout=min(line.timeout, deadline.left()))
            except TransportFailure as failure:
                answer = _wire.Answer(failure.evidence, error=_no_answer(failure))
            else:
                status = reply.status_code
                answer = _wire.read_answer(
                    status, reply.headers, self.codec.redact(reply.body), now=datetime.now(UTC)
                )
            elapsed = time.perf_counter() - clock
        finally:
            await self.pace.__aexit__(None, None, None)
        self._learn(answer)
        return Exchange(started_at, elapsed, answer, status)

    def _learn(self, answer: _wire.Answer) -> None:
        if isinstance(answer.error, RateLimitError):
            asked = _COOL_DOWN if answer.retry_after is None else answer.retry_after
            self.pace.cool_down(min(asked, self.line.policy.max_retry_after))
        elif answer.evidence is Evidence.ANSWERED:
            self.line.budget.earn()


def _no_answer(failure: TransportFailure) -> TusFacturasError:
    if failure.evidence is Evidence.NOT_SENT:
        error: TusFacturasError = NotSentError(f"nothing was sent: {failure}")
    else:
        error = UnexpectedResponseError(f"no usable answer came: {failure}")
    error.__cause__ = failure
    return error


class Deadline:
    """The end of one whole call on the event loop's clock; ``None`` seconds for no end."""

    def __init__(self, seconds: float | None) -> None:
        self._at = float("inf") if seconds is None else asyncio.get_running_loop().time() + seconds

    def left(self) -> float:
        """Seconds left; infinite without a deadline."""
        return self._at - asyncio.get_running_loop().time()

    def left_or_none(self) -> float | None:
        """The same for ``asyncio.timeout``."""
        return None if self._at == float("inf") else self.left()
