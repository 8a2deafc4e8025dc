"""``Journal``: what was sent survives a crash. It keeps no credentials, and it sends nothing.

A row is "sending" before its request leaves, and its outcome before the caller sees it. So after a crash,
what is neither final nor "sending" was never sent, and what is "sending" is looked up first.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from ._journal_rows import (
    CLAIM,
    CLAIM_DOUBTFUL,
    KIND,
    RECORD,
    JournalRow,
    count,
    find,
    read_row,
    settle,
    standing,
)
from ._rooms import Later
from ._storage.file import Opened
from ._storage.reader import Reader
from ._storage.values import DamagedError, instant, now, printable, storable
from ._storage.writer import Storage
from .models import Credentials, Identity
from .results import ReprocessResult

if TYPE_CHECKING:
    import sqlite3

    from .webhooks import events
else:
    events = Later("tusfacturas_async.webhooks.events")

__all__ = ["Journal", "JournalReader", "JournalRow"]

logger: logging.Logger = logging.getLogger(__name__)

_PAGE: Final = 500


class _Rows(Opened):
    """What a journal's owner and its readers can ask."""

    async def summary(self) -> Mapping[str, int]:
        """How many rows there are of each outcome; ``"sending"`` for those without one.

        Raises:
            JournalError: A row is damaged; the message names it.
        """
        return await self._storage.run(count)

    async def __aiter__(self) -> AsyncIterator[JournalRow]:
        last = ("", "")
        query = """SELECT * FROM journal WHERE (fingerprint, external_reference) > (?, ?)
            ORDER BY fingerprint, external_reference LIMIT ?"""

        def read(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return connection.execute(query, (*last, _PAGE)).fetchall()

        while page := await self._storage.run(read):
            for values in page:  # read one by one: those before a damaged one are told
                try:
                    row = read_row(*values)
                except DamagedError as error:
                    raise self._storage.explain(error) from error
                yield row
                last = (row.fingerprint, row.external_reference)


class JournalReader(_Rows):
    """Reads a journal, whether its owner runs or not: ``async with Journal.read(path) as rows``.

    It takes no lock, and creates and writes nothing. ``summary()`` and ``async for`` show what is durable at
    that moment.

    Raises (on entering):
        JournalError: There is no such file, it is not a journal, or it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._storage = Reader(path, KIND)


class Journal(_Rows):
    """A file that remembers every re-send: ``async with Journal.open(path) as journal``.

    Pass it to ``reprocess_many``. One holds it at a time, whatever names lead to it; one event loop uses it.

    Attributes:
        gate: Asked after the pace, just before the first byte of a billed request: ``None`` lets it leave, a
            text says why not. A file needs none (``gate`` itself is ``None``): its owner cannot lose it.

    Raises:
        TypeError: The path is none.
        JournalError: (On entering.) The file cannot be opened or written, is not a journal, is corrupt, or
            in use.
    """

    gate: Callable[[], str | None] | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._storage = Storage(path, KIND)
        self._introduced: set[Identity] = set()
        self._claims: dict[tuple[str, str], object] = {}
        self._warned = False

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """A journal in the file at ``path``, which is created if need be; ``async with`` opens it."""
        return cls(path)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> JournalReader:
        """The journal at ``path`` for reading alone, also while it is owned; see ``JournalReader``."""
        return JournalReader(path)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._introduced.clear()
        self._claims.clear()
        self._warned = False
        return self

    # -- for the batch ----------------------------------------------------------------------------

    async def rows(self, identity: Identity, references: Sequence[str]) -> dict[str, JournalRow]:
        """What is known of these references (500 at most) under these credentials.

        Where the exact credentials settle nothing, and other tokens of the same ``apikey`` once sent the
        reference, its row comes out as doubtful: it may be the same point of sale, or another.

        Raises:
            InvalidReferenceError: A reference cannot be stored.
            JournalError: The file cannot be used, or a row is damaged.
        """
        wanted = [storable(reference) for reference in references]
        await self._introduce(identity)
        found = await self._storage.run(partial(find, identity=identity, references=wanted))
        own = {row.external_reference: row for row in found if row.fingerprint == identity.fingerprint}
        for row in found:
            known = own.get(row.external_reference)
            if row.decided and not (known and known.decided):
                self._warn_of_other_tokens()
                own[row.external_reference] = row.under_other_tokens()
        return own

    def sending(
        self, identity: Identity, reference: str, since: datetime, *, doubtful: bool = False
    ) -> Awaitable[JournalRow | None]:
        """Claim a reference, and make durable that a request for it is about to leave.

        Args:
            identity: Whose.
            reference: Which.
            since: The earliest ``creado`` of an ``encolado`` that can prove this sending, on the service's
                clock (aware).
            doubtful: Whether the caller will look it up before anything is sent. Else a row that became
                doubtful meanwhile is not claimed, either.

        Returns:
            ``None``: claimed, until ``record`` or ``release``. Else the row that forbids it: it is final, it
            is being sent by another batch, or nobody knows whether it was sent.

        Raises:
            InvalidReferenceError: The reference cannot be stored.
            ValueError: ``since`` has no time zone.
            JournalError: It could not be written: do not send.
        """
        if identity not in self._introduced:
            return self._introducing(
                identity, partial(self.sending, identity, reference, since, doubtful=doubtful)
            )
        key = (identity.fingerprint, storable(reference))
        if key in self._claims:
            return self._storage.run(lambda connection: standing(connection, key), reference)
        values = (*key, instant("since", since), now())
        row = (CLAIM_DOUBTFUL if doubtful else CLAIM, values)
        told = self._storage.run(row, reference, partial(self._unclaim, key, values))
        self._claims[key] = values
        return told

    def record(self, identity: Identity, result: ReprocessResult) -> Awaitable[JournalRow | None]:
        """Make an outcome durable, and end the claim. What is ``ACCEPTED`` is never lowered.

        Returns:
            ``None``: it is on record as told. Else the row that stands instead; ``billed_calls`` are added.

        Raises:
            JournalError: It could not be written; the row stays as it was.
        """
        if identity not in self._introduced:
            return self._introducing(identity, partial(self.record, identity, result))
        reference = storable(result.external_reference)
        error = None if result.error is None else printable(str(result.error))
        values = (
            *(identity.fingerprint, reference, result.outcome, result.settled_by),
            *(result.billed_calls, error, now()),
        )
        told = self._storage.run((RECORD, values), reference)
        self.release(identity, reference)  # what is put behind it finds it written
        return told

    def release(self, identity: Identity, reference: str) -> None:
        """Give a claim up without an outcome; the row stays "sending"."""
        self._claims.pop((identity.fingerprint, reference), None)

    def _unclaim(self, key: tuple[str, str], claim: object) -> None:
        if self._claims.get(key) is claim:
            del self._claims[key]

    async def _introduce(self, identity: Identity) -> None:
        """Note once which ``apikey`` these credentials belong to."""
        if identity not in self._introduced:
            statement = """INSERT INTO credentials VALUES (?, ?)
                ON CONFLICT DO UPDATE SET apikey=excluded.apikey"""
            await self._storage.run(lambda connection: connection.execute(statement, identity).rowcount)
            self._introduced.add(identity)

    async def _introducing(
        self, identity: Identity, write: Callable[[], Awaitable[JournalRow | None]]
    ) -> JournalRow | None:
        await self._introduce(identity)
        return await write()

    def _warn_of_other_tokens(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s has references that were sent with other tokens of the same apikey (were they renewed?): "
                "they are looked up before anything is sent again, and no webhook settles them",
                self._storage,
            )

    # -- for the user -----------------------------------------------------------------------------

    async def settle(self, event: events.EncoladoWebhook, credentials: Credentials | None = None) -> bool:
        """Let an ``encolado`` webhook settle a row that is "sending" or ``UNKNOWN``: it was accepted.

        Another kind of event settles nothing (an ``emitido`` does: it follows); nor does one without a
        ``creado``, or from before the sending, or whose reference is open under two sets of credentials,
        unless told which. A row of the same ``apikey`` under other tokens is not settled: that the point of
        sale is the same is likely, not certain.

        Args:
            event: The webhook, verified.
            credentials: Whose webhook it is, where several points of sale share the journal.

        Returns:
            Whether a row was settled.

        Raises:
            ValueError: The event was made by hand, its ``created_at`` without a time zone or its reference
                not fit to be stored.
            JournalError: The file cannot be used, or a row is damaged.
        """
        confirms = isinstance(event, events.EncoladoWebhook | events.EmitidoWebhook)
        if not confirms or event.created_at is None:
            return False
        reference = storable(event.external_reference)
        instant("created_at", event.created_at)
        identity = None if credentials is None else credentials.identity
        settled, others = await self._storage.run(
            partial(settle, reference=reference, created_at=event.created_at, identity=identity), reference
        )
        if others:
            self._warn_of_other_tokens()
        return settled
