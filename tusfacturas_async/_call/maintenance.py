"""What one point of sale knows of maintenance: nothing billed leaves until a free lookup has worked.

It sends nothing by itself (that is ``channel``) and waits for nothing (that is who was told to).
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..errors import MaintenanceError
from . import clock
from .waiting import now

_FIRST_WAIT: Final = 60.0
_LONGEST_WAIT: Final = 300.0
"""Seconds between two billed tries while lookups work and re-sends do not: doubled from first to longest."""


class Maintenance:
    """The gate in front of the billed calls of one point of sale.

    While it is shut, callers stand in its ``line``; the head of it asks the free lookup for all of them, and
    if that works, its own billed call is the trial: the others go when that was answered without maintenance.

    Who came when is told by the event loop's clock: this machine's own may be set back by an hour, and then
    nobody would ask for as long. Only ``until`` is a time of day.
    """

    def __init__(self) -> None:
        self._told: MaintenanceError | None = None
        self._asked_at = self._not_before = float("-inf")
        self._wait = 0.0
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
            self._not_before = now() + self._wait

    def asked(self) -> None:
        """The free lookup was asked just now, and told of maintenance or of nothing at all."""
        self._asked_at = now()

    def known_since(self, came_at: float) -> bool:
        """Whether nobody need ask for a caller who came then: it was asked since, or it is too early."""
        return self._asked_at >= came_at or now() < self._not_before

    def open(self) -> None:
        """A trial was answered without maintenance."""
        self._told = None
        self._wait = 0.0

    def refusal(self) -> MaintenanceError:
        """What a caller is told instead of being sent: it costs nothing."""
        known = self._told
        assert known is not None  # noqa: S101 - the caller has looked
        message = f"not sent, because the service told of maintenance a moment ago: {known}"
        return MaintenanceError(message, until=known.until, errores=known.errores, details=known.details)

    def seconds_left(self, error: MaintenanceError) -> float:
        """How long to wait before asking again. A time that has passed is as good as none: a minute."""
        until = _FIRST_WAIT
        if error.until is not None:
            left = (error.until - clock.utcnow()).total_seconds()
            until = left if left > 0 else until
        return max(until, self._not_before - now())
