"""``Writer``: group commit. What many callers write while a round-trip runs goes with the next one, together.

All points of sale of one process share it. A group is a few statements in one message, which PostgreSQL takes
for one transaction; all can be repeated when an answer is lost. Not in a pipeline: it goes out in pieces, and
who was paused between two of them would hold its rows' locks, and whoever takes over would wait for it.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from psycopg import AsyncClientCursor

from .._call.waiting import at_most
from ..errors import JournalError
from .store import QUERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .store import Connection, Store

A = TypeVar("A", "Claim", "Record")

_GATHER: Final = 0.01
"""Seconds that a group waits for company, unless it is large already: a round-trip costs more than a wait
that the spacing hides."""

WORK: Final = "tusfacturas_work"
"""The channel of those who watch the work."""

_TELL: Final = 1.0
"""Seconds between two words to those who watch the work: each is a lock that all commits share."""

_LARGE: Final = 32
_MOST: Final = 1_000


class Claim(NamedTuple):
    """A reference that is about to be sent.

    ``doubtful``: the caller looks up what may have been sent before; ``adopt``: the row is made if need be;
    ``newest``: up to which position rows are meant, ``None`` for all.
    """

    point: int
    epoch: int
    reference: str
    since: datetime
    doubtful: bool
    adopt: bool
    newest: int | None = None


class Record(NamedTuple):
    """An outcome. ``billed_calls``: in all; ``claim``: the how manyth of its row it is of, 0 for none."""

    point: int
    epoch: int
    reference: str
    outcome: str
    settled_by: str | None
    error: str | None
    billed_calls: int
    claim: int
    adopt: bool


Row = tuple[Any, ...]
"""As the statement returns it."""


class _Waiting(Generic[A]):
    """What waits for the next group, with the futures that are told its row, or ``None`` for none."""

    def __init__(self) -> None:
        self.asked: list[tuple[A, asyncio.Future[Row | None]]] = []

    def add(self, asked: A) -> asyncio.Future[Row | None]:
        future: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self.asked.append((asked, future))
        return future

    def take(self) -> list[tuple[A, asyncio.Future[Row | None]]]:
        taken, self.asked = self.asked[:_MOST], self.asked[_MOST:]
        return taken


class Writer:
    """Writes claims and records of one event loop.

    Attributes:
        groups: How many groups were written, which is how many round-trips were made.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._claims: _Waiting[Claim] = _Waiting()
        self._records: _Waiting[Record] = _Waiting()
        self._some = asyncio.Event()
        self._many = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._told = float("-inf")
        self._closing = self._closed = False
        self.groups: int = 0

    def claim(self, claim: Claim) -> asyncio.Future[Row | None]:
        """Claim a row; the future tells point, reference, what was billed before and the claim's number.

        ``None``: refused.

        Raises:
            JournalError: It is closed; or, from the future: it could not be written, or nobody knows whether.
        """
        return self._add(self._claims, claim)

    def record(self, record: Record) -> asyncio.Future[Row | None]:
        """Record an outcome; the future tells the row as it stands, or ``None``: it is another epoch's.

        Raises:
            JournalError: As ``claim``.
        """
        return self._add(self._records, record)

    def _add(self, waiting: _Waiting[A], asked: A) -> asyncio.Future[Row | None]:
        if self._closed:
            raise JournalError("this fleet, or journal, is not open: leave it when what it runs has ended")
        future = waiting.add(asked)
        self._writing = self._writing or asyncio.create_task(self._write())
        self._some.set()
        if self._waiting >= _LARGE:
            self._many.set()
        return future

    async def aclose(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        if self._writing is not None:
            self._some.set()
            await asyncio.wait([self._writing])
        self._closed = True

    async def _write(self) -> None:
        while not self._closing or self._waiting:
            await self._some.wait()
            await at_most(0 if self._closing else _GATHER, self._many.wait())
            claims, records = self._claims.take(), self._records.take()
            try:
                claimed, recorded = await self._commit(_rows(claims), _rows(records))
            except Exception as error:  # noqa: BLE001 - it is passed on: who waits must not wait for ever
                for _, future in (*claims, *records):
                    if not future.done():
                        future.set_exception(JournalError(str(error) or type(error).__name__))
            else:
                _tell(claims, claimed)
                _tell(records, recorded)
            if self._waiting < _LARGE:
                self._many.clear()
            if not self._waiting and not self._closing:
                self._some.clear()

    @property
    def _waiting(self) -> int:
        return len(self._claims.asked) + len(self._records.asked)

    async def _commit(self, claims: list[Claim], records: list[Record]) -> tuple[list[Row], list[Row]]:
        if not claims and not records:
            return [], []
        tells = self._tells()
        self.groups += 1
        return await self._store.run(lambda connection: _group(connection, claims, records, tells=tells))

    def _tells(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._told < _TELL:
            return False
        self._told = now
        return True


def _rows(asked: Sequence[tuple[A, object]]) -> list[A]:
    return [row for row, _ in asked]


async def _group(
    connection: Connection, claims: list[Claim], records: list[Record], *, tells: bool
) -> tuple[list[Row], list[Row]]:
    both: list[Claim | Record] = [*claims, *records]
    adopted = [row for row in both if row.adopt]
    cursor = AsyncClientCursor(connection)
    statements = []
    if adopted:
        values = {
            "points": [row.point for row in adopted],
            "references": [row.reference for row in adopted],
        }
        statements.append(cursor.mogrify(QUERIES["adopt"], values))
    if tells:
        statements.append(cursor.mogrify(QUERIES["notify"], {"channel": WORK, "payload": ""}))
    if records:
        statements.append(cursor.mogrify(QUERIES["record"], _columns(records)))
    if claims:
        statements.append(cursor.mogrify(QUERIES["claim"], _columns(claims)))
    async with cursor:
        await cursor.execute(";\n".join(statements).encode(connection.info.encoding))
        found = [await cursor.fetchall() if cursor.description else []]
        while cursor.nextset():
            found.append(await cursor.fetchall() if cursor.description else [])
    claimed = found.pop() if claims else []
    recorded = found.pop() if records else []
    return claimed, recorded


_PLURALS: Final = {name: name for name in ("settled_by", "billed_calls", "doubtful", "newest")}


def _columns(rows: Sequence[Claim] | Sequence[Record]) -> dict[str, list[Any]]:
    """Rows turned into columns, under the names that the statements have for them."""
    names = rows[0]._fields
    return {
        _PLURALS.get(name, f"{name}s"): list(values)
        for name, values in zip(names, zip(*rows, strict=True), strict=True)
    }


def _tell(asked: Sequence[tuple[A, asyncio.Future[Row | None]]], rows: list[Row]) -> None:
    found = {(row[0], row[1]): row for row in rows}
    for wanted, future in asked:
        if not future.done():  # its caller was cancelled
            future.set_result(found.get((wanted.point, wanted.reference)))
