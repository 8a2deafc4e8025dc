"""One point of sale, sent by one worker: its lease, its open rows in order, and what follows in the end.

Everything of one process is used as it is: a ``Batch`` with its lanes and pace, below the fence.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from .._call.channel import unhindered
from .._call.waiting import at_most
from .._journal_rows import FINAL
from ..errors import MaintenanceError, TusFacturasError
from ..models import ReprocessRequest
from ..results import Outcome
from .journal import PostgresJournal, in_words
from .lease import boot_time
from .writer import WORK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from .._call.channel import Channel
    from ..client import AsyncClient
    from ..models import Credentials
    from .lease import Lease, Leases
    from .store import Store
    from .writer import Writer

logger: logging.Logger = logging.getLogger(__name__)

_PAGE: Final = 500

SHORTEST, LONGEST = 5.0, 300.0
"""Seconds before a point of sale that made no headway is tried again: doubled from the first to the last."""

_DISTRUST: Final = 600.0
"""Seconds after its end for which maintenance may not be over: its end is the service's guess."""

_UNTOLD, _BELIEVED = 60.0, 300.0
"""Seconds of maintenance: where none are told, and the most that are believed."""


@frozen
class Queued(ReprocessRequest):
    """A reference as the table of work has it."""

    lane: str | None = field(default=None, kw_only=True, eq=False)


@frozen
class Run:
    """What one run of a point of sale came to.

    Attributes:
        counts: How many references ended as each outcome.
        more: Open work was left because it was told to stop.
    """

    counts: Mapping[Outcome, int]
    more: bool


class Runner:
    """Runs points of sale in one process.

    Args:
        store: The way to PostgreSQL.
        leases: The fence.
        writer: Shared by all runs.
    """

    def __init__(self, store: Store, leases: Leases, writer: Writer) -> None:
        self._store = store
        self._leases = leases
        self._writer = writer

    async def run(
        self, name: str, client: AsyncClient, credentials: Credentials, stop: asyncio.Event
    ) -> Run | None:
        """Send what is open, until nothing is, or until told to stop; ``None`` when another worker does.

        Raises:
            JournalError: PostgreSQL stays away, or the credentials are those of another name.
        """
        lease = await self._leases.take(name, credentials.fingerprint)
        if lease is None:
            return None
        channel: Channel | None = None
        try:
            tenant = client.with_credentials(credentials)
            channel = tenant._channel  # noqa: SLF001 - it is one of us
            channel.pace.on_cool_down, channel.fence = lease.cool_down, lease.fence
            for (told,) in await self._store.fetch("lately_closed", seconds=_DISTRUST):
                channel.maintenance.tell(MaintenanceError(told))  # a free lookup goes first
            await at_most(max(client.min_interval, lease.cooling), stop.wait())
            counts: Counter[Outcome] = Counter()
            more = True
            while more and not stop.is_set():
                more = await self._once(lease, tenant, stop, counts)
            return Run(counts, more)
        finally:
            if channel is not None:
                channel.fence = unhindered
            await self._leases.give_back(lease)

    async def _once(
        self, lease: Lease, client: AsyncClient, stop: asyncio.Event, counts: Counter[Outcome]
    ) -> bool:
        """Send what is open now; whether there is more that need not wait."""
        ((swept_to, last_position, newest),) = await self._store.fetch("swept", point=lease.point)
        here: Counter[Outcome] = Counter()
        trouble = None
        try:
            await self._send(lease, client, stop, (swept_to, newest), here)
        except TusFacturasError as error:
            logger.warning("%s: its sending ended: %s", lease.name, error)
            if isinstance(error, MaintenanceError):
                await self._close_service(error)
            else:
                trouble = in_words(error)
        counts.update(here)
        swept = await self._store.fetch(
            "sweep",
            point=lease.point,
            epoch=lease.epoch,
            last_position=last_position,
            headway=not FINAL.isdisjoint(here),
            pause=not stop.is_set(),
            shortest=SHORTEST,
            longest=LONGEST,
            trouble=trouble,
        )
        await self._store.fetch("notify", channel=WORK, payload="")
        ((left_open, newer),) = swept or ((False, False),)  # none: the lease is another's, and so is the rest
        return (left_open and stop.is_set()) or (newer and not left_open)

    async def _send(
        self,
        lease: Lease,
        client: AsyncClient,
        stop: asyncio.Event,
        span: tuple[int, int],
        counts: Counter[Outcome],
    ) -> None:
        journal = PostgresJournal(
            *(self._store, self._leases, self._writer, lease),
            timeout=client.timeout,
            adopt=False,
            newest=span[1],
        )
        batch = client.reprocess_many(
            self._open_rows(lease, span, client.timeout), lane=lambda queued: queued.lane, journal=journal
        )
        lease.on_trouble = batch.stop
        stopping = asyncio.create_task(_then(stop, batch.stop))
        try:
            async with batch:
                async for result in batch:
                    counts[result.outcome] += 1
        finally:
            stopping.cancel()
            lease.on_trouble = _nothing

    async def _open_rows(
        self, lease: Lease, span: tuple[int, int], timeout: float
    ) -> AsyncGenerator[Queued, None]:
        """What is open, in order; lanes in doubt come last, when what may be worked on had its time.

        What was submitted since is the next round's: it may be what was cancelled, now in another order.
        """
        doubtful = await self._store.fetch("doubtful_lanes", point=lease.point, after=span[0])
        lanes = {lane for lane, _ in doubtful}
        laneless: set[str] = set()
        async for lane, reference, in_doubt in self._pages(lease, *span):
            if lane not in lanes or (lane is None and not in_doubt):
                yield Queued(reference, any_characters=True, lane=lane)
            elif lane is None:
                laneless.add(reference)
        if lanes:
            ended = [lease.quiet_from, *(boot_time() - age for _, age in doubtful if age is not None)]
            await asyncio.sleep(max(max(ended) + timeout - boot_time(), 0.0))
            async for lane, reference, _ in self._pages(lease, *span):
                if lane in lanes and (lane is not None or reference in laneless):
                    yield Queued(reference, any_characters=True, lane=lane)

    async def _pages(
        self, lease: Lease, after: int, newest: int
    ) -> AsyncGenerator[tuple[str | None, str, bool], None]:
        while page := await self._store.fetch(
            "open_page", point=lease.point, after=after, newest=newest, limit=_PAGE
        ):
            for _, reference, lane, in_doubt in page:
                yield lane, reference, in_doubt
            after = page[-1][0]

    async def _close_service(self, error: MaintenanceError) -> None:
        await self._store.fetch(
            "close_service", until=error.until, untold=_UNTOLD, longest=_BELIEVED, told=str(error)
        )
        self._leases.renew_soon()


def _nothing() -> None:
    """Nobody is to be told."""


async def _then(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()
