"""What left and may have arrived, while nobody knows its end: who asks for it again is to look first.

It sends nothing, and it forgets with the client: a journal remembers beyond that.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class Doubts:
    """The requests of one set of credentials that are under way, were given up, or ended as ``UNKNOWN``.

    Only their hashes are kept, some 150 bytes each; two that are alike cost one free lookup.

    Args:
        most: How many are kept; the oldest are forgotten.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._most = most
        self._hashes: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, request: Hashable) -> bool:
        return hash(request) in self._hashes

    def add(self, request: Hashable) -> None:
        """It may leave now, or have left."""
        self._hashes[hash(request)] = None
        if len(self._hashes) > self._most:
            self._hashes.popitem(last=False)

    def discard(self, request: Hashable) -> None:
        """Its end is known."""
        self._hashes.pop(hash(request), None)
