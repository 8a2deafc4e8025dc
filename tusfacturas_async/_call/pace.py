"""When a request may start: the client's semaphore, the spacing per credentials, the shared cool-down.

It knows nothing of what is sent. The event loop's clock is its only clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

from .waiting import clock_is_replaced, sleep

_COARSE: Final = 0.1
"""Seconds between starts from which on a millisecond matters little."""

_LATENESS: Final = 0.002
"""Seconds that a timer may be late: the event loop rounds it up to whole milliseconds, and is woken late."""

_MEAN_LATENESS: Final = 0.0005
"""Seconds that a timer is late by in the mean, of the rounding alone."""

_TURN: Final = 1e-6
"""Seconds that are over after a turn of the loop. Not 0: a clock that only timers move would stand still."""


class Pace:
    """The turn-taking of one set of credentials.

    Who has entered holds one of the client's slots until it leaves. Starts of these credentials are
    ``min_interval`` apart, and none happens during a cool-down. The callers of one set stand in one line,
    first come first served, and only the head of a line waits for a slot: hundreds of sets share the slots
    fairly.

    Args:
        slots: The client's semaphore, shared by all its credentials; held only while sending.
        min_interval: Seconds between two starts (vendor, 2025: "at least about 100 ms"); 0 for none. A wait
            ends in turns of the loop, as no timer is so exact: the last half millisecond, and below 0.1
            seconds the last two, which is a tenth of the processor at 0.01.

    Attributes:
        waited_for_slot: Seconds that who entered last waited for its slot, once it was the head of the line.
    """

    def __init__(self, slots: asyncio.Semaphore, min_interval: float) -> None:
        self._slots = slots
        self._min_interval = min_interval
        self._early = _LATENESS if min_interval < _COARSE else _MEAN_LATENESS
        self._line = asyncio.Lock()
        self._next_start = float("-inf")
        self._cool_until = float("-inf")
        self.waited_for_slot: float = 0.0
        self.on_cool_down: Callable[[float], None] = lambda _: None

    def cool_down(self, seconds: float) -> None:
        """Let no request of these credentials start for so long; a longer cool-down stands."""
        self._cool_until = max(self._cool_until, _now() + seconds)
        self.on_cool_down(seconds)

    @property
    def free(self) -> bool:
        """Whether nobody has to wait."""
        at_once = not (self._line.locked() or self._slots.locked())
        return at_once and max(self._next_start, self._cool_until) <= _now()

    @property
    def quiet(self) -> bool:
        """Whether nothing would be lost by forgetting it: nobody waits, and no spacing or cool-down runs."""
        return not self._line.locked() and max(self._next_start, self._cool_until) <= _now()

    async def enter_free(self) -> None:
        """Take a slot of a pace that is ``free``, without a line to stand in."""
        await self._slots.acquire()
        self.started()

    async def enter(self) -> None:
        """Wait for the turn, and for a slot."""
        async with self._line:
            waited = 0.0
            while True:
                # Not an event: what we wait for can move while we sleep.
                while (wait := max(self._next_start, self._cool_until) - _now()) > 0:
                    if clock_is_replaced():  # and may stand still: what was waited for once is over
                        await sleep(wait)
                        self._next_start = self._cool_until = _now()
                    else:
                        await asyncio.sleep(max(wait - self._early, _TURN))
                turn = _now()
                await self._slots.acquire()
                waited += _now() - turn
                if self._cool_until <= _now():  # nobody met a 429 while we waited for the slot
                    break
                self._slots.release()
            self.waited_for_slot = waited
            self.started()

    def started(self) -> None:
        """Count the spacing from now, and not from when the start was due."""
        if self._min_interval:
            self._next_start = max(self._next_start, _now() + self._min_interval)

    def leave(self) -> None:
        """Give the slot back."""
        self._slots.release()


def _now() -> float:
    return asyncio.get_running_loop().time()
