"""An event loop whose time is virtual: it jumps to the next timer instead of sleeping."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_SHORT = 1e-5
"""Seconds that are over, on a real loop, before it comes to wait."""

TURN = 1e-4
"""Seconds of a turn, for who has no need of exact times and hundreds of calls to space."""


class _Selector(selectors.DefaultSelector):
    def __init__(self, late_by: float, turn: float) -> None:
        super().__init__()
        self.now = 0.0
        self._late_by = late_by
        self._turn = turn

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled, and virtual time cannot pass")
        if timeout > 0:
            self.now += max(timeout, self._turn) + (self._late_by if timeout > _SHORT else 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Use it for code without real I/O; ``asyncio.sleep`` takes no real time.

    Args:
        late_by: Seconds by which a timer is late, as a real selector rounds up.
        turn: Seconds that a wait takes at least, as a real loop's turn does: who waits in turns takes fewer.
    """

    def __init__(self, late_by: float = 0.0, turn: float = 0.0) -> None:
        self._virtual = _Selector(late_by, turn)
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(coroutine: Coroutine[Any, Any, T], *, timers_late_by: float = 0.0, turn: float = 0.0) -> T:
    """``asyncio.run`` in virtual time.

    Never in asyncio's debug mode: it looks for slow callbacks and foreign threads, which are not here, and
    keeps a stack for each timer, with which thousands of random schedules take minutes.
    """
    with asyncio.Runner(debug=False, loop_factory=lambda: VirtualLoop(timers_late_by, turn)) as runner:
        return runner.run(coroutine)
