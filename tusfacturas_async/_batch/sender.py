"""The sending of one reference of a batch: recorded before and after, and told when to stop.

It knows the journal, the maintenance that may be waited for, and what ends the sending of all the others.
It knows no order, no window and no consumer (that is ``batch``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from .._call.call import call, concerns_every_reference, share
from .._call.channel import unhindered
from .._call.exchange import About
from .._call.operations import resend
from .._call.waiting import Deadline, now
from .._wire import codec as wire
from ..errors import JournalError, MaintenanceError, NotSentError
from ..results import Outcome, ReprocessResult
from .claim import Claim
from .failure import must_pass
from .screen import Screened, on_record, screen

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .._call.channel import Channel
    from ..models import ReprocessRequest
    from ..webhooks.confirmations import Confirmations, Expectation
    from .recorder import Recorder


class Sender:
    """Sends references, until something stops it.

    Args:
        channel: The way to the service.
        journal: Where each sending is recorded, or ``None``.
        deadline: Seconds for one whole call, or ``None``.
        patience: Seconds of maintenance to wait for, over all references; ``None`` to stop at it.
        check_first: Whether the free lookup tells what need not be sent.
        confirmations: Where re-sends wait for their webhooks, or ``None``.

    Attributes:
        screens: Whether there is anything that tells what need not be sent.
        stopping: Whether nothing new is sent any more.
        failure: What stopped it, to be raised at the batch's end.
    """

    def __init__(
        self,
        channel: Channel,
        journal: Recorder | None,
        *,
        deadline: float | None,
        patience: float | None,
        check_first: bool,
        confirmations: Confirmations | None,
    ) -> None:
        self._channel = channel
        self._journal = journal
        self._seconds = deadline
        self._patience = patience
        self._patience_ends: float | None = None
        self._check_first = check_first
        self._confirmations = confirmations
        self._unreachable = False
        self._running: set[Deadline] = set()
        self.screens: bool = check_first or journal is not None
        self.stopping: bool = False
        self.failure: BaseException | None = None

    def stop(self) -> None:
        """Send nothing new, and let what is in flight end soon."""
        self.stopping = True
        for deadline in self._running:
            deadline.stop()

    def _halt(self, error: BaseException) -> None:
        """Stop, and raise this at the end; unless it is the word to end at once."""
        if must_pass(error):
            raise error
        self.failure = self.failure or error
        self.stop()

    async def screen(self, references: list[str]) -> Screened:
        """What need not be sent of these; see ``screen``."""
        if self.stopping:
            return Screened({})
        deadline = self._begin(self._seconds)
        try:
            screened = await screen(
                *(self._channel, references, self._journal, deadline),
                check_first=self._check_first,
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
        self,
        request: ReprocessRequest,
        *,
        doubtful: bool,
        expectation: Expectation | None,
        decide: Callable[[ReprocessResult], ReprocessResult],
    ) -> ReprocessResult:
        """Re-send one, its record durable before and after; or hold it.

        An ``UNKNOWN`` waits for its webhook here; an ``ACCEPTED`` leaves that to the caller. ``decide`` has
        the last word on the result, just before it is recorded.
        """
        if self.stopping:
            return self.held(request)
        deadline = self._begin(self._seconds)
        claim = Claim(self._journal, self._channel, request.external_reference)

        async def lead(doubtful: bool) -> ReprocessResult:  # noqa: FBT001 - as ``share`` calls it
            try:
                forbids = await claim.make(doubtful=doubtful)
                if forbids is not None and forbids.doubtful and not doubtful:  # it became so meanwhile
                    doubtful = True
                    forbids = await claim.make(doubtful=True)
            except BaseException as error:  # noqa: BLE001 - a journal of the user's own
                self._halt(error)
                return self.held(request)
            if forbids is not None:
                return on_record(forbids) if forbids.final else _elsewhere(request.external_reference)
            return await self._record(
                claim, decide(await self._call(request, deadline, expectation, doubtful))
            )

        async def follow() -> None:
            try:
                await claim.make(doubtful=doubtful)  # after a crash it is in doubt here as well
            except BaseException as error:  # noqa: BLE001 - likewise
                self._halt(error)

        try:
            result = await share(
                *(self._channel, resend(request), deadline, lead), doubtful=doubtful, waiting=follow
            )
            if claim.held:  # it was led by another batch, or a single call
                result = await self._record(claim, decide(result))
        finally:
            claim.release()
            self._running.discard(deadline)
        self._learn(result)
        return result

    async def _call(
        self,
        request: ReprocessRequest,
        deadline: Deadline,
        expectation: Expectation | None,
        doubtful: bool,  # noqa: FBT001 - as ``lead`` is told
    ) -> ReprocessResult:
        gate = None if self._journal is None else self._journal.gate
        result = await call(
            *(self._channel, resend(request), deadline),
            doubtful=doubtful,
            expectation=expectation,
            outlast=self._outlast,
            leaving=gate or unhindered,
        )
        if self.stopping and result.outcome is Outcome.NOT_SENT and not result.attempts:
            result = self.held(request)
        if result.outcome is Outcome.UNKNOWN and expectation is not None and not self.stopping:
            result = await expectation.confirm(result)
        return result

    async def _record(self, claim: Claim, result: ReprocessResult) -> ReprocessResult:
        """The result as the journal has it: what a webhook settled as accepted meanwhile stays so."""
        try:
            stands = await claim.record(result)
        except BaseException as error:  # noqa: BLE001 - likewise
            self._halt(error)  # the row stays "sending": the next run looks it up
            return result
        if stands is None:
            return result
        return evolve(result, outcome=Outcome.ACCEPTED, settled_by="webhook", error=None)

    def _begin(self, seconds: float | None) -> Deadline:
        deadline = Deadline(seconds)
        if self.stopping:
            deadline.stop()
        self._running.add(deadline)
        return deadline

    async def _outlast(self, maintenance: MaintenanceError, deadline: Deadline) -> bool:
        """Wait for the maintenance's end, if there is patience for it; ``deadline`` does not count that."""
        if self._patience is None:
            return False
        began = now()
        if self._patience_ends is None:
            self._patience_ends = began + self._patience
        wait = self._channel.maintenance.seconds_left(maintenance)
        if began + wait > self._patience_ends:
            return False
        self._channel.telling.wait(About(wire.REPROCESS), wait, "maintenance", maintenance)
        sleeping = self._begin(None)
        try:
            await sleeping.sleep(wait)
        finally:
            self._running.discard(sleeping)
        deadline.postpone(now() - began)
        return not self.stopping

    def _learn(self, result: ReprocessResult) -> None:
        """Stop when this result says that every other would end alike."""
        error = result.error
        if error is not None and concerns_every_reference(error):
            self._halt(error)
        elif result.attempts and isinstance(error, NotSentError) and self._channel.budget.spent:
            self._unreachable = True  # the results tell it; there is nothing to raise
            self.stop()

    def tell(self, result: ReprocessResult, began_at: datetime | None = None) -> None:
        """Let the observers know how a reference ended, and when its sending was begun, if it was."""
        self._channel.telling.end(wire.REPROCESS, result, began_at)

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


def _elsewhere(reference: str) -> ReprocessResult:
    """The result of a reference that another client's batch is sending: it is that one's to tell."""
    why = "not sent: another batch with this journal is sending it"
    return ReprocessResult(reference, Outcome.NOT_SENT, error=NotSentError(why, external_reference=reference))
