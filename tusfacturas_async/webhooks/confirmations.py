"""Who waits for which webhook: an event is matched to the re-send that it confirms. No I/O.

Only references that are being re-sent are waited for, so events that nobody waits for take no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import evolve

from ..results import CallResult, Outcome
from .events import EmitidoWebhook, EncoladoWebhook, WebhookEvent

if TYPE_CHECKING:
    from datetime import datetime

R = TypeVar("R", bound=CallResult)

_CONFIRMABLE = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})


class Source(Protocol):
    """Where events come in: an ``Inbox``, or the fleet's ``PostgresInbox``."""

    def subscribe(self, listener: Callable[[WebhookEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every new event; returns how to end that."""
        ...


class Confirmations:
    """The re-sends that wait for their event.

    Args:
        within: Seconds to wait after the answer.
    """

    def __init__(self, within: float) -> None:
        self.within = within
        self._expected: dict[str, set[Expectation]] = {}

    def tell(self, event: WebhookEvent) -> None:
        """An event has come. ``encolado`` confirms a re-send, and so does ``emitido``, which follows it."""
        if isinstance(event, EncoladoWebhook | EmitidoWebhook):
            for expectation in tuple(self._expected.get(event.external_reference, ())):
                expectation.meet(event)

    def expect(self, reference: str) -> Expectation:
        """Wait for the event of a re-send that is about to start; close it in the end."""
        expectation = Expectation(self, reference)
        self._expected.setdefault(reference, set()).add(expectation)
        return expectation

    def forget(self, expectation: Expectation, reference: str) -> None:
        """Wait no longer."""
        waiting = self._expected.get(reference, set())
        waiting.discard(expectation)
        if not waiting:
            self._expected.pop(reference, None)


class Expectation:
    """One re-send that waits for its event, until it is closed."""

    def __init__(self, confirmations: Confirmations, reference: str) -> None:
        self._confirmations = confirmations
        self._reference = reference
        self._earliest: Callable[[], datetime] | None = None
        self._possible: Callable[[], datetime]
        self._latest: datetime | None = None
        self._told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Wait no longer; whoever waits is told that nothing came."""
        self._confirmations.forget(self, self._reference)
        self._settle(came=False)

    def begin(self, earliest: Callable[[], datetime], latest: Callable[[], datetime]) -> None:
        """A request is about to leave, or may have left: from now on an event can be its own.

        Args:
            earliest: Tells the earliest ``creado`` of such an event; the first request's counts.
            latest: Tells the latest one that an event can have which comes now.
        """
        self._earliest = self._earliest or earliest
        self._possible = latest

    def meet(self, event: WebhookEvent) -> None:
        """An event of this reference has come. One that is older, of the future or undated proves nothing."""
        at = event.created_at
        if at is not None and self._earliest is not None and at <= self._possible():
            self._latest = max(self._latest or at, at)
        self._judge()

    def _judge(self) -> None:
        if self._latest is not None and self._earliest is not None and self._latest >= self._earliest():
            self._settle(came=True)

    def _settle(self, *, came: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._told.done():
            self._told.set_result(came)

    @property
    def met(self) -> bool:
        """Whether the event has come."""
        return self._told.done() and self._told.result()

    async def confirm(self, result: R) -> R:
        """The result as the event settles it, if one comes in time."""
        if result.outcome in _CONFIRMABLE:
            self._start_clock()
            await asyncio.shield(self._told)
        return self.settled(result)

    def then(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` when the event has come, or did not come in time."""
        self._start_clock()
        self._told.add_done_callback(lambda _: tell())

    def _start_clock(self) -> None:
        self._judge()  # the answer may have taught the service's clock
        clock = asyncio.get_running_loop()
        if not self._told.done():
            self._timer = clock.call_later(self._confirmations.within, lambda: self._settle(came=False))

    def settled(self, result: R) -> R:
        """The result as it is known now."""
        if not self.met or result.outcome not in _CONFIRMABLE:
            return result
        return evolve(result, outcome=Outcome.ACCEPTED, settled_by="webhook", error=None)
