"""``Journal``: what was sent survives a crash. It keeps no credentials, and it sends nothing.

A row is "sending" before its request leaves, and its outcome before the caller sees it. So after a crash,
what is neither final nor "sending" was never sent, and what is "sending" is looked up first.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from attrs import frozen

from ._data import Data
from ._rooms import Later
from ._storage import Row, Storage
from .models import Credentials
from .results import Outcome, ReprocessResult

if TYPE_CHECKING:
    import sqlite3

    from .webhooks import events
else:
    events = Later("tusfacturas_async.webhooks.events")

_APPLICATION_ID: Final = 0x74666A31  # "tfj1"

_SCHEMA: Final = (
    """CREATE TABLE journal (
        fingerprint TEXT NOT NULL,
        external_reference TEXT NOT NULL,
        outcome TEXT,          -- NULL while "sending"
        settled_by TEXT,
        billed_calls INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (fingerprint, external_reference)
    ) WITHOUT ROWID""",
)

_SENDING: Final = """INSERT INTO journal (fingerprint, external_reference, updated_at) VALUES {rows}
    ON CONFLICT DO UPDATE SET outcome=NULL, settled_by=NULL, error=NULL, updated_at=excluded.updated_at"""

_RECORD: Final = """INSERT INTO journal VALUES {rows}
    ON CONFLICT DO UPDATE SET
        outcome=excluded.outcome, settled_by=excluded.settled_by, error=excluded.error,
        billed_calls=billed_calls + excluded.billed_calls, updated_at=excluded.updated_at"""

FINAL: Final = frozenset({Outcome.ACCEPTED, Outcome.NOT_FOUND, Outcome.REJECTED, Outcome.SKIPPED})
"""What a journal lets nobody send again."""

_CLOCKS: Final = timedelta(minutes=2)
"""How far the service's clock and ours may differ when an event is matched to a sending."""

_PAGE: Final = 500


@frozen
class JournalRow(Data):
    """What the journal knows of one reference.

    Attributes:
        fingerprint: The credentials' fingerprint.
        external_reference: The reference.
        outcome: What became of it; ``None`` while it is "sending".
        settled_by: Who told the outcome.
        billed_calls: Requests that may have been billed, over all runs.
        error: Why it was not accepted, in words.
        updated_at: When the row was written (aware, UTC).
    """

    fingerprint: str
    external_reference: str
    outcome: Outcome | None
    settled_by: str | None
    billed_calls: int
    error: str | None
    updated_at: datetime

    @property
    def final(self) -> bool:
        """Whether it is not to be sent again."""
        return self.outcome in FINAL

    @property
    def doubtful(self) -> bool:
        """Whether a request may have arrived whose end nobody knows: look it up before sending."""
        return self.outcome is None or self.outcome is Outcome.UNKNOWN


class Journal:
    """A file that remembers every re-send: ``async with Journal.open(path) as journal``.

    Pass it to ``reprocess_many``. One process holds it at a time; one event loop uses it.

    Raises (on entering):
        JournalError: The file cannot be opened or written, is not a journal, is corrupt, or in use.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._storage = Storage(path, kind="journal", application_id=_APPLICATION_ID, schema=_SCHEMA)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A journal in the file at ``path``, which is created if need be; ``async with`` opens it."""
        return cls(path)

    async def __aenter__(self) -> Self:
        await self._storage.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._storage.aclose()

    # -- for the batch ----------------------------------------------------------------------------

    async def rows(self, fingerprint: str, references: Sequence[str]) -> dict[str, JournalRow]:
        """What is known of these references (500 at most) under these credentials."""
        marks = ",".join("?" * len(references))
        query = f"SELECT * FROM journal WHERE fingerprint=? AND external_reference IN ({marks})"  # noqa: S608

        def read(connection: sqlite3.Connection) -> list[JournalRow]:
            return [_row(*found) for found in connection.execute(query, (fingerprint, *references))]

        return {row.external_reference: row for row in await self._storage.run(read)}

    def sending(self, fingerprint: str, reference: str) -> Awaitable[None]:
        """Make it durable that a request for this reference is about to leave.

        Raises:
            JournalError: It could not be written: do not send.
        """
        return self._storage.run(Row(_SENDING, (fingerprint, reference, _now())))

    def record(self, fingerprint: str, result: ReprocessResult) -> Awaitable[None]:
        """Make an outcome durable.

        Raises:
            JournalError: It could not be written; the row stays as it was.
        """
        error = None if result.error is None else str(result.error)
        values = (
            *(fingerprint, result.external_reference, result.outcome, result.settled_by),
            *(result.billed_calls, error, _now()),
        )
        return self._storage.run(Row(_RECORD, values))

    # -- for the user -----------------------------------------------------------------------------

    async def settle(self, event: events.EncoladoWebhook, credentials: Credentials | None = None) -> bool:
        """Let an ``encolado`` webhook settle a row that is "sending" or ``UNKNOWN``: it was accepted.

        An event from before the sending settles nothing; nor does one whose reference is open under two
        sets of credentials, unless told which.

        Args:
            event: The webhook, verified.
            credentials: Whose webhook it is, where several points of sale share the journal.

        Returns:
            Whether a row was settled.
        """
        fingerprint = None if credentials is None else credentials.fingerprint
        latest = None if event.created_at is None else event.created_at + _CLOCKS

        def update(connection: sqlite3.Connection) -> bool:
            query = """SELECT * FROM journal WHERE external_reference=?1
                AND (outcome IS NULL OR outcome='unknown') AND (?2 IS NULL OR fingerprint=?2)"""
            found = connection.execute(query, (event.external_reference, fingerprint))
            rows = [_row(*values) for values in found]
            if len(rows) != 1 or (latest is not None and rows[0].updated_at > latest):
                return False
            connection.execute(
                """UPDATE journal SET outcome='accepted', settled_by='webhook', error=NULL, updated_at=?
                WHERE fingerprint=? AND external_reference=?""",
                (_now(), rows[0].fingerprint, event.external_reference),
            )
            return True

        return await self._storage.run(update)

    async def summary(self) -> Mapping[str, int]:
        """How many rows there are of each outcome; ``"sending"`` for those without one."""
        query = "SELECT coalesce(outcome, 'sending'), count(*) FROM journal GROUP BY 1 ORDER BY 1"
        return dict(await self._storage.run(lambda connection: connection.execute(query).fetchall()))

    async def __aiter__(self) -> AsyncIterator[JournalRow]:
        last = ("", "")
        query = """SELECT * FROM journal WHERE (fingerprint, external_reference) > (?, ?)
            ORDER BY fingerprint, external_reference LIMIT ?"""

        def read(connection: sqlite3.Connection) -> list[JournalRow]:
            return [_row(*values) for values in connection.execute(query, (*last, _PAGE))]

        while page := await self._storage.run(read):
            for row in page:
                yield row
            last = (page[-1].fingerprint, page[-1].external_reference)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _row(  # noqa: PLR0917 - the columns, in their order
    fingerprint: str,
    external_reference: str,
    outcome: str | None,
    settled_by: str | None,
    billed_calls: int,
    error: str | None,
    updated_at: str,
) -> JournalRow:
    return JournalRow(
        fingerprint=fingerprint,
        external_reference=external_reference,
        outcome=None if outcome is None else Outcome(outcome),
        settled_by=settled_by,
        billed_calls=billed_calls,
        error=error,
        updated_at=datetime.fromisoformat(updated_at),
    )
