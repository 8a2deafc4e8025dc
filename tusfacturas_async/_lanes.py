"""Who may go now, and who must wait: the order within lanes, as a pure structure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

T = TypeVar("T")


class Lanes(Generic[T]):
    """Items of one lane go one at a time, in the order in which they entered; lanes run side by side.

    A lane that stopped stays stopped. Only lanes with an item under way, and stopped ones, take memory.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, deque[T]] = {}
        self._stopped: set[Hashable] = set()

    def stopped(self, lane: Hashable) -> bool:
        """Whether nothing of this lane may go any more."""
        return lane in self._stopped

    def enter(self, lane: Hashable, item: T) -> bool:
        """Put an item in; ``True`` when it may go at once, ``False`` when ``leave`` will hand it out."""
        if lane in self._waiting:
            self._waiting[lane].append(item)
            return False
        self._waiting[lane] = deque()
        return True

    def leave(self, lane: Hashable) -> T | None:
        """The item under way has ended well: the next one of its lane may go, if there is one."""
        waiting = self._waiting.get(lane)
        if waiting:
            return waiting.popleft()
        self._waiting.pop(lane, None)
        return None

    def stop(self, lane: Hashable) -> Iterable[T]:
        """Nothing may go any more behind the item that is under way, if one is. Returns those that waited."""
        self._stopped.add(lane)
        return self._waiting.pop(lane, ())
