"""What time it is: here, and at the service, as its answers tell."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from .._wire.convert import http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOLERANCE: Final = timedelta(seconds=2)
"""How far an event's time may be off the service's clock as its answers tell it: both are cut to seconds."""

_ABSURD: Final = timedelta(days=1)
"""No clock of a server is so far off; a header may say anything."""

_SAMPLES: Final = 8
"""Answers that are remembered."""


def utcnow() -> datetime:
    """The wall clock. Call it by its module: that is where tests set it."""
    return datetime.now(UTC)


class ServiceClock:
    """The service's clock, by which its events are dated."""

    def __init__(self) -> None:
        self._ahead: deque[timedelta] = deque(maxlen=_SAMPLES)

    def learn(self, headers: Mapping[str, str], asked_at: datetime) -> None:
        """Learn from an answer's ``Date`` how far it is ahead of ours; an absurd one teaches nothing."""
        told = http_date(headers.get("date"))
        if told is not None and abs(told - asked_at) < _ABSURD:
            # It is cut to whole seconds, and was written between the asking and now.
            self._ahead.append(told + timedelta(seconds=0.5) - (asked_at + (utcnow() - asked_at) / 2))

    def earliest_event(self, sent_at: datetime) -> datetime:
        """The earliest ``creado`` of an event that a request of then (our clock) can have caused.

        Without a ``Date`` so far both clocks are taken for equal, and no older event is believed.
        """
        # The furthest of the last few: a ``Date`` that was kept somewhere on its way lags, and would let an
        # older event settle what never arrived.
        earliest = sent_at + max(self._ahead) - _TOLERANCE if self._ahead else sent_at
        return earliest.replace(microsecond=0)

    def latest_event(self) -> datetime:
        """The latest ``creado`` that an event can have which comes now: one from the future proves nothing.

        It shows that the clocks are not what they are taken for, and then an older one looks like a new one.
        """
        return utcnow() + max(self._ahead, default=timedelta()) + _TOLERANCE
