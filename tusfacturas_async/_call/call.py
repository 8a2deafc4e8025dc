"""One call, told truthfully: attempts, waits and lookups until the outcome is known or nobody can know.

What is asked is an ``Operation``; what settles a lost answer is the free lookup (``lookup``). Nothing here
knows of batches and journals.
"""

from __future__ import annotations

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
from .lookup import lookup
from .operations import Operation, Verdict
from .retry import Unfinished

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from .._wire import codec as wire
    from ..models import ReprocessResponse, Voucher
    from ..results import SettledBy
    from ..webhooks.confirmations import Expectation
    from .channel import Channel, Deadline, Exchange

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=CallResult)

_WRONG_PATH: Final = frozenset({404, 405})


def concerns_every_reference(error: TusFacturasError) -> bool:
    """Whether this refusal would meet every other reference of these credentials just the same."""
    return isinstance(error, AuthenticationError | MaintenanceError) or (
        isinstance(error, UnexpectedResponseError) and error.status_code in _WRONG_PATH
    )


def call(
    channel: Channel,
    operation: Operation[R],
    deadline: Deadline,
    *,
    earlier: tuple[Attempt, ...] = (),
    doubtful: bool = False,
    expectation: Expectation | None = None,
) -> Awaitable[R]:
    """Make one request about one voucher and tell what became of it; what the service says is never raised.

    Args:
        channel: The way to the service.
        operation: What to ask.
        deadline: The end of the whole call.
        earlier: Attempts to put before those of this call.
        doubtful: A request of an earlier process may have arrived: send only what a lookup shows as undone.
        expectation: Where the webhook of this re-send is waited for: it settles a lost answer, too.
    """
    return _Call(channel, operation, deadline, earlier, doubtful=doubtful, expectation=expectation).run()


class _Call(Generic[R]):
    """The states of one call. ``_suspect``: an attempt may have arrived, its answer was lost."""

    def __init__(
        self,
        channel: Channel,
        operation: Operation[R],
        deadline: Deadline,
        earlier: tuple[Attempt, ...],
        *,
        doubtful: bool,
        expectation: Expectation | None,
    ) -> None:
        self._channel = channel
        self._operation = operation
        self._reference = operation.external_reference
        self._body = channel.codec.body(operation.fields)
        self._deadline = deadline
        self._expectation = expectation
        self._attempts = list(earlier)
        self._most_attempts = len(earlier) + channel.line.policy.attempts
        lost = any(attempt.evidence is Evidence.MAYBE_SENT for attempt in earlier)
        self._suspect = self._unproven = doubtful or lost
        self._undone = False
        self._voucher: Voucher | None = None
        self._error: TusFacturasError | None = None

    async def run(self) -> R:
        result = await self._channel.drive(self._step, self._deadline)
        if isinstance(result, Unfinished):  # no budget or no time for another wait
            result = await self._settle() or self._unsettled()
        return result

    async def _step(self) -> R | Unfinished:
        if self._suspect:
            if settled := await self._settle():
                return settled
            if self._unproven and not self._undone:
                return self._unsettled()
            self._unproven = False
        if not self._attempts_left:
            return self._unsettled()
        exchange = await self._channel.exchange(self._operation.path, self._body, self._deadline)
        if isinstance(exchange, TusFacturasError):
            self._error = exchange
            return self._unsettled()
        return await self._follow(exchange)

    @property
    def _attempts_left(self) -> int:
        return self._most_attempts - len(self._attempts)

    async def _follow(self, exchange: Exchange) -> R | Unfinished:
        answer = exchange.answer
        attempt = exchange.as_attempt(len(self._attempts) + 1)
        self._attempts.append(attempt)
        logger.debug("%s: attempt %d: %s", self._reference, attempt.number, attempt.evidence)
        if answer.error is not None:
            self._error = answer.error
        match answer.evidence:
            case Evidence.ANSWERED:
                return await self._answered(answer)
            case Evidence.MAYBE_SENT:
                self._suspect = True
            case Evidence.NOT_SENT:
                if not self._attempts_left and not self._suspect:
                    return self._unsettled()
        return Unfinished(answer.retry_after)

    async def _answered(self, answer: wire.Answer) -> R:
        response = None if answer.payload is None else self._operation.response(answer.payload)
        error = answer.error
        if error is None:
            return self._end(Outcome.ACCEPTED, "response", response=response)
        if self._suspect:
            # A refusal tells nothing of the attempt before it; only the lookup can.
            if settled := await self._settle():
                return settled
            refuted = isinstance(error, VoucherNotFoundError) or not self._undone
            if refuted:  # not found, and yet there; or the lookup could not tell
                return self._unsettled()
        if concerns_every_reference(error):
            return self._end(Outcome.NOT_SENT, "response", response=response, error=error)
        outcome = Outcome.NOT_FOUND if isinstance(error, VoucherNotFoundError) else Outcome.REJECTED
        return self._end(outcome, "response", response=response, error=error)

    async def _settle(self) -> R | None:
        """Ask the free lookup what a lost attempt did; ``None`` when it is undone, or the lookup cannot tell.

        Sets ``_undone`` to which of the two it is.
        """
        if not self._suspect:
            return None
        if self._expectation is not None and self._expectation.met:
            return self._end(Outcome.ACCEPTED, "webhook")
        self._undone = False
        try:
            found = await lookup(self._channel, [self._reference], self._deadline)
        except TusFacturasError as error:
            logger.warning("%s: the lookup could not tell: %s", self._reference, error)
            if not self._attempts:
                self._error = error
            return None
        self._voucher = found[0] if found else None
        match self._operation.verdict(found):
            case Verdict.DONE:
                return self._end(Outcome.ACCEPTED, "lookup")
            case Verdict.ABSENT:
                absent = VoucherNotFoundError("the lookup finds no voucher with this reference")
                return self._end(Outcome.NOT_FOUND, "lookup", error=absent)
            case Verdict.UNDONE:
                self._undone = True
            case Verdict.UNCLEAR:
                pass
        return None

    def _unsettled(self) -> R:
        if not self._suspect:
            return self._end(Outcome.NOT_SENT, None, error=self._error or NotSentError("it was not sent"))
        unknown = OutcomeUnknownError(
            f"the {self._operation.name} of {self._reference!r} may have arrived, and the lookup could not "
            f"tell ({self._error}): look it up before sending it again"
        )
        unknown.__cause__ = self._error
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
        if error is not None:
            error.external_reference = self._reference
            error.attempts = attempts
        level = logging.WARNING if outcome is Outcome.UNKNOWN else logging.DEBUG
        logger.log(level, "%s: %s after %d attempts", self._reference, outcome, len(attempts))
        return self._operation.result(
            external_reference=self._reference,
            outcome=outcome,
            response=response,
            settled_by=settled_by,
            attempts=attempts,
            error=error,
            voucher=self._voucher,
        )
