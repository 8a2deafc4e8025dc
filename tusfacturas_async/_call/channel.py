"""The way of one set of credentials to the service: its requests, each in its turn.

A request goes out in its turn and comes back as evidence. What follows from it is ``call``'s.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, TypeVar

from .._http.evidence import Leave
from .._http.transport import TransportFailure
from .._wire import answers
from .._wire import codec as wire
from ..errors import MaintenanceError, NotSentError, RateLimitError, TusFacturasError, UnexpectedResponseError
from ..results import Evidence
from . import clock as wall
from .doubts import Doubts
from .exchange import About, Exchange
from .flights import Flights
from .maintenance import Maintenance
from .pace import Pace
from .retry import RetryBudget, drive
from .telling import Telling
from .waiting import now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..instrumentation.events import WaitReason
    from ..models import Credentials, Identity
    from .line import Line
    from .retry import Unfinished
    from .waiting import Deadline

logger = logging.getLogger(__name__)

T = TypeVar("T")

_COOL_DOWN: Final = 1.0
"""Seconds without a request after a 429 that names none (no number is published)."""

_CANCELLED: Final = answers.Answer(Evidence.MAYBE_SENT)
"""What an observer is told of a request that nobody waited for to the end."""

_PAUSED: Final = answers.Answer(
    Evidence.NOT_SENT, error=NotSentError("not sent yet: the service asked for a pause meanwhile")
)
"""What an observer is told of a request that goes back into the line."""


def unhindered() -> None:
    """Let every request leave."""


class Channel:
    """The way of one set of credentials to the service.

    Attributes:
        fence: Asked before every request, also of a lookup: why none may leave, or ``None``.
    """

    def __init__(self, line: Line, codec: wire.Codec, pace: Pace, identity: Identity) -> None:
        self.line = line
        self.codec = codec
        self.pace = pace
        self.budget: RetryBudget = RetryBudget(line.policy.budget)
        self.identity: Identity = identity
        self.flights: Flights = Flights()
        self.doubts: Doubts = Doubts()
        self.telling: Telling = Telling(line.observers, identity.fingerprint, line.base_url)
        self.maintenance: Maintenance = Maintenance()
        self.fence: Callable[[], str | None] = unhindered

    @classmethod
    def of(cls, line: Line, credentials: Credentials) -> Channel:
        """The one channel of these credentials: two clients with the same set share its spacing."""

        def make() -> Channel:
            pace = Pace(line.slots, line.min_interval)
            return cls(line, wire.Codec(credentials), pace, credentials.identity)

        channel: Channel = line.channels.get(credentials.fingerprint, make)
        return channel

    @property
    def quiet(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return self.pace.quiet and not (self.maintenance.shut or self.budget.spent or self.doubts)

    async def ask(
        self, body: bytes, deadline: Deadline, reference: str | None = None
    ) -> Exchange | TusFacturasError:
        """Send one free lookup in its turn, or tell what kept it from being sent."""
        exchange = await self._exchange(About(wire.LOOKUP, reference), body, deadline, self.fence)
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
        came_at = now()
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

    async def _works(self, reference: str, came_at: float, deadline: Deadline) -> bool:
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
        leaving: Callable[[], str | TusFacturasError | None],
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
            line.channels.use(self.identity.fingerprint, self)
            waited = time.perf_counter() - came
            times = (for_slot, max(waited - for_slot, 0.0))
            exchange = await self._post(about, body, timeout, times, leaving)
        finally:
            self.pace.leave()
        if exchange.answer is _PAUSED:  # back into the line: there it has no slot, and its time does not run
            return await self._exchange(about, body, deadline, leaving)
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
        line, leave = self.line, _Leave(self.pace, leaving)
        self.telling.start(about)
        answer, status = _CANCELLED, None
        started_at, clock = wall.utcnow(), time.perf_counter()
        self.pace.started()  # no earlier than what is told
        try:
            reply = await line.transport.post(about.path, body, timeout=timeout, leave=leave)
            status = reply.status_code
            line.clock.learn(reply.headers, started_at)
            answer = answers.read_answer(
                *(status, reply.headers, reply.body),
                decode=self.codec.decode,
                now=wall.utcnow,
                partial=about.path == wire.DELETE,
            )
        except TransportFailure as failure:
            paused = isinstance(failure, _PauseTold)
            answer = _PAUSED if paused else answers.Answer(failure.evidence, error=_no_answer(failure))
        finally:
            leave.end()  # not every transport tells
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

    def _learn(self, answer: answers.Answer) -> None:
        if isinstance(answer.error, RateLimitError):
            asked = _COOL_DOWN if answer.retry_after is None else answer.retry_after
            seconds = min(asked, self.line.policy.max_retry_after)
            self.pace.cool_down(seconds)
            self.telling.cool_down(seconds, "rate_limit", answer.error)
        elif answer.evidence is Evidence.ANSWERED:
            self.budget.earn()


class _PauseTold(TransportFailure):
    """A 429 came after the request's turn and before its first byte."""


class _Leave(Leave):
    """One request's leaving: in its turn, and with the last word of who may keep it from that.

    Turns of the loop have passed since they were asked first, and maybe a connection had to be opened.
    """

    def __init__(self, pace: Pace, leaving: Callable[[], str | TusFacturasError | None]) -> None:
        self._pace = pace
        self._leaving = leaving
        self._goes = False

    def begin(self) -> Awaitable[None] | None:
        if (late := self._pace.go()) is not None:
            return self._begin_late(late)
        self._ask()
        return None

    async def _begin_late(self, late: Awaitable[None]) -> None:
        await late
        self._ask()

    def _ask(self) -> None:
        self._goes = True
        if self._pace.cooling:
            self.end()
            raise _PauseTold("the service asked for a pause", Evidence.NOT_SENT)
        if (why := self._leaving()) is not None:
            self.end()
            raise TransportFailure(str(why), Evidence.NOT_SENT)

    def head_has_left(self) -> None:
        why = self._leaving()
        if isinstance(why, str):  # not for maintenance: the half of it that has left would be in doubt
            raise TransportFailure(why, Evidence.MAYBE_SENT)

    def end(self) -> None:
        if self._goes:
            self._goes = False
            self._pace.gone()


def _no_answer(failure: TransportFailure) -> TusFacturasError:
    """The failure as plain data: a chained traceback would keep its frames, with the request, alive."""
    logger.debug("no answer", exc_info=failure)
    if failure.evidence is Evidence.NOT_SENT:
        return NotSentError(f"nothing was sent: {failure}")
    return UnexpectedResponseError(f"no usable answer came: {failure}")
