"""When a request may start: the client's semaphore, the spacing per credentials, the shared cool-down.

It knows nothing of what is sent. The event loop's clock is its only clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

from .waiting import clock_is_replaced, now, sleep

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

    Who has entered holds one of the client's slots until it leaves. Between the entering and the first byte
    lie turns of the loop, and maybe a connection to be opened. So there is a door as well: one goes through
    it at a time, and who comes late to it waits until the one before is ``min_interval`` away. So starts are
    ``min_interval`` apart, and none is let in during a cool-down. The callers of one set stand in one line,
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
        self._door = asyncio.Event()
        self._door.set()
        self._clear_at = float("-inf")
        self._inside = 0
        self._next_start = float("-inf")
        self._cool_until = float("-inf")
        self.waited_for_slot: float = 0.0
        self.on_cool_down: Callable[[float], None] = lambda _: None

    def cool_down(self, seconds: float) -> None:
        """Let no request of these credentials start for so long; a longer cool-down stands."""
        self._cool_until = max(self._cool_until, now() + seconds)
        self.on_cool_down(seconds)

    @property
    def free(self) -> bool:
        """Whether nobody has to wait."""
        at_once = not (self._line.locked() or self._slots.locked())
        return at_once and max(self._next_start, self._cool_until) <= now()

    @property
    def cooling(self) -> bool:
        """Whether the service asked for a pause that is not over."""
        return self._cool_until > now()

    @property
    def quiet(self) -> bool:
        """Whether nothing would be lost by forgetting it: nobody is here, no spacing or cool-down runs."""
        return not (self._line.locked() or self._inside) and max(self._next_start, self._cool_until) <= now()

    async def enter_free(self) -> None:
        """Take a slot of a pace that is ``free``, without a line to stand in."""
        await self._slots.acquire()
        self._enter()

    async def enter(self) -> None:
        """Wait for the turn, and for a slot."""
        async with self._line:
            waited = 0.0
            while True:
                await self._until(lambda: max(self._next_start, self._cool_until))
                turn = now()
                await self._slots.acquire()
                waited += now() - turn
                if not self.cooling:  # nobody met a 429 while we waited for the slot
                    break
                self._slots.release()
            self.waited_for_slot = waited
            self._enter()

    def go(self) -> Awaitable[None] | None:
        """Go through the door, at the first byte: until ``gone`` nobody else of these credentials does.

        Returns:
            ``None``, or what has to be awaited before: another goes, or went a moment ago.
        """
        if not self._min_interval:
            return None
        if self._door.is_set() and self._clear_at <= now():
            self._door.clear()
            return None
        return self._go_late()

    async def _go_late(self) -> None:
        # Who is late pushes the next.
        self._next_start = max(self._next_start, self._clear_at) + self._min_interval
        while not self._door.is_set() or self._clear_at > now():
            await self._door.wait()
            await self._until(lambda: self._clear_at)
        self._door.clear()

    def gone(self) -> None:
        """The first byte has left, or will not: the spacing counts from now."""
        if self._min_interval:
            self._clear_at = now() + self._min_interval
            self._next_start = max(self._next_start, self._clear_at)
            self._door.set()

    def leave(self) -> None:
        """Give the slot back."""
        self._inside -= 1
        self._slots.release()

    def _enter(self) -> None:
        self._inside += 1
        self.started()

    def started(self) -> None:
        """Count the spacing from now, not from when the start was due; until ``gone``, which not all tell."""
        if self._min_interval:
            self._next_start = max(self._next_start, now() + self._min_interval)

    async def _until(self, due: Callable[[], float]) -> None:
        # Not an event: what we wait for can move while we sleep.
        while (wait := due() - now()) > 0:
            if clock_is_replaced():  # and may stand still: what was waited for once is over
                await sleep(wait)
                self._next_start = self._cool_until = self._clear_at = now()
            else:
                await asyncio.sleep(max(wait - self._early, _TURN))
