"""Results on their way to the consumer: what is in hand, how much may wait, and the numbers of it all.

It knows nothing of sending, and it decides no outcome.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from .._call import clock
from ..results import Outcome, Progress, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .entry import Entry


class Outlet:
    """Two bounds, so that a slow consumer slows the reading and the sending.

    A reference that is taken from the input holds a place in the window until its result is taken; one that
    is to be sent holds a place in the room where results wait.

    Args:
        window: References in hand, at most.
        room: Results that wait for the consumer, at most.

    Attributes:
        in_hand: The entries whose results the consumer has not taken, by reference.
        keeps: Whether those that were taken stay in hand, for a consumer who keeps all results anyway.
        unfinished: How many entries have no result yet.
    """

    def __init__(self, *, window: int, room: int) -> None:
        self._window = asyncio.Semaphore(window)
        self._room = asyncio.Semaphore(room)
        self._results: asyncio.Queue[tuple[Entry | None, ReprocessResult] | None] = asyncio.Queue()
        self._done: Counter[Outcome] = Counter()
        self._in_flight = 0
        self._billed_calls = 0
        self.in_hand: dict[str, Entry] = {}
        self.keeps: bool = False
        self.unfinished: int = 0

    def progress(self, total: int | None) -> Progress:
        """How far it is."""
        return Progress(dict(self._done), self._in_flight, self._billed_calls, total)

    # -- from the input to a result ---------------------------------------------------------------

    async def place(self) -> None:
        """Wait until another reference may be taken from the input."""
        await self._window.acquire()

    def add(self, entry: Entry) -> None:
        """Take it in hand."""
        self.in_hand[entry.request.external_reference] = entry
        self.unfinished += 1

    async def room(self, entry: Entry) -> None:
        """Wait until the result of this one may wait for the consumer."""
        await self._room.acquire()
        entry.in_room = True

    def leave_room(self, entry: Entry) -> None:
        """Its place is another's, if it has one."""
        if entry.in_room:
            entry.in_room = False
            self._room.release()

    def make_room(self, places: int) -> None:
        """Nobody takes results any more: let those that wait for room see it."""
        for _ in range(places):
            self._room.release()

    def begin(self, entry: Entry) -> None:
        """Its sending begins."""
        entry.in_flight = True
        entry.began_at = clock.utcnow()
        self._in_flight += 1

    def end(self, entry: Entry, result: ReprocessResult) -> ReprocessResult:
        """Hand its result out, to all who share it; returns it as it was decided."""
        self._in_flight -= entry.in_flight
        self._billed_calls += result.billed_calls
        self.unfinished -= 1
        decided, *shared = entry.end(result)
        for told in (decided, *shared):
            self.hand_out(entry, told)
        return decided

    def hand_out(self, entry: Entry | None, result: ReprocessResult) -> None:
        """Let the consumer have this one; ``entry``: whose it is."""
        self._done[result.outcome] += 1
        self._results.put_nowait((entry, result))

    def close(self) -> None:
        """There will be no more."""
        self._results.put_nowait(None)

    # -- the consumer -----------------------------------------------------------------------------

    async def take(self) -> ReprocessResult | None:
        """The next result; ``None`` when there will be no more."""
        handed = await self._results.get()
        if handed is None:
            self.close()  # another loop over it ends as well
            return None
        return self._taken(*handed)

    def rest(self) -> Iterator[ReprocessResult]:
        """The results that are there, without waiting for any."""
        while not self._results.empty() and (handed := self._results.get_nowait()) is not None:
            yield self._taken(*handed)

    def _taken(self, entry: Entry | None, result: ReprocessResult) -> ReprocessResult:
        self._window.release()
        if entry is not None:
            entry.copies -= 1
            self.leave_room(entry)
            if not (entry.copies or self.keeps):
                del self.in_hand[entry.request.external_reference]
        return result
