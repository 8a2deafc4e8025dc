"""``Worker``: runs points of sale until it is told to end, and then drains."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
from typing import TYPE_CHECKING, Any, Final

from procrastinate import App, exceptions

from .._cancellation import outlast
from .._checks import check_whole
from ..errors import JournalError
from ..models import Credentials
from .jobs import NAMESPACE, QUEUE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from procrastinate import Blueprint

    from ..client import AsyncClient
    from .fleet import Fleet

    Resolve = Callable[[str], Credentials | Awaitable[Credentials]]

logger: logging.Logger = logging.getLogger(__name__)

MOST_POINTS: Final = 10_000
"""Points of sale at once: each is a job and a batch."""

_AGAIN: Final = 1.0
"""Seconds before the worker is started anew when PostgreSQL was away."""


class Worker:
    """Sends for as many points of sale at once as told, those that Procrastinate hands it.

    Args:
        fleet: An entered ``Fleet``.
        client: Whose connections, ``max_concurrency``, spacing and policy are used.
        resolve: From a point of sale's name to its credentials; it may be a coroutine function.
        points: Points of sale at once.
    """

    def __init__(self, fleet: Fleet, client: AsyncClient, resolve: Resolve, *, points: int = 50) -> None:
        check_whole("points", points, most=MOST_POINTS)
        self._fleet = fleet
        self._client = client
        self._resolve = resolve
        self._points = points
        self._stop = asyncio.Event()
        self._jobs: set[asyncio.Task[Any]] = set()

    @property
    def blueprint(self) -> Blueprint:
        """Its tasks, for an ``App`` of yours, to be added under the namespace ``tusfacturas``.

        Let your worker listen to the queue ``tusfacturas``, and call ``stop`` when it is told to end.
        """
        return self._fleet.jobs.blueprint(self._run_point)

    def stop(self) -> None:
        """Begin nothing new: what is in flight is finished and recorded, and the leases are given back."""
        self._stop.set()

    async def run(self) -> None:
        """Work until SIGTERM or SIGINT, or ``stop``; then drain. It outlasts PostgreSQL's being away.

        Cancelled, it drains as well; who goes on cancelling it gives up what is in flight.
        """
        app = App(connector=self._fleet.jobs.app.connector)  # another worker of this fleet has one, too
        app.add_tasks_from(self.blueprint, namespace=NAMESPACE)
        with _signals(self.stop):
            while not self._stop.is_set():
                working = asyncio.create_task(self._work(app))
                stopping = asyncio.create_task(self._stop.wait())
                try:
                    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    self.stop()
                    raise
                finally:
                    stopping.cancel()
                    await self._drain(working)

    async def _drain(self, working: asyncio.Task[None]) -> None:
        working.cancel()  # it takes nothing new, and waits for the jobs that run
        await outlast(working, self._give_up)
        if not working.cancelled():
            working.result()

    def _give_up(self) -> None:
        for job in self._jobs:
            job.cancel()

    async def _work(self, app: App) -> None:
        try:
            await self._fleet.jobs.scan()
            await app.run_worker_async(
                queues=[QUEUE],
                concurrency=self._points,
                delete_jobs="always",  # what went wrong is told by `progress`, and in full by the log
                install_signal_handlers=False,
            )
        except (exceptions.ConnectorException, JournalError) as error:
            logger.warning("PostgreSQL is away, the worker starts anew: %s", error)
            await asyncio.sleep(_AGAIN)

    async def _run_point(self, name: str) -> None:
        job = asyncio.current_task()
        assert job is not None  # noqa: S101 - this is a coroutine function
        self._jobs.add(job)
        try:
            found: Any = self._resolve(name)
            credentials = await found if inspect.isawaitable(found) else found
            if not isinstance(credentials, Credentials):
                raise TypeError(f"resolve({name!r}) must give Credentials, not {type(credentials).__name__}")
            await self._fleet.run(name, self._client, credentials, stop=self._stop)
        finally:
            self._jobs.discard(job)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Generator[None, None, None]:
    loop = asyncio.get_running_loop()
    both = (signal.SIGTERM, signal.SIGINT)
    for number in both:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in both:
            loop.remove_signal_handler(number)
