"""Procrastinate wakes and spreads: a job for each point of sale, and a scan that defers lost ones anew.

Nothing here is relied on for the truth: a job that is lost, or runs twice, costs time only.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Final

import procrastinate
from procrastinate import exceptions
from procrastinate.jobs import Status
from procrastinate.schema import SchemaManager

from ..errors import TusFacturasError
from .journal import in_words
from .run import LONGEST, SHORTEST
from .store import ATTEMPT, SCHEMA, fetch
from .writer import WORK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .store import Connection, Store

logger: logging.Logger = logging.getLogger(__name__)

QUEUE: Final = "tusfacturas"
NAMESPACE: Final = "tusfacturas"
_RUN: Final = f"{NAMESPACE}:run"

_SCAN: Final = "* * * * * */2"
"""Every two seconds: the sixth field is seconds."""

_AT_ONCE: Final = 200
"""Points of sale that one scan tells."""


def own_app(conninfo: str) -> procrastinate.App:
    """A Procrastinate ``App`` whose tables are in our schema."""

    async def configure(connection: Connection) -> None:
        # A transaction for each statement: who is paused between two messages of one would hold its locks.
        await connection.set_autocommit(True)
        await connection.execute(f"SET search_path = {SCHEMA}".encode())

    # A worker that is told to end while PostgreSQL is away waits for each of Procrastinate's last words; one
    # with a hundred points of sale on a slow disk waits for these three connections.
    connector = procrastinate.PsycopgConnector(
        conninfo=conninfo, configure=configure, min_size=1, max_size=3, timeout=2 * ATTEMPT
    )
    return procrastinate.App(connector=connector)


class Jobs:
    """What the fleet asks of Procrastinate.

    Args:
        app: Whose tables hold the jobs.
        store: Ours.
    """

    def __init__(self, app: procrastinate.App, store: Store) -> None:
        self.app = app
        self._store = store

    async def wake(self, *names: str) -> None:
        """Defer a job for each of these points of sale, unless one waits already.

        Where that fails, the next scan does it: whoever asks has made the work durable.
        """
        jobs = [self.app.configure_task(_RUN, queue=QUEUE, queueing_lock=f"{QUEUE}:{name}") for name in names]
        for name, job in zip(names, jobs, strict=True):
            try:
                async with asyncio.timeout(ATTEMPT):
                    await job.defer_async(name=name)
            except exceptions.AlreadyEnqueued:
                logger.debug("%s has a job that waits", name)
            except (exceptions.ConnectorException, TimeoutError) as error:
                logger.warning("no job could be deferred for %s, the scan will: %s", name, error)
                return

    async def scan(self) -> None:
        """Wake every point of sale with open rows and no lease."""
        await self.wake(*[name for (name,) in await self._store.fetch("idle", limit=_AT_ONCE)])

    async def _put_off(self, name: str, error: Exception) -> None:
        """Tell why a point of sale cannot be worked on, and try it again later."""
        why = f"its job ended by {type(error).__name__}: a worker's log says more"
        if isinstance(error, TusFacturasError):  # another's text may hold a secret: the resolver's, say
            why = in_words(error)
        values = {"name": name, "trouble": why, "shortest": SHORTEST, "longest": LONGEST}

        async def work(connection: Connection) -> None:
            await fetch(connection, "put_off", values)
            await fetch(connection, "notify", {"channel": WORK, "payload": ""})

        await self._store.run(work, patience=ATTEMPT)

    async def _remove_stalled(self) -> None:
        """Remove the jobs of workers that were killed: the scan has deferred new ones."""
        manager = self.app.job_manager
        for job in await manager.get_stalled_jobs(queue=QUEUE):
            await manager.finish_job(job, Status.FAILED, delete_job=True)

    def blueprint(self, run: Callable[[str], Awaitable[object]]) -> procrastinate.Blueprint:
        """The tasks of a worker, to be registered in any ``App`` under ``NAMESPACE``."""
        blueprint = procrastinate.Blueprint()

        @blueprint.task(name="run", queue=QUEUE)
        async def run_point(name: str) -> None:
            try:
                await run(name)
            except Exception as error:
                await self._put_off(name, error)
                raise

        @blueprint.periodic(cron=_SCAN)
        @blueprint.task(name="scan", queue=QUEUE, queueing_lock=f"{QUEUE}:scan", priority=1)
        async def scan(timestamp: int) -> None:  # noqa: ARG001 - Procrastinate's
            await self.scan()
            await self._remove_stalled()

        return blueprint


async def apply_schema(connection: Connection) -> None:
    """Procrastinate's tables in our schema, brought up to the installed version by its own migrations."""
    await connection.execute(f"SET LOCAL search_path = {SCHEMA}".encode())
    migrations = _migrations()
    ((applied,),) = await fetch(connection, "jobs_version")
    if applied is None:
        await connection.execute(SchemaManager.get_schema().encode())
    for migration in migrations:
        if applied is not None and migration.name > applied:
            await connection.execute(migration.read_bytes())
    await fetch(connection, "jobs_migrated", {"version": migrations[-1].name})


def _migrations() -> list[Path]:
    return sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
