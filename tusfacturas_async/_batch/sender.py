"""The sending of one reference of a batch: recorded before and after, and told when to stop.

It knows the journal, the maintenance that may be waited for, and what ends the sending of all the others.
It knows no order, no window and no consumer (that is ``batch``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._call.call import call, concerns_every_reference, share
from .._call.channel import Deadline
from .._call.exchange import About
from .._call.operations import resend
from .._wire import codec as wire
from ..errors import JournalError, MaintenanceError, NotSentError
from ..results import Outcome, ReprocessResult
from .screen import Screened, screen

if TYPE_CHECKING:
    from .._call.channel import Channel
    from ..journal import Journal
    from ..models import ReprocessRequest
    from ..webhooks.confirmations import Confirmations, Expectation


class Sender:
    """Sends references, until something stops it.

    Args:
        channel: The way to the service.
        journal: Where each sending is recorded, or ``None``.
        deadline: Seconds for one whole call, or ``None``.
        patience: Seconds of maintenance to wait for, over all references; ``None`` to stop at it.
        confirmations: Where re-sends wait for their webhooks, or ``None``.

    Attributes:
        in_flight: References that are being sent or settled.
        stopping: Whether nothing new is sent any more.
        failure: What stopped it, to be raised at the batch's end.
    """

    def __init__(
        self,
        channel: Channel,
        journal: Journal | None,
        *,
        deadline: float | None,
        patience: float | None,
        confirmations: Confirmations | None,
    ) -> None:
        self._channel = channel
        self._journal = journal
        self._seconds = deadline
        self._patience = patience
        self._patience_ends: float | None = None
        self._confirmations = confirmations
        self._unreachable = False
        self._running: set[Deadline] = set()
        self.in_flight: int = 0
        self.stopping: bool = False
        self.failure: BaseException | None = None

    def stop(self) -> None:
        """Send nothing new, and let what is in flight end soon."""
        self.stopping = True
        for deadline in self._running:
            deadline.stop()

    def _halt(self, error: BaseException) -> None:
        self.failure = self.failure or error
        self.stop()

    async def screen(self, references: list[str], *, check_first: bool) -> Screened:
        """What need not be sent of these; see ``screen``."""
        if self.stopping:
            return Screened({})
        deadline = self._begin(self._seconds)
        try:
            screened = await screen(
                *(self._channel, references, self._journal, deadline),
                check_first=check_first,
                outlast=self._outlast,
            )
        except JournalError as error:
            self._halt(error)
            return Screened({})
        finally:
            self._running.discard(deadline)
        for verdict in screened.verdicts.values():
            self._learn(verdict)
        return screened

    def expect(self, request: ReprocessRequest) -> Expectation | None:
        """Wait for the webhook of a re-send that is about to start, if webhooks are waited for."""
        return None if self._confirmations is None else self._confirmations.expect(request.external_reference)

    async def send(
        self, request: ReprocessRequest, *, doubtful: bool, expectation: Expectation | None
    ) -> ReprocessResult:
        """Re-send one, its record durable before and after; or hold it.

        An ``UNKNOWN`` waits for its webhook here; an ``ACCEPTED`` leaves that to the caller.
        """
        if self.stopping:
            return self.held(request)
        deadline = self._begin(self._seconds)
        self.in_flight += 1
        try:
            result = await share(
                self._channel,
                resend(request),
                deadline,
                lambda took_over: self._lead(request, deadline, expectation, doubtful=doubtful or took_over),
            )
        finally:
            self.in_flight -= 1
            self._running.discard(deadline)
        self._learn(result)
        return result

    async def _lead(
        self,
        request: ReprocessRequest,
        deadline: Deadline,
        expectation: Expectation | None,
        *,
        doubtful: bool,
    ) -> ReprocessResult:
        journal, fingerprint = self._journal, self._channel.fingerprint
        try:
            if journal is not None:
                await journal.sending(fingerprint, request.external_reference)
        except JournalError as error:
            self._halt(error)
            return self.held(request)
        result = await call(
            *(self._channel, resend(request), deadline),
            doubtful=doubtful,
            expectation=expectation,
            outlast=self._outlast,
        )
        if self.stopping and result.outcome is Outcome.NOT_SENT and not result.attempts:
            result = self.held(request)
        if result.outcome is Outcome.UNKNOWN and expectation is not None and not self.stopping:
            result = await expectation.confirm(result)
        try:
            if journal is not None:
                await journal.record(fingerprint, result)
        except JournalError as error:
            self._halt(error)  # the row stays "sending": the next run looks it up
        return result

    def _begin(self, seconds: float | None) -> Deadline:
        deadline = Deadline(seconds)
        if self.stopping:
            deadline.stop()
        self._running.add(deadline)
        return deadline

    async def _outlast(self, maintenance: MaintenanceError) -> bool:
        """Wait for the maintenance's end, if there is patience for it."""
        now = asyncio.get_running_loop().time()
        if self._patience is None:
            return False
        if self._patience_ends is None:
            self._patience_ends = now + self._patience
        wait = self._channel.maintenance.seconds_left(maintenance)
        if now + wait > self._patience_ends:
            return False
        self._channel.telling.wait(About(wire.REPROCESS), wait, "maintenance", maintenance)
        sleeping = self._begin(None)
        try:
            await sleeping.sleep(wait)
        finally:
            self._running.discard(sleeping)
        return not self.stopping

    def _learn(self, result: ReprocessResult) -> None:
        """Stop when this result says that every other would end alike."""
        error = result.error
        if error is not None and concerns_every_reference(error):
            self._halt(error)
        elif isinstance(error, NotSentError) and self._channel.line.budget.spent:
            self._unreachable = True  # the results tell it; there is nothing to raise
            self.stop()

    def held(self, request: ReprocessRequest) -> ReprocessResult:
        """The result of a reference whose sending was not begun."""
        reference = request.external_reference
        if self._unreachable:
            why = "not sent: the service cannot be reached, and the retry budget is spent"
            outcome = Outcome.NOT_SENT
        else:
            why = f"held: its {'batch' if self.stopping else 'lane'} stopped before it"
            outcome = Outcome.HELD
        return ReprocessResult(reference, outcome, error=NotSentError(why, external_reference=reference))
