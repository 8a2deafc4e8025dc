"""What observers are told of one set of credentials' calls. Where nobody asks, no event is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .._wire import codec as wire
from ..instrumentation.events import (
    AttemptEnded,
    CallEnded,
    CoolDownStarted,
    LookupEnded,
    RequestStarted,
    WaitStarted,
)
from . import clock

if TYPE_CHECKING:
    from datetime import datetime

    from ..errors import TusFacturasError
    from ..instrumentation.events import CoolDownReason, WaitReason
    from ..instrumentation.observers import Observers
    from ..results import CallResult
    from .exchange import About, Exchange

_OPERATIONS: Final = {
    wire.REPROCESS: "reprocess",
    wire.DELETE: "delete",
    wire.CHANGE_DATE: "change_date",
    wire.LOOKUP: "lookup",
}
"""What observers know the calls by: the client's own methods."""


class Telling:
    """Tells the observers of one client about one set of credentials.

    Args:
        observers: Who is told.
        fingerprint: Whose calls these are.
        base_url: Where they go.
    """

    def __init__(self, observers: Observers, fingerprint: str, base_url: str) -> None:
        self._observers = observers
        self._fingerprint = fingerprint
        self._base_url = base_url

    def _of(self, path: str, reference: str | None) -> dict[str, Any]:
        return {
            "fingerprint": self._fingerprint,
            "operation": _OPERATIONS[path],
            "external_reference": reference,
        }

    def start(self, about: About) -> None:
        """A request is about to leave; ``exchange`` follows, whatever comes of it."""
        if self._observers.on_start is not None:
            self._observers.on_start(RequestStarted(**self._of(about.path, about.reference)))

    def exchange(self, about: About, exchange: Exchange, waited: tuple[float, float]) -> None:
        """A request came to its end; it had waited so many seconds for its slot, and for its spacing."""
        on_attempt, on_lookup = self._observers.on_attempt, self._observers.on_lookup
        free = about.path == wire.LOOKUP
        if (on_lookup if free else on_attempt) is None:
            return
        error = exchange.answer.error
        told = self._of(about.path, about.reference) | {
            "started_at": exchange.started_at,
            "elapsed": exchange.elapsed,
            "evidence": exchange.answer.evidence,
            "status_code": exchange.status_code,
            "error": None if error is None else str(error),
            "waited_for_slot": waited[0],
            "waited_for_spacing": waited[1],
            "url": self._base_url + about.path,
        }
        if free and on_lookup is not None:
            on_lookup(LookupEnded(**told))
        elif on_attempt is not None:
            on_attempt(AttemptEnded(**told, number=about.number))

    def wait(self, about: About, seconds: float, reason: WaitReason, error: object) -> None:
        """A call is about to wait before it tries again."""
        if self._observers.on_wait is not None:
            told = None if error is None else str(error)
            of = self._of(about.path, about.reference)
            self._observers.on_wait(
                WaitStarted(**of, number=about.number, seconds=seconds, reason=reason, error=told)
            )

    def cool_down(self, seconds: float, reason: CoolDownReason, error: TusFacturasError) -> None:
        """Nothing is sent for a while."""
        if self._observers.on_cool_down is not None:
            self._observers.on_cool_down(
                CoolDownStarted(
                    fingerprint=self._fingerprint, seconds=seconds, reason=reason, error=str(error)
                )
            )

    def end(self, path: str, result: CallResult, began_at: datetime | None = None) -> None:
        """A reference has come to its end; ``began_at`` is ``None`` where nothing was begun for it."""
        if self._observers.on_result is None or (result.error is None and self._observers.unread):
            return
        now = clock.utcnow()
        self._observers.on_result(
            CallEnded(
                **self._of(path, result.external_reference),
                outcome=result.outcome.value,
                settled_by=result.settled_by,
                billed_calls=result.billed_calls,
                attempts=result.attempts,
                started_at=began_at or now,
                # A clock that was set back meanwhile must not take time away from a counter.
                elapsed=0.0 if began_at is None else max(0.0, (now - began_at).total_seconds()),
                error=None if result.error is None else str(result.error),
                error_type=result.error_type,
                url=self._base_url + path,
            )
        )
