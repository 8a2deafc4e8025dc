"""The events as they stand in an inbox's file, and what is asked of them there. It stores none."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from .._storage.file import Kind, Opened
from .._storage.reader import Reader
from .._storage.values import DamagedError, storable
from ..errors import MalformedWebhookError
from .events import AnyWebhookEvent, read_event

if TYPE_CHECKING:
    import sqlite3


KIND: Final = Kind(
    name="inbox",
    application_id=0x74666931,  # "tfi1"
    schema=(
        """CREATE TABLE events (
            id INTEGER PRIMARY KEY,
            hook TEXT UNIQUE,              -- of earlier releases; not written any more
            meaning TEXT NOT NULL UNIQUE,  -- reference, event and creado
            external_reference TEXT,
            rank INTEGER NOT NULL,
            created_at TEXT,               -- UTC
            received_at TEXT NOT NULL,
            handled_at TEXT,
            payload TEXT NOT NULL
        )""",
        "CREATE INDEX by_reference ON events (external_reference)",
        "CREATE INDEX pending ON events (id) WHERE handled_at IS NULL",
    ),
)


class States(Opened):
    """What an inbox's owner and its readers can ask."""

    async def state(self, reference: str) -> AnyWebhookEvent | None:
        """The event that tells where a voucher stands, or ``None`` when none was received.

        That is the latest by ``creado``, not by arrival: a late ``encolado`` changes nothing. A re-send moves
        ``error`` back to ``encolado``, since its event is later; ``emitido`` stays.

        Raises:
            InvalidReferenceError: No file can hold the reference.
            JournalError: The file cannot be used, or the event is damaged; the message names it.
        """
        storable(reference)
        return await self._storage.run(lambda connection: _state(connection, reference), reference)

    async def states(self) -> AsyncIterator[AnyWebhookEvent]:
        """The ``state`` of every voucher, by reference.

        Raises:
            JournalError: The file cannot be used, or an event is damaged; the message names it.
        """
        query = """SELECT DISTINCT external_reference FROM events
            WHERE external_reference > ? AND rank > 0 ORDER BY external_reference LIMIT 500"""
        last = ""

        def read(connection: sqlite3.Connection) -> list[tuple[str, AnyWebhookEvent | None]]:
            page = [reference for (reference,) in connection.execute(query, (last,))]
            return [(reference, _state(connection, reference)) for reference in page]

        while page := await self._storage.run(read):
            for _, state in page:
                assert state is not None  # noqa: S101 - the query has found it
                yield state
            last, _ = page[-1]


class InboxReader(States):
    """Reads an inbox, whether its owner runs or not: ``async with Inbox.read(path) as kept``.

    It takes no lock, creates and writes nothing, and hands nothing to a handler. It shows what is durable at
    that moment.

    Raises (on entering):
        JournalError: There is no such file, it is not an inbox, or it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._storage = Reader(path, KIND)


def _state(connection: sqlite3.Connection, reference: str) -> AnyWebhookEvent | None:
    query = """SELECT id, payload FROM events WHERE external_reference=? AND rank > 0
        ORDER BY rank=5 DESC, created_at DESC, rank DESC, id DESC LIMIT 1"""
    found = connection.execute(query, (reference,)).fetchone()
    return None if found is None else read_stored(*found)


def read_stored(number: int, payload: Any) -> AnyWebhookEvent:
    """The event that this row's payload is.

    Raises:
        DamagedError: It is none.
    """
    try:
        return read_event(json.loads(payload))
    except (TypeError, ValueError, MalformedWebhookError) as damage:
        raise DamagedError(f"the event of row {number} is damaged: {damage}") from damage
