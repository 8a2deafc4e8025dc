"""One call, told truthfully: attempts, waits and lookups until the outcome is known or nobody can know.

What goes along a ``Channel``: requests about one voucher (``_operations``), and free lookups. Nothing here
knows of batches, journals or webhooks' delivery.
"""

from __future__ import annotations

import itertools
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from . import _wire
from ._channel import Deadline
from ._operations import Operation, Verdict
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
from .results import Attempt, CallResult, Evidence, Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from ._channel import Channel, Exchange
    from ._confirm import Expectation
    from .models import ReprocessResponse, Voucher
    from .results import SettledBy

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R", bound=CallResult)

PAGE: Final = 500
"""Vouchers asked for at once; the service gives at most 1,000 (vendor, 2026)."""

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
            page = await _search(channel, channel.codec.lookup(chunk), deadline, divisible=len(chunk) > 1)
        except TusFacturasError as error:
            if len(chunk) == 1 or not _too_long(error):
                raise
            middle = len(chunk) // 2
            chunks[:0] = [chunk[:middle], chunk[middle:]]
        else:
            found += page.vouchers
    return found


async def lookup_pages(
    channel: Channel, kind: str, wanted: Mapping[str, object], seconds: float | None
) -> AsyncGenerator[Voucher, None]:
    """The vouchers of a search, page by page as they are asked for; each page has ``seconds`` of its own.

    The list is newest first, so a voucher that is issued meanwhile moves the rest down by one: what was on
    the page before is left out.

    Raises:
        TusFacturasError: The service could not be asked, or refused.
    """
    seen = 0
    before: set[Voucher] = set()
    for number in itertools.count():
        body = channel.codec.search(kind, wanted, page=number, limit=PAGE)
        page = await _search(channel, body, Deadline(seconds), divisible=False)
        for voucher in page.vouchers:
            if voucher not in before:
                yield voucher
        before = set(page.vouchers)
        seen += len(page.vouchers)
        if not page.vouchers or (len(page.vouchers) < PAGE if page.total is None else seen >= page.total):
            return


def _too_long(error: TusFacturasError) -> bool:
    """Whether the firewall may have refused the body for its length: "send fewer" (vendor, 2026)."""
    status = error.status_code if isinstance(error, AuthenticationError | UnexpectedResponseError) else None
    return status is not None and (status == HTTPStatus.OK or 402 <= status < 500)  # noqa: PLR2004


async def _search(channel: Channel, body: bytes, deadline: Deadline, *, divisible: bool) -> _wire.Page:
    """Make one lookup; one that is ``divisible`` is not tried again where its length may be the trouble."""
    tries = 0
    last: TusFacturasError = NotSentError("the lookup was not sent")

    async def step() -> _wire.Page | Unfinished:
        nonlocal tries, last
        exchange = await channel.exchange(_wire.LOOKUP, body, deadline)
        if isinstance(exchange, TusFacturasError):
            raise exchange
        tries += 1
        answer = exchange.answer
        if answer.payload is not None and answer.error is None:
            page = _wire.read_page(answer.payload)
            if page is None:
                raise UnexpectedResponseError("the lookup's answer has no list of vouchers")
            return page
        if isinstance(answer.error, VoucherNotFoundError):
            return _wire.Page([], 0)
        last = answer.error or last
        final = answer.evidence is Evidence.ANSWERED or (divisible and _too_long(last))
        if final or tries >= channel.line.policy.attempts:
            raise last
        return Unfinished(answer.retry_after)

    page = await _drive(channel, step, deadline)
    if isinstance(page, Unfinished):
        raise last
    return page


# -- one request about one voucher -----------------------------------------------------------------


async def call(
    channel: Channel,
    operation: Operation[R],
    deadline: Deadline,
    *,
    earlier: tuple[Attempt, ...] = (),
    doubtful: bool = False,
    expectation: Expectation | None = None,
) -> R:
    """Make one request about one voucher and tell what became of it; what the service says is never raised.

    Args:
        channel: The way to the service.
        operation: What to ask.
        deadline: The end of the whole call.
        earlier: Attempts to put before those of this call.
        doubtful: A request of an earlier process may have arrived: send only what a lookup shows as undone.
        expectation: Where the webhook of this re-send is waited for: it settles a lost answer, too.
    """
    return await _Call(
        channel, operation, deadline, earlier, doubtful=doubtful, expectation=expectation
    ).run()


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
        self._error: TusFacturasError = NotSentError("it was not sent")

    async def run(self) -> R:
        result = await _drive(self._channel, self._step, self._deadline)
        if isinstance(result, Unfinished):  # no budget or no time for another wait
            result = await self._settle() or self._unsettled()
        return result

    async def _step(self) -> R | Unfinished:
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

    async def _answered(self, answer: _wire.Answer) -> R:
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
            return self._end(Outcome.NOT_SENT, None, error=self._error)
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
