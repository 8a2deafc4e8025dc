"""What becomes of queued vouchers: some time later ARCA issues or refuses them. It delivers nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .._call.waiting import sleep
from .delivery import until_done
from .queue import State
from .service import PointOfSale
from .switches import Switches


class Arca:
    """Takes queued vouchers, and thinks about each for ``process_after``.

    Args:
        switches: How long it thinks, and what it refuses.
        time_scale: Service seconds in one real second.
        decided: Called with a voucher's point of sale and reference when it has decided.

    Attributes:
        tasks: What it is thinking about.
    """

    def __init__(
        self, switches: Switches, time_scale: float, decided: Callable[[PointOfSale, str], None]
    ) -> None:
        self._switches = switches
        self._time_scale = time_scale
        self._decided = decided
        self._failures: list[BaseException] = []
        self.tasks: set[asyncio.Task[None]] = set()

    def take(self, point: PointOfSale, reference: str) -> None:
        """Take a voucher that was queued, unless queued vouchers are left to the test."""
        if self._switches.process_after is not None:
            task = asyncio.create_task(self._think(point, reference))
            self.tasks.add(task)
            task.add_done_callback(self._thought)

    async def _think(self, point: PointOfSale, reference: str) -> None:
        await sleep((self._switches.process_after or 0.0) / self._time_scale)
        if point.queue[reference].state is not State.QUEUED:  # deleted, or ended by the test, meanwhile
            return
        reasons = self._switches.refuse(point.queue[reference])
        if texts := (reasons,) if isinstance(reasons, str) else tuple(reasons):
            point.queue.fail(reference, texts)
        else:
            point.queue.issue(reference)
        self._decided(point, reference)

    def _thought(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def drain(self) -> None:
        """Wait until it thinks about nothing any more."""
        await until_done(self.tasks)

    def tell_failure(self) -> None:
        """Raise what ``refuse`` raised, if it did: in a task of ours nobody would see it."""
        if self._failures:
            raise self._failures.pop()

    async def aclose(self) -> None:
        """Stop thinking."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
