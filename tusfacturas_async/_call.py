"""One call, told truthfully: attempts, waits and lookups until the outcome is known or nobody can know.

What goes along a ``Channel``: re-sends and lookups. Nothing here knows of batches, journals or webhooks.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from . import _wire
from ._retry import Unfinished, drive
from .errors import (
    AuthenticationError,
    MaintenanceError,
    NotSentError,
    OutcomeUnknownError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from .results import Attempt, Evidence, Outcome, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ._channel import Channel, Deadline, Exchange
    from ._confirm import Expectation
    from .models import ReprocessRequest, ReprocessResponse, Voucher
    from .results import SettledBy

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WRONG_PATH: Final = frozenset({404, 405})


def concerns_every_reference(error: TusFacturasError) -> bool:
    """Whether this refusal would meet every other reference of these credentials just the same."""
    return isinstance(error, AuthenticationError | MaintenanceError) or (
        isinstance(error, UnexpectedResponseError) and error.status_code in _WRONG_PATH
    )


async def _drive(
    channel: Channel, step: Callable[[], Awaitable[T | Unfinished]], deadline: Deadline
) -> T | Unfinished:
    line = channel.line

    def time_left() -> float:
        return 0.0 if line.closed or deadline.stopped else deadline.left()

    return await drive(
        step, policy=line.policy, budget=line.budget, time_left=time_left, sleep=deadline.sleep
    )


# -- lookup ---------------------------------------------------------------------------------------


async def lookup(channel: Channel, references: Sequence[str], deadline: Deadline) -> list[Voucher]:
    """Find the vouchers of these references, free of charge, in chunks.

    Raises:
        TusFacturasError: The service could not be asked, or refused.
    """
    found: list[Voucher] = []
    chunks = [
        list(references[start : start + _wire.LOOKUP_CHUNK])
        for start in range(0, len(references), _wire.LOOKUP_CHUNK)
    ]
    while chunks:
        chunk = chunks.pop(0)
        try:
            found += await _lookup_chunk(channel, chunk, deadline)
        except TusFacturasError as error:
            if len(chunk) == 1 or not _too_long(error):
                raise
            middle = len(chunk) // 2
            chunks[:0] = [chunk[:middle], chunk[middle:]]
    return found


def _too_long(error: TusFacturasError) -> bool:
    """Whether the firewall may have refused the body for its length: "send fewer" (vendor, 2026)."""
    status = error.status_code if isinstance(error, AuthenticationError | UnexpectedResponseError) else None
    return status is not None and (status == HTTPStatus.OK or 402 <= status < 500)  # noqa: PLR2004


async def _lookup_chunk(channel: Channel, chunk: Sequence[str], deadline: Deadline) -> list[Voucher]:
    tries = 0
    last: TusFacturasError = NotSentError("the lookup was not sent")

    async def step() -> list[Voucher] | Unfinished:
        nonlocal tries, last
        exchange = await channel.exchange(_wire.LOOKUP, channel.codec.lookup(chunk), deadline)
        if isinstance(exchange, TusFacturasError):
            raise exchange
        tries += 1
        answer = exchange.answer
        if answer.payload is not None and answer.error is None:
            found = _wire.vouchers(answer.payload)
            if found is None:
                raise UnexpectedResponseError("the lookup's answer has no list of vouchers")
            return found
        if isinstance(answer.error, VoucherNotFoundError):
            return []
        last = answer.error or last
        final = answer.evidence is Evidence.ANSWERED or (len(chunk) > 1 and _too_long(last))
        if final or tries >= channel.line.policy.attempts:
            raise last
        return Unfinished(answer.retry_after)

    found = await _drive(channel, step, deadline)
    if isinstance(found, Unfinished):
        raise last
    return found


# -- re-send --------------------------------------------------------------------------------------


async def reprocess(
    channel: Channel,
    request: ReprocessRequest,
    deadline: Deadline,
    *,
    earlier: tuple[Attempt, ...] = (),
    doubtful: bool = False,
    expectation: Expectation | None = None,
) -> ReprocessResult:
    """Re-send one voucher and tell what became of it; what the service says is never raised.

    Args:
        channel: The way to the service.
        request: What to re-send.
        deadline: The end of the whole call.
        earlier: Attempts to put before those of this call.
        doubtful: A request of an earlier process may have arrived: send only what a lookup shows as errored.
        expectation: Where the webhook of this re-send is waited for: it settles a lost answer, too.
    """
    call = _Reprocess(channel, request, deadline, earlier, doubtful=doubtful, expectation=expectation)
    return await call.run()


class _Reprocess:
    """The states of one re-send. ``_suspect``: an attempt may have arrived, its answer was lost."""

    def __init__(
        self,
        channel: Channel,
        request: ReprocessRequest,
        deadline: Deadline,
        earlier: tuple[Attempt, ...],
        *,
        doubtful: bool,
        expectation: Expectation | None,
    ) -> None:
        self._expectation = expectation
        self._channel = channel
        self._reference = request.external_reference
        self._body = channel.codec.reprocess(request.external_reference)
        self._deadline = deadline
        self._attempts = list(earlier)
        self._most_attempts = len(earlier) + channel.line.policy.attempts
        lost = any(attempt.evidence is Evidence.MAYBE_SENT for attempt in earlier)
        self._suspect = self._unproven = doubtful or lost
        self._voucher: Voucher | None = None
        self._error: TusFacturasError = NotSentError("it was not sent")

    async def run(self) -> ReprocessResult:
        result = await _drive(self._channel, self._step, self._deadline)
        if isinstance(result, Unfinished):  # no budget or no time for another wait
            result = await self._settle() or self._unsettled()
        return result

    async def _step(self) -> ReprocessResult | Unfinished:
        if settled := await self._settle():
            return settled
        if self._unproven and self._voucher is None:
            return self._unsettled()
        self._unproven = False
        if not self._attempts_left:
            return self._unsettled()
        exchange = await self._channel.exchange(_wire.REPROCESS, self._body, self._deadline)
        if isinstance(exchange, TusFacturasError):
            self._error = exchange
            return self._unsettled()
        return await self._follow(exchange)

    @property
    def _attempts_left(self) -> int:
        return self._most_attempts - len(self._attempts)

    async def _follow(self, exchange: Exchange) -> ReprocessResult | Unfinished:
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

    async def _answered(self, answer: _wire.Answer) -> ReprocessResult:
        response = None if answer.payload is None else _wire.reprocess_response(answer.payload)
        error = answer.error
        if error is None:
            return self._end(Outcome.ACCEPTED, "response", response=response)
        if self._suspect:
            # A refusal tells nothing of the attempt before it; only the lookup can.
            if settled := await self._settle():
                return settled
            refuted = isinstance(error, VoucherNotFoundError) or self._voucher is None
            if refuted:  # not found, and yet there; or the lookup could not tell
                return self._unsettled()
        if concerns_every_reference(error):
            return self._end(Outcome.NOT_SENT, "response", response=response, error=error)
        outcome = Outcome.NOT_FOUND if isinstance(error, VoucherNotFoundError) else Outcome.REJECTED
        return self._end(outcome, "response", response=response, error=error)

    async def _settle(self) -> ReprocessResult | None:
        """Ask the free lookup what a lost attempt did; ``None`` when it is still errored, or cannot tell.

        Sets ``_voucher`` to the errored voucher, or to ``None`` where the lookup could not tell.
        """
        if not self._suspect:
            return None
        if self._expectation is not None and self._expectation.met:
            return self._end(Outcome.ACCEPTED, "webhook")
        self._voucher = None
        try:
            found = await lookup(self._channel, [self._reference], self._deadline)
        except TusFacturasError as error:
            logger.warning("%s: the lookup could not tell: %s", self._reference, error)
            if not self._attempts:
                self._error = error
            return None
        if not found:
            absent = VoucherNotFoundError("the lookup finds no voucher with this reference")
            return self._end(Outcome.NOT_FOUND, "lookup", error=absent)
        if all(voucher.accepted for voucher in found):
            self._voucher = found[0]
            return self._end(Outcome.ACCEPTED, "lookup")
        if all(voucher.errored for voucher in found):
            self._voucher = found[0]
        return None

    def _unsettled(self) -> ReprocessResult:
        if not self._suspect:
            return self._end(Outcome.NOT_SENT, None, error=self._error)
        unknown = OutcomeUnknownError(
            f"the re-send of {self._reference!r} may have arrived, and the lookup could not tell "
            f"({self._error}): look it up before sending it again"
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
    ) -> ReprocessResult:
        attempts = tuple(self._attempts)
        if error is not None:
            error.external_reference = self._reference
            error.attempts = attempts
        level = logging.WARNING if outcome is Outcome.UNKNOWN else logging.DEBUG
        logger.log(level, "%s: %s after %d attempts", self._reference, outcome, len(attempts))
        return ReprocessResult(
            external_reference=self._reference,
            outcome=outcome,
            response=response,
            settled_by=settled_by,
            attempts=attempts,
            error=error,
            voucher=self._voucher,
        )
