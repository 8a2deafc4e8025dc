"""One call, told truthfully: attempts, waits and lookups until the outcome is known or nobody can know.

What is asked is an ``Operation``; what settles a lost answer is the free lookup (``lookup``). Nothing here
knows of batches and journals. The whole decision is one table in docs/reference/outcomes.md.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..errors import (
    AuthenticationError,
    MaintenanceError,
    NotSentError,
    OutcomeUnknownError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from ..results import Attempt, CallResult, Evidence, Outcome
from . import clock
from .exchange import About, Exchange
from .lookup import STRANGERS, find
from .operations import Operation, Verdict
from .retry import Unfinished

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from .._wire import answers
    from ..instrumentation.events import WaitReason
    from ..models import ReprocessResponse, Voucher
    from ..results import SettledBy
    from ..webhooks.confirmations import Expectation
    from .channel import Channel
    from .waiting import Deadline

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=CallResult)

_WRONG_PATH: Final = frozenset({404, 405})


def concerns_every_reference(error: TusFacturasError) -> bool:
    """Whether this refusal would meet every other reference of these credentials just the same."""
    return isinstance(error, AuthenticationError | MaintenanceError) or (
        isinstance(error, UnexpectedResponseError) and error.status_code in _WRONG_PATH
    )


def share(
    channel: Channel,
    operation: Operation[R],
    deadline: Deadline,
    lead: Callable[[bool], Awaitable[R]],
    *,
    doubtful: bool = False,
    waiting: Callable[[], Awaitable[None]] | None = None,
) -> Awaitable[R]:
    """Do what ``lead`` does, or share the end of who is doing the same already; see ``flights``.

    ``waiting`` is done before that end is waited for.
    """

    async def wait(end: asyncio.Future[R]) -> R | None:
        if waiting is not None:
            await waiting()
        if await deadline.bounds(asyncio.wait([end]), stoppable=True):
            return None
        unknown = OutcomeUnknownError(
            f"the same {operation.name} of {operation.external_reference!r} is under way for another caller, "
            "and this one could not wait for its end",
            external_reference=operation.external_reference,
        )
        return operation.result(operation.external_reference, Outcome.UNKNOWN, error=unknown)

    return channel.flights.share(operation.request, lead, wait, doubtful=doubtful)


def call(
    channel: Channel,
    operation: Operation[R],
    deadline: Deadline,
    *,
    doubtful: bool = False,
    expectation: Expectation | None = None,
    outlast: Callable[[MaintenanceError, Deadline], Awaitable[bool]] | None = None,
    leaving: Callable[[], str | None] = lambda: None,
) -> Awaitable[R]:
    """Make one request about one voucher and tell what became of it; what the service says is never raised.

    Args:
        channel: The way to the service.
        operation: What to ask.
        deadline: The end of the whole call.
        doubtful: An earlier request may have arrived: send only when a lookup says that all is errored.
        expectation: Where the webhook of this re-send is waited for: it settles a lost answer, too.
        outlast: Waits for the end of maintenance, which the deadline does not count; whether it did.
            ``None``: it is not waited for.
        leaving: Asked just before a billed request's first byte; what it says keeps it from leaving.
    """
    made = _Call(channel, operation, deadline, doubtful=doubtful, expectation=expectation, leaving=leaving)
    return made.run() if outlast is None else made.through_maintenance(outlast)


class _Call(Generic[R]):
    """The states of one call.

    ``_suspect``: an attempt, of this call or of one before it, may have arrived, and its answer was lost.
    ``_seen``: what the last lookup that could be read has shown. ``_trouble``: what went wrong last.
    """

    def __init__(
        self,
        channel: Channel,
        operation: Operation[R],
        deadline: Deadline,
        *,
        doubtful: bool,
        expectation: Expectation | None,
        leaving: Callable[[], str | None],
    ) -> None:
        self._channel = channel
        self._operation = operation
        self._reference = operation.external_reference
        self._deadline = deadline
        self._expectation = expectation
        self._leaving = leaving
        self._attempts: list[Attempt] = []
        self._left = 0
        self._request = operation.request
        self._suspect = doubtful or self._request in channel.doubts
        self._seen: Sequence[Voucher] | None = None
        self._trouble: TusFacturasError | None = None

    async def run(self) -> R:
        self._left, self._trouble = self._channel.line.policy.attempts, None
        result = await self._channel.drive(self._step, self._deadline, self._tell_wait)
        if isinstance(result, Unfinished):  # no budget or no time for another wait
            result = await self._settle() or self._unsettled()
        return result

    async def through_maintenance(
        self, outlast: Callable[[MaintenanceError, Deadline], Awaitable[bool]]
    ) -> R:
        """Run, and run on when the maintenance that stood in the way is over."""
        while True:
            result = await self.run()
            told = self._trouble if result.outcome is Outcome.UNKNOWN else result.error
            if not isinstance(told, MaintenanceError) or not await outlast(told, self._deadline):
                return result

    async def _step(self) -> R | Unfinished:
        """Settle what is in doubt; if it is undone, make one attempt."""
        if settled := await self._settle():
            return settled
        if not self._left:
            return self._unsettled()
        body = self._channel.codec.body(self._operation.fields)
        exchange = await self._channel.send(self._about(1), body, self._deadline, self._leave)
        if isinstance(exchange, TusFacturasError):
            self._trouble = exchange
            return self._unsettled()
        return await self._follow(exchange)

    def _about(self, more: int = 0) -> About:
        return About(self._operation.path, self._reference, len(self._attempts) + more)

    def _tell_wait(self, seconds: float, reason: WaitReason) -> None:
        self._channel.telling.wait(self._about(), seconds, reason, self._trouble)

    def _leave(self) -> str | None:
        if (why := self._leaving()) is not None:
            return why
        self._channel.doubts.add(self._request)  # from here on a cancellation leaves it in doubt
        if self._expectation is not None:
            sent_at, service = clock.utcnow(), self._channel.line.clock
            self._expectation.begin(lambda: service.earliest_event(sent_at), service.latest_event)
        return None

    async def _follow(self, exchange: Exchange) -> R | Unfinished:
        answer = exchange.answer
        attempt = exchange.as_attempt(len(self._attempts) + 1)
        self._attempts.append(attempt)
        self._left -= 1
        if answer.error is not None:
            self._trouble = answer.error
        match answer.evidence:
            case Evidence.ANSWERED:
                return await self._answered(answer)
            case Evidence.MAYBE_SENT:
                self._suspect = True
            case Evidence.NOT_SENT if not self._suspect:
                self._channel.doubts.discard(self._request)
                if not self._left:
                    return self._unsettled()
        return Unfinished(answer.retry_after)

    async def _answered(self, answer: answers.Answer) -> R:
        response = None if answer.payload is None else self._operation.response(answer.payload)
        error = answer.error
        if error is None:
            return self._end(Outcome.ACCEPTED, "response", response=response)
        # A refusal tells nothing of the attempt before it; only the lookup can.
        if settled := await self._settle(error):
            return settled
        if isinstance(error, UnexpectedResponseError) or concerns_every_reference(error):
            return self._end(Outcome.NOT_SENT, "response", response=response, error=error)
        outcome = Outcome.NOT_FOUND if isinstance(error, VoucherNotFoundError) else Outcome.REJECTED
        return self._end(outcome, "response", response=response, error=error)

    async def _settle(self, refusal: TusFacturasError | None = None) -> R | None:
        """Ask the free lookup what a lost attempt did, as often as the policy says; ``None``: it is undone.

        Args:
            refusal: What a later attempt was answered. "Not found" and "errored" contradict each other.
        """
        if not self._suspect:
            return None
        tries = self._channel.line.policy.attempts
        contradicted = isinstance(refusal, VoucherNotFoundError)

        async def step() -> Verdict | Unfinished:
            nonlocal tries
            if self._confirmed:
                return Verdict.DONE
            tries -= 1
            verdict = await self._look()
            unclear = verdict is Verdict.UNCLEAR or (verdict is Verdict.UNDONE and contradicted)
            return Unfinished() if unclear and tries > 0 else Verdict.UNCLEAR if unclear else verdict

        verdict = await self._channel.drive(step, self._deadline, self._tell_wait)
        if self._confirmed:
            return self._end(Outcome.ACCEPTED, "webhook")
        match verdict:
            case Verdict.DONE:
                return self._end(Outcome.ACCEPTED, "lookup")
            case Verdict.ABSENT:
                absent = VoucherNotFoundError("the lookup finds no voucher with this reference")
                return self._end(Outcome.NOT_FOUND, "lookup", error=absent)
            case Verdict.UNDONE:
                return None
            case _:
                return self._unsettled()

    @property
    def _confirmed(self) -> bool:
        return self._expectation is not None and self._expectation.met

    async def _look(self) -> Verdict:
        try:
            found = await find(self._channel, [self._reference], self._deadline, tries=1)
        except TusFacturasError as error:
            logger.warning("%s: the lookup could not tell: %s", self._reference, error)
            self._trouble = error
            return Verdict.UNCLEAR
        self._seen = found.of(self._reference)
        self._trouble = UnexpectedResponseError(STRANGERS) if self._seen is None else None
        return self._operation.verdict(self._seen)

    def _unsettled(self) -> R:
        """Nobody can tell, or nothing was sent at all."""
        if not self._suspect:
            error = self._trouble or NotSentError("it was not sent")
            return self._end(Outcome.NOT_SENT, None, error=error)
        seen = "; ".join(str(voucher.status) or "no status" for voucher in self._seen or ())
        told = [f"the lookup shows {seen}"] if seen else []
        told += [f"the lookup could not tell ({self._trouble})"] if self._trouble or not seen else []
        unknown = OutcomeUnknownError(
            f"the {self._operation.name} of {self._reference!r} may have arrived, and "
            f"{', then '.join(told)}: look it up before sending it again"
        )
        return self._end(Outcome.UNKNOWN, None, error=unknown)

    def _end(
        self,
        outcome: Outcome,
        settled_by: SettledBy | None,
        *,
        response: ReprocessResponse | None = None,
        error: TusFacturasError | None = None,
    ) -> R:
        attempts = tuple(self._attempts)
        if outcome is Outcome.UNKNOWN:
            self._channel.doubts.add(self._request)
        else:
            self._channel.doubts.discard(self._request)
        if error is not None:
            error.external_reference = self._reference
            error.attempts = attempts
        return self._operation.result(
            external_reference=self._reference,
            outcome=outcome,
            response=response,
            settled_by=settled_by,
            attempts=attempts,
            error=error,
            voucher=self._seen[0] if self._seen else None,
        )
