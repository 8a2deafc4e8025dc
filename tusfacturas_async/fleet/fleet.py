"""``Fleet``: what is asked for from anywhere: take vouchers in, tell of them, run a point of sale."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, Self

import psycopg
from attrs import field, frozen
from procrastinate.exceptions import ConnectorException

from .._checks import check_seconds
from .jobs import Jobs, apply_schema, own_app
from .journal import pages, settle
from .lease import Leases
from .run import Run, Runner
from .store import Store, counts, fetch, migrate, point_name, unusable
from .submit import submit
from .writer import WORK, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Hashable, Iterable
    from types import TracebackType

    from procrastinate import App

    from ..client import AsyncClient
    from ..models import Credentials
    from ..webhooks import EncoladoWebhook
    from .journal import WorkRow
    from .store import Connection

_AT_MOST: Final = 1.0
"""Seconds between two words to who watches."""


@frozen
class FleetProgress:
    """How far the work is.

    Attributes:
        counts: How many references there are of each outcome; ``"waiting"`` for those that were never sent,
            and ``"sending"`` for those whose outcome is not known yet.
        billed_calls: Requests that may have been billed.
        troubles: Why points of sale cannot be worked on, by name: credentials that cannot be resolved, that
            the service refuses, or that another name has. It is tried again, every 5 minutes in the end.
    """

    counts: Mapping[str, int]
    billed_calls: int
    troubles: Mapping[str, str] = field(factory=dict)

    @property
    def open(self) -> int:
        """References that are not final yet."""
        return sum(self.counts.get(name, 0) for name in ("waiting", "sending", "held", "not_sent", "unknown"))


class Fleet:
    """Many workers, one truth: ``async with Fleet(conninfo) as fleet``.

    It belongs to the event loop that enters it; one for each process is enough.

    Args:
        conninfo: As libpq takes it (``"postgresql://…"``); an empty text for libpq's environment variables.
        lease: Seconds after which another worker takes over what one that is gone held.
        app: Your own Procrastinate ``App``, opened by you; ``None`` for one whose tables are in our schema.

    Raises (on entering):
        JournalError: PostgreSQL cannot be reached, or its schema is older or newer than this package.
    """

    def __init__(self, conninfo: str, *, lease: float = 15.0, app: App | None = None) -> None:
        check_seconds("lease", lease)
        if lease < 1:
            raise ValueError("lease must be at least 1 second")
        self._conninfo = conninfo
        self._seconds = lease
        self._own = app is None
        self._app = own_app(conninfo) if app is None else app

    async def migrate(self) -> None:
        """Bring the schema, and Procrastinate's tables where they are ours, up to date; before entering.

        The role needs no superuser's rights: it owns the schema ``tusfacturas``, or may create it.

        Raises:
            JournalError: PostgreSQL cannot be reached or refused, or the schema is newer than this package.
        """
        await migrate(self._conninfo, also=apply_schema if self._own else None)

    async def __aenter__(self) -> Self:
        self._store = Store(self._conninfo, patience=self._seconds)
        await self._store.open()
        if self._own:
            try:
                await self._app.open_async()
            except BaseException as error:
                await self._store.aclose()
                if isinstance(error, ConnectorException | psycopg.Error):
                    raise unusable(error) from error
                raise
        self._writer = Writer(self._store)
        self._leases = Leases(self._store, self._seconds)
        self._runner = Runner(self._store, self._leases, self._writer)
        self.jobs: Jobs = Jobs(self._app, self._store)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._writer.aclose()
            await self._leases.aclose()
        finally:
            if self._own:
                await self._app.close_async()
            await self._store.aclose()

    # -- for a backend ----------------------------------------------------------------------------

    async def submit(
        self,
        name: str,
        references: Iterable[Any] | AsyncIterable[Any],
        *,
        lane: Callable[[Any], Hashable] | None = None,
    ) -> int:
        """Take vouchers in; workers begin while it still reads. What is there already stays as it is.

        Args:
            name: The point of sale's, which is yours to choose and to keep.
            references: ``str``, ``ReprocessRequest`` or ``Voucher``, from any iterable, asynchronous or not,
                read lazily; in the order of first sending where lanes ask for it.
            lane: From a reference, as it is given, to a key that JSON can carry; see ``reprocess_many``.

        Returns:
            How many were new.

        Raises:
            InvalidReferenceError: A reference breaks a rule; those of earlier chunks (10,000 each) are in.
            TypeError: An argument is of a wrong kind, as one text where many references belong.
            ValueError: PostgreSQL cannot hold the name.
            JournalError: PostgreSQL stays away.
        """
        new = 0
        async for taken in submit(self._store, point_name(name), references, lane):
            new += taken
            if taken:
                await self.jobs.wake(name)
        return new

    async def progress(self, name: str | None = None) -> FleetProgress:
        """How far the work is, of one point of sale or of all. It reads every row of theirs."""
        point = None if name is None else await self._point(name)
        rows = await self._store.fetch("summary", point=point)
        troubles = dict(await self._store.fetch("troubles", point=point))
        return FleetProgress(counts(rows), sum(billed for *_, billed in rows), troubles)

    async def watch(self, name: str | None = None) -> AsyncGenerator[FleetProgress, None]:
        """The progress now, and again when it has changed, once a second at most."""
        told: FleetProgress | None = None
        async with aclosing(self._store.listen(WORK)) as words:
            async for _ in words:
                progress = await self.progress(name)
                if progress != told:
                    told = progress
                    yield progress
                await asyncio.sleep(_AT_MOST)

    async def results(self, name: str) -> AsyncGenerator[WorkRow, None]:
        """Every reference of a point of sale, in the order in which they were submitted."""
        async for row in pages(self._store, await self._point(name)):
            yield row

    async def cancel(self, name: str) -> int:
        """Take back what was not sent; what is being sent ends, and what may have arrived is settled.

        Returns:
            How many were taken back; submitted again, they are new.
        """

        async def work(connection: Connection) -> int:
            async with connection.transaction():
                ((gone,),) = await fetch(connection, "cancel", {"name": point_name(name)})
                await fetch(connection, "notify", {"channel": WORK, "payload": ""})
            return int(gone)

        return await self._store.run(work)

    async def settle(self, event: EncoladoWebhook, name: str | None = None) -> bool:
        """Let an ``encolado`` webhook settle the row of its reference, wherever it is being sent.

        Args:
            event: The webhook, verified.
            name: Whose it is, where several points of sale may have the reference.
        """
        return await self._store.run(lambda connection: settle(connection, event, name))

    # -- for a worker -----------------------------------------------------------------------------

    async def run(
        self, name: str, client: AsyncClient, credentials: Credentials, *, stop: asyncio.Event | None = None
    ) -> Run | None:
        """Send what is open of one point of sale; for any scheduler that can call a coroutine.

        Args:
            name: The point of sale's.
            client: Whose connections, spacing and policy are used.
            credentials: The point of sale's.
            stop: Set it, and nothing new is begun; what is in flight is finished and recorded.

        Returns:
            What came of it; ``None`` when another worker holds this point of sale.

        Raises:
            JournalError: PostgreSQL stays away, or another name has these credentials.
        """
        run = await self._runner.run(point_name(name), client, credentials, stop or asyncio.Event())
        if run is not None and run.more:
            await self.jobs.wake(name)
        return run

    async def _point(self, name: str) -> int:
        found = await self._store.fetch("find_point", name=point_name(name))
        return found[0][0] if found else 0
