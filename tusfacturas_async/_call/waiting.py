"""Waiting: with an end, and also where a test has stopped the clock."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


def now() -> float:
    """The event loop's clock: seconds, and never back."""
    return asyncio.get_running_loop().time()


def clock_is_replaced() -> bool:
    """Whether somebody stands in for Python's monotonic clock, as freezegun does.

    The event loop reads that clock: where it stands still, no timer of the loop ever fires.
    """
    return not isinstance(time.monotonic, BuiltinFunctionType)


async def sleep(seconds: float) -> None:
    """Sleep so many seconds of the event loop, or, where the clock is replaced, of this machine."""
    if seconds > 0 and clock_is_replaced():
        await asyncio.to_thread(time.sleep, seconds)
    else:
        await asyncio.sleep(seconds)


async def at_most(seconds: float, waiting: Coroutine[Any, Any, object]) -> None:
    """Await ``waiting``, or give it up after so many seconds."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await waiting


class Deadline:
    """The end of one whole call: its time, or the word of the batch that it belongs to.

    Args:
        seconds: From now on the event loop's clock; ``None`` for no end.
    """

    def __init__(self, seconds: float | None) -> None:
        self._at = None if seconds is None else now() + seconds
        self._waiting: asyncio.Timeout | None = None
        self.stopped: bool = False

    def left(self) -> float:
        """Seconds left; infinite without a deadline."""
        return float("inf") if self._at is None else self._at - now()

    def postpone(self, seconds: float) -> None:
        """Have so much more time: it was spent waiting for what the call's time does not count."""
        if self._at is not None:
            self._at += seconds

    def stop(self) -> None:
        """Start no further attempt and end any wait for one; lookups of what was sent may go on."""
        self.stopped = True
        if self._waiting is not None and not self._waiting.expired():
            self._waiting.reschedule(now())

    async def bounds(self, waiting: Coroutine[Any, Any, object], *, stoppable: bool) -> bool:
        """Await ``waiting``; ``False`` when the end came first."""
        if self.stopped and stoppable:
            waiting.close()
            return False
        try:
            async with asyncio.timeout_at(self._at) as limit:
                self._waiting = limit if stoppable else None
                await waiting
        except TimeoutError:
            return False
        finally:
            self._waiting = None
        return True

    async def sleep(self, seconds: float) -> None:
        """Sleep so long, or until the end."""
        await self.bounds(sleep(seconds), stoppable=True)
