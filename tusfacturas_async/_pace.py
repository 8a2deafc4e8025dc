"""When a request may start: the client's semaphore, the spacing per credentials, the shared cool-down.

It knows nothing of what is sent. The event loop's clock is its only clock.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Pace:
    """The turn-taking of one set of credentials.

    ``async with pace:`` holds one of the client's slots. Starts of these credentials are ``min_interval``
    apart, and none happens during a cool-down. The callers of one set stand in one line, first come first
    served, and only the head of a line waits for a slot: hundreds of sets share the slots fairly.

    Args:
        slots: The client's semaphore, shared by all its credentials; held only while sending.
        min_interval: Seconds between two starts (vendor, 2025: "at least about 100 ms"); 0 for none.
    """

    def __init__(self, slots: asyncio.Semaphore, min_interval: float) -> None:
        self._slots = slots
        self._min_interval = min_interval
        self._line = asyncio.Lock()
        self._next_start = float("-inf")
        self._cool_until = float("-inf")

    def cool_down(self, seconds: float) -> None:
        """Let no request of these credentials start for so long; a longer cool-down stands."""
        self._cool_until = max(self._cool_until, asyncio.get_running_loop().time() + seconds)

    async def __aenter__(self) -> Self:
        clock = asyncio.get_running_loop().time
        async with self._line:
            while True:
                # Not an event: what we wait for can move while we sleep.
                while (wait := max(self._next_start, self._cool_until) - clock()) > 0:  # noqa: ASYNC110
                    await asyncio.sleep(wait)
                await self._slots.acquire()
                if self._cool_until <= clock():  # nobody met a 429 while we waited for the slot
                    break
                self._slots.release()
            self._next_start = clock() + self._min_interval
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slots.release()
