"""``Leases``: the fence. Who holds a point of sale, and until when it may start a request.

A lease is timed twice: by PostgreSQL's clock, which decides who may take it, and by this machine's boot-time
clock, which goes on while the machine sleeps and which nobody sets. The second began first and ends earlier
by a margin, so whoever asks ``refusal`` just before the first byte starts nothing that a later holder cannot
see.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import platform
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

import psycopg

from .._call.waiting import at_most
from ..errors import JournalError
from .store import ATTEMPT, fetch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .store import Connection, Store

logger: logging.Logger = logging.getLogger(__name__)

_MARGIN: Final = 0.2
"""Of a lease: what it ends earlier here than in PostgreSQL. It pays for clocks that run unlike each other,
and for the moment between the gate and the first byte."""

_RENEWALS: Final = 4
"""Renewals within one lease."""

_BOOT_TIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time() -> float:
    """Seconds since this machine started, its sleep counted; elsewhere the monotonic clock."""
    return time.clock_gettime(_BOOT_TIME)


class Lease:
    """One point of sale, held.

    Attributes:
        point: Its number.
        name: Its name.
        epoch: The fence: what was written under a lower one is an earlier holder's.
        quiet_from: When earlier requests in doubt can last have started (boot time).
        lost: Another holder has it.
        on_trouble: Called when nothing may leave any more.
    """

    def __init__(self, leases: Leases, name: str, point: int, epoch: int) -> None:
        self._leases = leases
        self.name = name
        self.point = point
        self.epoch = epoch
        self.quiet_from: float = boot_time()
        self.lost = False
        self._ends = float("-inf")
        self._cool_until = float("-inf")
        self.on_trouble: Callable[[], None] = lambda: None

    def held_until(self, ends: float) -> None:
        """It was taken or renewed."""
        self._ends = max(self._ends, ends)

    def refusal(self) -> str | None:
        """Why nothing billed may leave now, or ``None``: the gate, to be asked just before the first byte."""
        return self.fence() or self._leases.closed

    def fence(self) -> str | None:
        """Why nothing at all may leave now, not even a free lookup, which has its place in the spacing."""
        if self.lost:
            return f"the lease on {self.name!r} was taken by another worker"
        if boot_time() >= self._ends:
            return f"the lease on {self.name!r} could not be renewed in time"
        return None

    def cool_down(self, seconds: float) -> None:
        """The service asked for a pause: whoever holds the lease next keeps it, too."""
        self._cool_until = max(self._cool_until, boot_time() + seconds)
        self._leases.renew_soon()

    @property
    def cooling(self) -> float:
        """Seconds of the pause that are left; not above 0 when there are none."""
        return self._cool_until - boot_time()


class Leases:
    """All the leases of one process, renewed together.

    Args:
        store: The way to PostgreSQL.
        seconds: A lease's length.

    Attributes:
        closed: Why no point of sale may send now (maintenance, told by any worker), or ``None``.
    """

    def __init__(self, store: Store, seconds: float) -> None:
        self._store = store
        self.seconds = seconds
        self._holder = f"{platform.node()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._held: dict[int, Lease] = {}
        self._names: set[str] = set()  # held, or being taken
        self._soon = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None
        self.closed: str | None = None

    async def take(self, name: str, fingerprint: str | None = None) -> Lease | None:
        """Take the lease on a point of sale, made if it is not known; ``None`` when another holds it.

        Raises:
            JournalError: PostgreSQL stays away, or another name has these credentials.
        """
        if name in self._names:
            return None
        self._names.add(name)  # before anything is waited for: PostgreSQL lets one holder take it twice
        lease = None
        try:
            lease = await self._take(name, fingerprint)
        finally:
            if lease is None:
                self._names.discard(name)
        return lease

    async def _take(self, name: str, fingerprint: str | None) -> Lease | None:
        started = boot_time()
        values = {"name": name, "holder": self._holder, "seconds": self.seconds, "fingerprint": fingerprint}

        async def work(connection: Connection) -> list[Any]:
            with _distinct(name):
                taken = await fetch(connection, "take", values)
                if not taken and not await fetch(connection, "find_point", {"name": name}):
                    await fetch(connection, "know", {"name": name})
                    taken = await fetch(connection, "take", values)
                return taken

        taken = await self._store.run(work)
        if not taken:
            return None
        ((point, epoch, cooling),) = taken
        lease = Lease(self, name, point, epoch)
        lease.held_until(started + self._usable)
        if cooling is not None and cooling > 0:
            lease.cool_down(cooling)
        self._held[point] = lease
        self._renewing = self._renewing or asyncio.create_task(self._renew())
        return lease

    async def bind(self, lease: Lease, fingerprint: str) -> None:
        """Let the point of sale have these credentials: its own, or its own after a token was changed.

        Raises:
            JournalError: Another name has these credentials.
        """

        async def work(connection: Connection) -> None:
            values = {"fingerprint": fingerprint, "point": lease.point, "epoch": lease.epoch}
            with _distinct(lease.name):
                await fetch(connection, "bind", values)

        await self._store.run(work)

    async def give_back(self, lease: Lease) -> None:
        """Let another take it at once, with the pause that is left. Nothing of it is in flight any more."""
        self._held.pop(lease.point, None)
        lost, lease.lost = lease.lost, True
        values = {"point": lease.point, "epoch": lease.epoch, "cooling": lease.cooling}
        try:
            if not lost:
                await self._store.run(
                    lambda connection: fetch(connection, "give_back", values), patience=ATTEMPT
                )
        except JournalError as error:  # all that was sent is recorded, or in doubt for who comes next
            logger.warning("the lease on %s was not given back, it will expire: %s", lease.name, error)
        finally:
            self._names.discard(lease.name)

    def renew_soon(self) -> None:
        """Renew now: there is something to tell with it."""
        self._soon.set()

    async def aclose(self) -> None:
        """Give back what is still held, and end."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])
            if not self._renewing.cancelled():
                self._renewing.result()  # it ended by itself: a mistake of ours, not to be kept quiet
        for lease in list(self._held.values()):
            await self.give_back(lease)

    @property
    def _usable(self) -> float:
        return self.seconds * (1 - _MARGIN)

    async def _renew(self) -> None:
        interval = self.seconds / _RENEWALS
        while True:
            await at_most(interval, self._soon.wait())
            self._soon.clear()
            try:
                await self._store.run(self._renew_all, patience=interval)
            except JournalError as error:
                logger.warning("leases could not be renewed: %s", error)
            for lease in list(self._held.values()):
                if lease.refusal() is not None:
                    lease.on_trouble()

    async def _renew_all(self, connection: Connection) -> None:
        leases = list(self._held.values())
        started = boot_time()
        values = {
            "points": [lease.point for lease in leases],
            "epochs": [lease.epoch for lease in leases],
            "cooling": [lease.cooling for lease in leases],
            "seconds": self.seconds,
        }
        renewed = {point for (point,) in await fetch(connection, "renew", values)}
        closed = await fetch(connection, "closed")
        self.closed = closed[0][0] if closed else None
        for lease in leases:
            if lease.point in renewed:
                lease.held_until(started + self._usable)
            elif self._held.get(lease.point) is lease:
                logger.warning("the lease on %s is lost: another worker has taken it", lease.name)
                lease.lost = True


@contextlib.contextmanager
def _distinct(name: str) -> Generator[None, None, None]:
    try:
        yield
    except psycopg.errors.UniqueViolation as error:
        raise JournalError(
            f"the credentials of {name!r} are those of another point of sale here: use its name, "
            "as two names would halve the spacing"
        ) from error
