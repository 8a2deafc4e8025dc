"""A thread that does jobs, those that wait together in one group, and tells each caller how its own ended.

It knows no SQLite. It never waits on the event loop's executor, whose threads may all be stuck in a name
lookup, and whoever waits for it is told also when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from .._cancellation import outlast
from ..errors import JournalError

_GROUP: Final = 1_000
"""Jobs in one group at most."""

_ENOUGH: Final = 8
"""Jobs in one group from which on it is not worth waiting for more."""

_LINGER: Final = 0.001
"""Seconds to wait for more, where the group before had several: whoever waited for that one is about to come
again, and a commit costs as much processor time as dozens of rows."""


Job = tuple[Any, str, "asyncio.Future[Any]", Callable[[], object] | None]
"""What is to be done, in the words of the group's function; what it is about, for messages; the future of its
result; and what is called on the event loop when it failed, gave a result, or its caller waits no longer."""

Work = Callable[[Sequence[Job]], Sequence[Any]]
"""Does a group; one result for each job, an exception where it failed."""


class JobThread:
    """One life of the thread, from ``start`` to ``end``; it belongs to the event loop that makes it.

    Args:
        name: What it works on, in messages.
        working: Entered and left in the thread; gives what does a group.
    """

    def __init__(self, name: str, working: Callable[[], AbstractContextManager[Work]]) -> None:
        self._name = name
        self._working = working
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._company = False
        self._died: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[BaseException | None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon: a process that ends without closing must not hang; a commit cut off is a crash survived.
        self._thread = threading.Thread(target=self._live, name=f"tusfacturas {name}", daemon=True)

    async def start(self) -> None:
        """Start it, and wait until it can work.

        Raises:
            BaseException: What entering ``working`` raised; the thread has ended.
        """
        self._thread.start()
        try:
            failure = await asyncio.shield(self._started)
        except asyncio.CancelledError:
            await self.end()
            raise
        if failure is not None:
            await self.end()
            raise failure

    def put(self, work: Any, about: str, undo: Callable[[], object] | None = None) -> asyncio.Future[Any]:
        """Let it do this, in its turn.

        Raises:
            RuntimeError: The running event loop is not the one that it tells.
            JournalError: (From the future.) The thread died.
        """
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(f"{self._name} belongs to another event loop: open it in the one that uses it")
        told: asyncio.Future[Any] = self._loop.create_future()
        self._jobs.put((work, about, told, undo))
        if self._died is not None:  # after the put: one of the two sees the other's
            self._abandon([])
        return told

    async def end(self) -> None:
        """Let it finish the jobs that wait, and wait for its end, whatever cancels us meanwhile."""
        self._jobs.put(None)
        try:
            await outlast(self._ended)  # to let go before would leave the thread and what it holds behind
        finally:
            self._thread.join()  # it has said its last word

    # -- in the thread ----------------------------------------------------------------------------

    def _live(self) -> None:
        group: list[Job] = []
        try:
            with self._working() as work:
                self._call(self._set, self._started, None)
                while group := self._next_group():
                    self._tell(list(zip(group, work(group), strict=True)))
                    group = []
        except BaseException as error:  # noqa: BLE001 - of whatever it dies, nobody may wait for it
            self._died = error
            self._call(self._set, self._started, error)
            self._abandon(group)
        finally:
            self._call(self._set, self._ended, None)

    def _next_group(self) -> list[Job]:
        group = []
        job = self._jobs.get()
        if self._company and self._jobs.qsize() < _ENOUGH:
            time.sleep(_LINGER)
        while job is not None:
            group.append(job)
            if len(group) == _GROUP or self._jobs.empty():
                break
            job = self._jobs.get()
        else:
            if group:
                self._jobs.put(None)  # the end comes after this group
        self._company = len(group) > 1
        return group

    def _abandon(self, group: list[Job]) -> None:
        """Tell these, and all who wait, that nobody will come."""
        with contextlib.suppress(queue.Empty):
            while True:
                if (job := self._jobs.get_nowait()) is not None:
                    group.append(job)
        self._tell([(job, self._death()) for job in group])

    def _death(self) -> JournalError:
        told = JournalError(f"the thread of {self._name} has died: {self._died!r}")
        told.__cause__ = self._died
        return told

    # -- from the thread to its event loop --------------------------------------------------------

    def _tell(self, told: list[tuple[Job, Any]]) -> None:
        """Hand a group's results over, in one call."""

        def settle() -> None:
            for (_, _, future, undo), result in told:
                gone = future.done()  # its caller was cancelled
                if undo is not None and (gone or result is not None):
                    undo()
                if gone:
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

        self._call(settle)

    @staticmethod
    def _set(future: asyncio.Future[Any], result: object) -> None:
        if not future.done():
            future.set_result(result)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *arguments)
