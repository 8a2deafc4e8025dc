"""The way to the service: what one client shares, and the turn-taking requests of one set of credentials.

A request goes out in its turn and comes back as evidence. What follows from it is ``call``'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakValueDictionary

from .._http.transport import TransportFailure
from .._wire import codec as wire
from .._wire.convert import http_date
from ..errors import MaintenanceError, NotSentError, RateLimitError, TusFacturasError, UnexpectedResponseError
from ..results import Evidence
from .exchange import About, Exchange
from .flights import Flights
from .maintenance import Maintenance
from .pace import Pace
from .retry import RetryBudget, drive
from .telling import Telling
from .waiting import sleep

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from .._http.transport import Transport
    from ..instrumentation.events import WaitReason
    from ..instrumentation.observers import Observers
    from ..models import Credentials, Identity
    from .retry import RetryPolicy, Unfinished

logger = logging.getLogger(__name__)

T = TypeVar("T")

_COOL_DOWN: Final = 1.0
"""Seconds without a request after a 429 that names none (no number is published)."""

_FEW: Final = 64
"""Sets of credentials that are not worth looking through for idle ones."""

_TOLERANCE: Final = timedelta(seconds=2)
"""How far an event's time may be off the service's clock as its answers tell it: both are cut to seconds."""


_CANCELLED: Final = wire.Answer(Evidence.MAYBE_SENT)
"""What an observer is told of a request that nobody waited for to the end."""


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
        base_url: Where ``transport`` sends to, for observers.
        observers: Who is told.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        max_concurrency: int,
        min_interval: float,
        timeout: float,
        policy: RetryPolicy,
        base_url: str = "",
        observers: Observers,
    ) -> None:
        self.transport: Transport = transport
        self.base_url: str = base_url if base_url.endswith("/") else f"{base_url}/"
        self.observers = observers
        self.max_concurrency = max_concurrency
        self.timeout = timeout
        self.policy = policy
        self.closed: bool = False
        self._slots = asyncio.Semaphore(max_concurrency)
        self.min_interval = min_interval
        self._channels: WeakValueDictionary[str, Channel] = WeakValueDictionary()
        self._recent: dict[str, Channel] = {}
        self._crowd = _FEW
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Lock()
        self._ahead: timedelta | None = None

    def channel(self, credentials: Credentials) -> Channel:
        """The one channel of these credentials: two clients with the same set share its spacing."""
        identity = credentials.identity
        channel = self._channels.get(identity.fingerprint)
        if channel is None:
            pace = Pace(self._slots, self.min_interval)
            channel = Channel(self, wire.Codec(credentials), pace, identity)
            self._channels[identity.fingerprint] = channel
        return channel

    def remember(self, channel: Channel) -> None:
        """A request leaves on it: keep its spacing while that matters, though nobody may hold it any more."""
        self._recent[channel.fingerprint] = channel
        if len(self._recent) > self._crowd:
            self._recent = {name: each for name, each in self._recent.items() if not each.quiet}
            self._crowd = max(_FEW, 2 * len(self._recent))  # so that looking through them stays cheap

    def check(self) -> None:
        """Raise ``RuntimeError`` unless this line is open and belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError(
                "this client belongs to another event loop: make one client for each loop, inside of it, "
                "with `async with AsyncClient(...)` (docs/event-loops.md)"
            )
        if self.closed:
            raise RuntimeError("this client is closed: create a new one")

    def learn_clock(self, headers: Mapping[str, str], asked_at: datetime) -> None:
        """Learn from an answer's ``Date`` how far the service's clock is ahead of ours."""
        told = http_date(headers.get("date"))
        if told is not None:  # it is cut to whole seconds, and was written between the asking and now
            self._ahead = told + timedelta(seconds=0.5) - (asked_at + (utcnow() - asked_at) / 2)

    def earliest_event(self, sent_at: datetime) -> datetime:
        """The earliest ``creado`` of an event that a request of then can have caused, on the service's clock.

        Without a ``Date`` so far both clocks are taken for equal, and no older event is believed.
        """
        earliest = sent_at if self._ahead is None else sent_at + self._ahead - _TOLERANCE
        return earliest.replace(microsecond=0)

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


class Channel:
    """The way of one set of credentials to the service."""

    def __init__(self, line: Line, codec: wire.Codec, pace: Pace, identity: Identity) -> None:
        self.line = line
        self.codec = codec
        self.pace = pace
        self.budget: RetryBudget = RetryBudget(line.policy.budget)
        self.identity: Identity = identity
        self.fingerprint: str = identity.fingerprint
        self.flights: Flights = Flights()
        self.telling: Telling = Telling(line.observers, identity.fingerprint, line.base_url)
        self.maintenance: Maintenance = Maintenance(lambda: utcnow())  # noqa: PLW0108 - tests move that clock

    @property
    def quiet(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return self.pace.quiet and not self.maintenance.shut and not self.budget.spent

    async def ask(
        self, body: bytes, deadline: Deadline, reference: str | None = None
    ) -> Exchange | TusFacturasError:
        """Send one free lookup in its turn, or tell what kept it from being sent."""
        exchange = await self._exchange(About(wire.LOOKUP, reference), body, deadline)
        self._heed(exchange)
        return exchange

    async def send(
        self, about: About, body: bytes, deadline: Deadline, leaving: Callable[[], str | None]
    ) -> Exchange | TusFacturasError:
        """Send one billed request in its turn, or tell what kept it from being sent.

        Args:
            about: Its ``reference`` is looked up when maintenance has to be asked about first.
            body: Of the request.
            deadline: The end of the whole call.
            leaving: Asked in its turn, just before the first byte; what it says keeps it from leaving.
        """
        maintenance = self.maintenance
        if not maintenance.shut:
            exchange = await self._exchange(about, body, deadline, self._unless_shut(leaving))
            self._heed(exchange)
            return exchange
        came_at = utcnow()
        if not await deadline.bounds(maintenance.line.acquire(), stoppable=True):
            return NotSentError("the call was ended before its turn came")
        try:
            trial = self.maintenance.shut  # the one before us may have found it open
            if trial and not await self._works(about.reference or "", came_at, deadline):
                return maintenance.refusal()
            exchange = await self._exchange(about, body, deadline, leaving)
            self._heed(exchange, trial=trial)
        finally:
            maintenance.line.release()
        return exchange

    def _unless_shut(self, leaving: Callable[[], str | None]) -> Callable[[], str | TusFacturasError | None]:
        return lambda: self.maintenance.refusal() if self.maintenance.shut else leaving()

    def _heed(self, exchange: Exchange | TusFacturasError, *, trial: bool = False) -> None:
        """Learn of maintenance from an answer."""
        if isinstance(exchange, TusFacturasError):
            return
        error = exchange.answer.error
        if isinstance(error, MaintenanceError):
            news = trial or not self.maintenance.shut
            self.maintenance.tell(error, trial=trial)
            if news:
                self.telling.cool_down(self.maintenance.seconds_left(error), "maintenance", error)
        elif trial and exchange.answer.evidence is Evidence.ANSWERED:
            self.maintenance.open()

    async def _works(self, reference: str, came_at: datetime, deadline: Deadline) -> bool:
        """Whether the free lookup is answered without maintenance; one caller asks for all who wait."""
        if self.maintenance.known_since(came_at):
            return False
        probe = await self.ask(self.codec.lookup([reference]), deadline, reference)
        if not isinstance(probe, TusFacturasError):
            answer = probe.answer
            if answer.evidence is Evidence.ANSWERED and not isinstance(answer.error, MaintenanceError):
                return True
        self.maintenance.asked()
        return False

    async def _exchange(
        self,
        about: About,
        body: bytes,
        deadline: Deadline,
        leaving: Callable[[], str | TusFacturasError | None] = lambda: None,
    ) -> Exchange | TusFacturasError:
        line, came, for_slot = self.line, time.perf_counter(), 0.0
        if self.pace.free and not deadline.stopped:
            await self.pace.enter_free()
        elif await deadline.bounds(self.pace.enter(), stoppable=about.path != wire.LOOKUP):
            for_slot = self.pace.waited_for_slot
        else:
            return NotSentError("the call was ended before its turn came")
        try:
            if line.closed:
                return NotSentError("the client was closed before its turn came")
            timeout = min(line.timeout, deadline.left())
            if timeout <= 0:  # an open connection would take it at once, and nobody would hear the answer
                return NotSentError("the call's time was up before its turn came")
            if (why := leaving()) is not None:
                return why if isinstance(why, TusFacturasError) else NotSentError(why)
            line.remember(self)
            waited = time.perf_counter() - came
            times = (for_slot, max(waited - for_slot, 0.0))
            exchange = await self._post(about, body, timeout, times, leaving)
        finally:
            self.pace.leave()
        self._learn(exchange.answer)
        return exchange

    async def _post(
        self,
        about: About,
        body: bytes,
        timeout: float,
        waited: tuple[float, float],
        leaving: Callable[[], str | TusFacturasError | None],
    ) -> Exchange:
        line = self.line

        def late() -> None:
            """A connection had to be opened first, which takes its time: ask again."""
            self.pace.started()
            if (why := leaving()) is not None:
                raise TransportFailure(str(why), Evidence.NOT_SENT)

        self.telling.start(about)
        answer, status = _CANCELLED, None
        started_at, clock = utcnow(), time.perf_counter()
        self.pace.started()  # no earlier than what is told
        try:
            reply = await line.transport.post(about.path, body, timeout=timeout, delayed=late)
            status = reply.status_code
            line.learn_clock(reply.headers, started_at)
            answer = wire.read_answer(
                *(status, reply.headers, reply.body),
                decode=self.codec.decode,
                now=utcnow,
                partial=about.path == wire.DELETE,
            )
        except TransportFailure as failure:
            answer = wire.Answer(failure.evidence, error=_no_answer(failure))
        finally:
            exchange = Exchange(started_at, time.perf_counter() - clock, answer, status)
            self.telling.exchange(about, exchange, waited)
        return exchange

    def drive(
        self,
        step: Callable[[], Awaitable[T | Unfinished]],
        deadline: Deadline,
        waiting: Callable[[float, WaitReason], None],
    ) -> Awaitable[T | Unfinished]:
        """Repeat a step as the client's policy and budget allow; see ``retry.drive``."""
        line = self.line

        def time_left() -> float:
            return 0.0 if line.closed or deadline.stopped else deadline.left()

        return drive(
            step,
            policy=line.policy,
            budget=self.budget,
            time_left=time_left,
            sleep=deadline.sleep,
            waiting=waiting,
        )

    def _learn(self, answer: wire.Answer) -> None:
        if isinstance(answer.error, RateLimitError):
            asked = _COOL_DOWN if answer.retry_after is None else answer.retry_after
            seconds = min(asked, self.line.policy.max_retry_after)
            self.pace.cool_down(seconds)
            self.telling.cool_down(seconds, "rate_limit", answer.error)
        elif answer.evidence is Evidence.ANSWERED:
            self.budget.earn()


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

    def postpone(self, seconds: float) -> None:
        """Have so much more time: it was spent waiting for what the call's time does not count."""
        if self._at is not None:
            self._at += seconds

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
        await self.bounds(sleep(seconds), stoppable=True)
