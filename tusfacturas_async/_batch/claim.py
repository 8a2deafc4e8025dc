"""A batch's hold on one row of its journal. Only who holds a row writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._call import clock

if TYPE_CHECKING:
    from .._call.channel import Channel
    from .._journal_rows import JournalRow
    from ..results import ReprocessResult
    from .recorder import Recorder


class Claim:
    """One reference's row in the journal, if there is one: held from before its sending to its record."""

    def __init__(self, journal: Recorder | None, channel: Channel, reference: str) -> None:
        self._journal = journal
        self._channel = channel
        self._reference = reference
        self.held: bool = False

    async def make(self, *, doubtful: bool) -> JournalRow | None:
        """Claim it, unless that is done; else the row that forbids it."""
        if self._journal is None or self.held:
            return None
        since = self._channel.line.clock.earliest_event(clock.utcnow())
        forbids = await self._journal.sending(
            self._channel.identity, self._reference, since, doubtful=doubtful
        )
        self.held = forbids is None
        return forbids

    async def record(self, result: ReprocessResult) -> JournalRow | None:
        """Make the outcome durable; else the row that stands."""
        if self._journal is None:
            return None
        self.held = False
        return await self._journal.record(self._channel.identity, result)

    def release(self) -> None:
        """Give it up, if it is held still; the row stays "sending"."""
        if self._journal is not None and self.held:
            self.held = False
            self._journal.release(self._channel.identity, self._reference)
