"""``PostgresJournal``: one point of sale's journal in PostgreSQL, below a lease; the table of work itself.

It has what a batch asks of a journal. How rows get there before they are sent is ``submit``'s, how groups of
writes share a round-trip ``writer``'s, and who may write ``lease``'s.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._checks import check_seconds
from .._storage.values import instant, printable, storable
from ..errors import JournalError, JournalInUseError
from ..journal import JournalRow
from ..results import Outcome
from ..webhooks.events import EmitidoWebhook, EncoladoWebhook
from .lease import Leases, boot_time
from .store import Store, counts, fetch, point_name
from .writer import WORK, Claim, Record, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence

    from ..models import Credentials, Identity
    from ..results import ReprocessResult
    from ..webhooks.events import WebhookEvent
    from .lease import Lease
    from .store import Connection

_PAGE: Final = 500

_LONGEST_ERROR: Final = 500
"""Characters of an error's text that are kept: a row must fit its page twice."""


@frozen
class WorkRow(JournalRow):
    """What the table of work knows of one reference.

    Attributes:
        lane: As JSON, or ``None`` where no order was asked for.
        waiting: It was never sent.
    """

    lane: str | None = None
    waiting: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether a request may have arrived whose end nobody knows."""
        return not self.waiting and super().doubtful


class PostgresJournal:
    """What was sent for one point of sale, remembered in PostgreSQL.

    ``async with PostgresJournal.open(conninfo, "pdv-12") as journal``, and pass it to ``reprocess_many``. The
    point of sale's name keeps the rows together: after a token was changed they are the same. The schema has
    to be there (``tusfacturas fleet migrate``).

    Attributes:
        name: The point of sale's.
        gate: Asked just before the first byte of each request: why it may not leave, or ``None``.
    """

    def __init__(
        self,
        store: Store,
        leases: Leases,
        writer: Writer,
        lease: Lease,
        *,
        timeout: float,
        adopt: bool,
        newest: int | None = None,
    ) -> None:
        self._store = store
        self._leases = leases
        self._writer = writer
        self._lease = lease
        self._timeout = timeout
        self._adopt = adopt
        self._newest = newest
        self._fingerprint: str | None = None
        self._sent: dict[
            str, tuple[int, int]
        ] = {}  # what is being sent: calls billed before, number of the claim
        self._doubts: dict[str, float] = {}  # of what may be worked on: when it can be believed errored
        self.name: str = lease.name
        self.gate: Callable[[], str | None] = lease.refusal

    @classmethod
    @asynccontextmanager
    async def open(
        cls, conninfo: str, name: str, *, lease: float = 15.0, interval: float = 0.1, timeout: float = 30.0
    ) -> AsyncGenerator[PostgresJournal, None]:
        """The journal of a point of sale, held by this process alone while the block lasts.

        Args:
            conninfo: As libpq takes it.
            name: The point of sale's, which is yours to choose; its credentials may change.
            lease: Seconds after which another process may take it over when this one is gone.
            interval: Seconds between two starts: what an earlier holder started last is as far away.
            timeout: Seconds that a request may be worked on (the client's): what is in doubt is not looked up
                before.

        Raises:
            JournalInUseError: It is in use.
            JournalError: It cannot be reached, or its schema is another version's.
        """
        store = Store(conninfo, patience=lease)
        point_name(name)
        check_seconds("lease", lease)
        check_seconds("interval", interval, zero=True)
        check_seconds("timeout", timeout)
        await store.open()
        leases, writer = Leases(store, lease), Writer(store)
        try:
            held = await leases.take(name)
            if held is None:
                raise JournalInUseError(
                    f"the journal of {name!r} is in use by another process, or was a moment ago"
                )
            await asyncio.sleep(max(interval, held.cooling))
            yield cls(store, leases, writer, held, timeout=timeout, adopt=True)
        finally:
            await writer.aclose()
            await leases.aclose()
            await store.aclose()

    # -- for the batch ----------------------------------------------------------------------------

    async def rows(self, identity: Identity, references: Sequence[str]) -> dict[str, JournalRow]:
        """What is known of these references.

        Raises:
            JournalError: PostgreSQL stays away, or these credentials are of another point of sale.
        """
        await self._bind(identity)
        known: dict[str, JournalRow] = {}
        for *values, age in await self._store.fetch(
            "rows", point=self._lease.point, references=list(references)
        ):
            row = self._row(values)
            known[row.external_reference] = row
            if row.doubtful and row.external_reference not in self._sent:
                ended = boot_time() - age if row.outcome is Outcome.UNKNOWN else self._lease.quiet_from
                self._doubts[row.external_reference] = ended + self._timeout
        return known

    async def sending(
        self, identity: Identity, reference: str, since: datetime, *, doubtful: bool = False
    ) -> JournalRow | None:
        """Make it durable that a request for this reference is about to leave.

        What is in doubt is claimed for who will look it up (``doubtful``), and not before the request that
        put it there has had its time.

        Returns:
            ``None``, or the row that forbids it: it is final, being sent, or in doubt.

        Raises:
            InvalidReferenceError: The reference cannot be stored.
            ValueError: ``since`` has no time zone.
            JournalError: It could not be written, or the lease is not held: do not send.
        """
        storable(reference)
        instant("since", since)
        await self._bind(identity)
        if reference in self._sent:
            return self._row((0, reference, None, self._lease.epoch, None, None, 0, None, datetime.now(UTC)))
        self._sent[reference] = (0, 0)
        try:
            await asyncio.sleep(max(self._doubts.pop(reference, 0.0) - boot_time(), 0.0))
            lease = self._lease
            claimed = await self._writer.claim(
                Claim(lease.point, lease.epoch, reference, since, doubtful, self._adopt, self._newest)
            )
        except BaseException:
            self.release(identity, reference)
            raise
        if claimed is not None:
            self._sent[reference] = (claimed[2], claimed[3])
            return None
        del self._sent[reference]
        return await self._forbidding(identity, reference)

    async def record(self, identity: Identity, result: ReprocessResult) -> JournalRow | None:
        """Make an outcome durable.

        Returns:
            ``None``, or the row that stands instead: a webhook settled it as accepted.

        Raises:
            JournalError: It could not be written, or the row is another holder's now.
        """
        reference = result.external_reference
        billed_before, claim = self._sent.get(reference, (0, 0))
        error = None if result.error is None else in_words(result.error)
        try:
            written = await self._writer.record(
                Record(
                    *(
                        self._lease.point,
                        self._lease.epoch,
                        reference,
                        result.outcome.value,
                        result.settled_by,
                    ),
                    *(error, billed_before + result.billed_calls, claim, self._adopt),
                )
            )
        finally:
            self.release(identity, reference)
        row = None if written is None else self._row(written)
        if row is None:
            raise JournalError(f"{reference} was taken over by another holder of {self.name!r}")
        return None if row.outcome is result.outcome else row

    def release(self, identity: Identity, reference: str) -> None:  # noqa: ARG002 - a journal's interface
        """Give a claim up without an outcome: the row stays "sending", and in doubt."""
        if self._sent.pop(reference, None) is not None:
            self._lease.quiet_from = boot_time()

    async def _forbidding(self, identity: Identity, reference: str) -> JournalRow:
        if (why := self._lease.refusal()) is not None:
            raise JournalError(why)
        row = (await self.rows(identity, [reference])).get(reference)
        held = await self._store.fetch("held", point=self._lease.point, epoch=self._lease.epoch)
        if not held and (row is None or not row.final):
            raise JournalError(f"the lease on {self.name!r} is not held any more")
        if row is None:  # it was cancelled
            values = (0, reference, None, 0, Outcome.HELD, None, 0, "it was cancelled", datetime.now(UTC))
            return self._row(values)
        return row

    async def _bind(self, identity: Identity) -> None:
        if self._fingerprint is None:
            await self._leases.bind(self._lease, identity.fingerprint)
            self._fingerprint = identity.fingerprint
        elif self._fingerprint != identity.fingerprint:
            raise JournalError(
                f"the journal of {self.name!r} is used with two sets of credentials: open one for each"
            )

    # -- for the user -----------------------------------------------------------------------------

    async def settle(self, event: EncoladoWebhook, credentials: Credentials | None = None) -> bool:  # noqa: ARG002
        """Let an ``encolado`` webhook settle a row in doubt: it was accepted. See ``settle``."""
        return await self._store.run(lambda connection: settle(connection, event, self.name))

    async def summary(self) -> Mapping[str, int]:
        """How many rows there are of each outcome; ``"sending"`` and ``"waiting"`` for those without one."""
        return counts(await self._store.fetch("summary", point=self._lease.point))

    async def __aiter__(self) -> AsyncIterator[JournalRow]:
        async for row in pages(self._store, self._lease.point):
            if not row.waiting:
                yield row

    def _row(self, values: Sequence[Any]) -> WorkRow:
        return _row(self._fingerprint or "", values)


def in_words(error: Exception) -> str:
    """An error of ours, as it can be stored."""
    return printable(str(error))[:_LONGEST_ERROR].replace("\0", "")


async def settle(connection: Connection, event: WebhookEvent, name: str | None) -> bool:
    """Let a confirmation settle the row in doubt of its reference, wherever it is being sent.

    Another kind of event settles nothing, nor does one from before the sending, or whose reference two points
    of sale have, unless told which.

    Returns:
        Whether a row was settled.
    """
    if not isinstance(event, EncoladoWebhook | EmitidoWebhook):
        return False
    if event.created_at is None or "\0" in event.external_reference:  # no text of PostgreSQL's has a NUL
        return False
    instant("created_at", event.created_at)
    storable(event.external_reference)
    values = {"reference": event.external_reference, "created_at": event.created_at}
    values["name"] = None if name is None else point_name(name)
    settled = await fetch(connection, "settle", values)
    if settled:
        await fetch(connection, "notify", {"channel": WORK, "payload": ""})
    return bool(settled)


async def pages(store: Store, point: int) -> AsyncGenerator[WorkRow, None]:
    """All rows of a point of sale, in the order in which they came, a page in memory at a time."""
    after = 0
    while page := await store.fetch("page", point=point, after=after, limit=_PAGE):
        for _, fingerprint, *values in page:
            yield _row(fingerprint or "", values)
        after = page[-1][0]


def _row(fingerprint: str, values: Sequence[Any]) -> WorkRow:
    """A row as the statements return it."""
    _, reference, lane, epoch, outcome, settled_by, billed_calls, error, updated_at = values
    return WorkRow(
        fingerprint=fingerprint,
        external_reference=reference,
        outcome=None if outcome is None else Outcome(outcome),
        settled_by=settled_by,
        billed_calls=billed_calls,
        error=error,
        updated_at=updated_at,
        lane=lane,
        waiting=outcome is None and not epoch,
    )
