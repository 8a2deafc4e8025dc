"""``Recorder``: what a batch asks of a journal, be it a file or a table. It records nothing itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from .._journal_rows import JournalRow
from ..models import Identity
from ..results import ReprocessResult


class Recorder(Protocol):
    """A journal: ``Journal`` is one in a file, ``fleet.PostgresJournal`` one in PostgreSQL.

    One contract suite runs over all (``tests/fleet/test_journal_contract.py``).
    """

    @property
    def gate(self) -> Callable[[], str | None] | None:
        """Asked after the pace, just before the first byte: ``None`` lets it leave, a text says why not."""
        ...

    async def rows(self, identity: Identity, references: Sequence[str]) -> Mapping[str, JournalRow]:
        """What is known of these references; those that were never sent are not among them."""
        ...

    def sending(
        self, identity: Identity, reference: str, since: datetime, *, doubtful: bool = False
    ) -> Awaitable[JournalRow | None]:
        """Claim a reference, durably; else the row that forbids it.

        That one is final, or being sent by another batch, or in doubt and not to be looked up (``doubtful``).
        """
        ...

    def record(self, identity: Identity, result: ReprocessResult) -> Awaitable[JournalRow | None]:
        """Make an outcome durable, and end the claim; else the row that stands, which is ``ACCEPTED``."""
        ...

    def release(self, identity: Identity, reference: str) -> None:
        """Give a claim up without an outcome; the row stays "sending"."""
