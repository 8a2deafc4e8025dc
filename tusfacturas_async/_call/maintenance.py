"""What one point of sale knows of maintenance: nothing billed leaves until a free lookup has worked.

It sends nothing by itself (that is ``channel``) and waits for nothing (that is who was told to).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

from ..errors import MaintenanceError
from . import clock

_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(minutes=5)
"""Between two billed tries while lookups work and re-sends do not: doubled from the first to the longest."""


class Maintenance:
    """The gate in front of the billed calls of one point of sale.

    While it is shut, callers stand in its ``line``; the head of it asks the free lookup for all of them, and
    if that works, its own billed call is the trial: the others go when that was answered without maintenance.
    """

    def __init__(self) -> None:
        self._told: MaintenanceError | None = None
        self._asked_at = self._not_before = datetime.min.replace(tzinfo=UTC)
        self._wait = timedelta()
        self.line: asyncio.Lock = asyncio.Lock()

    @property
    def shut(self) -> bool:
        """Whether a billed call has to pass ``line`` first."""
        return self._told is not None

    def tell(self, error: MaintenanceError, *, trial: bool = False) -> None:
        """An answer of maintenance has come; ``trial``: to a billed call, although the lookup had worked."""
        self._told = error
        if trial:
            self._wait = min(max(2 * self._wait, _FIRST_WAIT), _LONGEST_WAIT)
            self._not_before = clock.utcnow() + self._wait

    def asked(self) -> None:
        """The free lookup was asked just now, and told of maintenance or of nothing at all."""
        self._asked_at = clock.utcnow()

    def known_since(self, came_at: datetime) -> bool:
        """Whether nobody need ask for a caller who came then: it was asked since, or it is too early."""
        return self._asked_at >= came_at or clock.utcnow() < self._not_before

    def open(self) -> None:
        """A trial was answered without maintenance."""
        self._told = None
        self._wait = timedelta()

    def refusal(self) -> MaintenanceError:
        """What a caller is told instead of being sent: it costs nothing."""
        known = self._told
        assert known is not None  # noqa: S101 - the caller has looked
        message = f"not sent, because the service told of maintenance a moment ago: {known}"
        return MaintenanceError(message, until=known.until, errores=known.errores, details=known.details)

    def seconds_left(self, error: MaintenanceError) -> float:
        """How long to wait before asking again. A time that has passed is as good as none: a minute."""
        now = clock.utcnow()
        until = error.until if error.until is not None and error.until > now else now + _FIRST_WAIT
        return (max(until, self._not_before) - now).total_seconds()
