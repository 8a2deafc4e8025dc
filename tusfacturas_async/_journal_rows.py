"""A journal's rows: how they stand in the file, and what is asked of them there. No threads, no promises.

What is here runs in the storage's thread; ``journal`` has what users and batches call.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from ._data import Data
from ._storage.file import Kind
from ._storage.values import DamagedError, moment, now
from ._storage.writer import Statement
from .results import Outcome

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from .models import Identity

KIND: Final = Kind(
    name="journal",
    application_id=0x74666A31,  # "tfj1"
    schema=(
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
        "ALTER TABLE journal ADD COLUMN since TEXT",
        # Which sets of credentials have one apikey; NULL until a set of an older file is used again.
        "CREATE TABLE credentials (fingerprint TEXT PRIMARY KEY, apikey TEXT) WITHOUT ROWID",
        "INSERT INTO credentials (fingerprint) SELECT DISTINCT fingerprint FROM journal",
    ),
)

_CLAIM: Final = """INSERT INTO journal (fingerprint, external_reference, since, updated_at) VALUES {rows}
    ON CONFLICT DO UPDATE SET
        outcome=NULL, settled_by=NULL, error=NULL, since=excluded.since, updated_at=excluded.updated_at
    WHERE outcome IN ('not_sent', 'held')"""

_RECORD: Final = """INSERT INTO journal
    (fingerprint, external_reference, outcome, settled_by, billed_calls, error, updated_at) VALUES {rows}
    ON CONFLICT DO UPDATE SET
        outcome=excluded.outcome, settled_by=excluded.settled_by, error=excluded.error,
        billed_calls=billed_calls + excluded.billed_calls, updated_at=excluded.updated_at
    WHERE outcome IS NOT 'accepted' OR excluded.outcome='accepted'"""

FINAL: Final = frozenset({Outcome.ACCEPTED, Outcome.NOT_FOUND, Outcome.REJECTED, Outcome.SKIPPED})
"""What a journal lets nobody send again."""


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
        since: The earliest ``creado`` of an ``encolado`` that can prove the last sending (aware, UTC, the
            service's clock); ``None`` where nothing was sent, or in a file of an older version.
    """

    fingerprint: str
    external_reference: str
    outcome: Outcome | None
    settled_by: str | None
    billed_calls: int
    error: str | None
    updated_at: datetime
    since: datetime | None = None

    @property
    def final(self) -> bool:
        """Whether it is not to be sent again."""
        return self.outcome in FINAL

    @property
    def doubtful(self) -> bool:
        """Whether a request may have arrived whose end nobody knows: look it up before sending."""
        return self.outcome is None or self.outcome is Outcome.UNKNOWN

    @property
    def decided(self) -> bool:
        """Whether it says something of what was sent: it is final, or doubtful."""
        return self.final or self.doubtful

    def under_other_tokens(self) -> JournalRow:
        """What it says to other tokens of the same ``apikey``: that there is a doubt."""
        said = "sending" if self.outcome is None else self.outcome
        why = f"on record as {said!s} under other tokens of this apikey"
        return evolve(self, outcome=Outcome.UNKNOWN, settled_by=None, error=why)


def read_row(*values: Any) -> JournalRow:
    """The row that these columns are.

    Raises:
        DamagedError: They are none.
    """
    fingerprint, external_reference, outcome, settled_by, billed_calls, error, updated_at, *added = values
    since = added[0] if added else None  # files of the first version have no such column
    try:
        external_reference.encode()
        return JournalRow(
            fingerprint=fingerprint,
            external_reference=external_reference,
            outcome=None if outcome is None else Outcome(outcome),
            settled_by=settled_by,
            billed_calls=int(billed_calls),
            error=error,
            updated_at=moment(updated_at),
            since=None if since is None else moment(since),
        )
    except (AttributeError, TypeError, ValueError) as damage:
        raise DamagedError(
            f"the row of {external_reference!r} ({fingerprint}) is damaged: {damage}"
        ) from damage


def count(connection: sqlite3.Connection) -> Mapping[str, int]:
    """How many rows there are of each outcome.

    Raises:
        DamagedError: There is one that is no outcome.
    """
    query = "SELECT coalesce(outcome, 'sending'), count(*) FROM journal GROUP BY 1 ORDER BY 1"
    counts = dict(connection.execute(query).fetchall())
    if not counts.keys() <= {*Outcome, "sending"}:
        known = ",".join(f"'{outcome}'" for outcome in Outcome)
        query = f"SELECT * FROM journal WHERE outcome NOT IN ({known}) LIMIT 1"  # noqa: S608 - of our own words
        read_row(*connection.execute(query).fetchall()[0])
    return counts


def find(connection: sqlite3.Connection, identity: Identity, references: Sequence[str]) -> list[JournalRow]:
    """The rows of these references, under these credentials and under others of the same ``apikey``."""
    query = "SELECT fingerprint FROM credentials WHERE apikey=?"
    sets = [fingerprint for (fingerprint,) in connection.execute(query, (identity.apikey,))]
    marks = [",".join("?" * len(each)) for each in (sets, references)]
    query = f"SELECT * FROM journal WHERE fingerprint IN ({marks[0]}) AND external_reference IN ({marks[1]})"  # noqa: S608
    return [read_row(*found) for found in connection.execute(query, (*sets, *references)).fetchall()]


def standing(connection: sqlite3.Connection, values: Sequence[Any]) -> JournalRow:
    """The row that stands where these ``values`` (it begins with their key) did not come to stand."""
    query = "SELECT * FROM journal WHERE fingerprint=? AND external_reference=?"
    found = connection.execute(query, values[:2]).fetchall()
    # None yet: another's claim that could not be written, of which its caller is being told.
    return read_row(*(found[0] if found else (*values[:2], None, None, 0, None, now())))


def keep(connection: sqlite3.Connection, values: Sequence[Any]) -> JournalRow:
    """The row that ``RECORD`` would have lowered; it keeps its outcome, and learns what was billed."""
    fingerprint, reference, _, _, billed_calls, *_ = values
    connection.execute(
        """UPDATE journal SET billed_calls = billed_calls + :billed
        WHERE fingerprint=:fingerprint AND external_reference=:reference""",
        {"billed": billed_calls, "fingerprint": fingerprint, "reference": reference},
    )
    return standing(connection, values)


def settle(
    connection: sqlite3.Connection, reference: str, created_at: datetime, identity: Identity | None
) -> tuple[bool, bool]:
    """Let an ``encolado`` of that time settle the one row that it can be about.

    Returns:
        Whether it settled one; whether it did not because the row has other tokens of the same ``apikey``.
    """
    # In this order: by the sets of credentials, which are few, not through all rows.
    query = """SELECT journal.*, apikey FROM credentials CROSS JOIN journal USING (fingerprint)
        WHERE external_reference=:reference AND (outcome IS NULL OR outcome='unknown')"""
    found = connection.execute(query, {"reference": reference}).fetchall()
    rows = [read_row(*values) for *values, _ in found]
    others = False
    if identity is not None:
        rows = [row for row in rows if row.fingerprint == identity.fingerprint]
        others = not rows and any(apikey == identity.apikey for *_, apikey in found)
    if len(rows) != 1 or created_at < (rows[0].since or rows[0].updated_at):
        return False, others
    connection.execute(
        """UPDATE journal SET outcome='accepted', settled_by='webhook', error=NULL, updated_at=:now
        WHERE fingerprint=:fingerprint AND external_reference=:reference""",
        {"now": now(), "fingerprint": rows[0].fingerprint, "reference": reference},
    )
    return True, False


CLAIM: Final = Statement(_CLAIM, standing)
"""Claims a row of which nothing was sent, or gives the one that stands."""

CLAIM_DOUBTFUL: Final = Statement(f"{_CLAIM} OR outcome IS NULL OR outcome='unknown'", standing)
"""Claims also a row of which nobody knows whether it was sent."""

RECORD: Final = Statement(_RECORD, keep)
"""Writes an outcome, or gives the row that it would have lowered."""
