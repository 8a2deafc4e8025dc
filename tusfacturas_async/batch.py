"""``Batch``: many references, each to one result; lanes, back-pressure, an orderly end.

This is what a user holds: entering, taking results, leaving. What happens in between is in ``_batch``: a
reference taken from the input holds a place in a bounded window until its result is handed out, and only so
many results wait for the consumer before the sending waits, too (``outlet``). On its way it may be screened
(what need not be sent), waits for its lane, and is sent by one of as many workers as there may be requests in
flight (``works``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Hashable, Iterable, Sized
from typing import TYPE_CHECKING, Any, Final, Self

from ._batch import arguments
from ._batch.failure import attach
from ._batch.outlet import Outlet
from ._batch.sender import Sender
from ._batch.works import Works
from ._call.channel import Channel
from ._cancellation import outlast
from ._rooms import Later
from .models import Reference
from .results import BatchReport, Progress, ReprocessResult

if TYPE_CHECKING:
    from ._batch import recorder as recorders
    from .webhooks import confirmations as confirming
else:
    recorders = Later("tusfacturas_async._batch.recorder")
    confirming = Later("tusfacturas_async.webhooks.confirmations")

WINDOW: Final = 1_000
"""References that are taken from the input and not yet handed out as results, at most."""


class Batch:
    """The running of many re-sends; made by ``AsyncClient.reprocess_many``.

    Use it once: ``async with`` starts the work, ``async for`` yields one ``ReprocessResult`` for each
    reference given, as they end, and never raises for one. A slow consumer slows the sending.

    Leaving the block, or being cancelled in it, starts nothing new, and lets what is in flight finish within
    its timeout; a journal gets its outcome. A second cancellation gives up what is in flight; a cancelled
    scope of anyio counts once. What concerns every reference (401, 403, a wrong path, maintenance that is not
    waited for, a journal that cannot be written, an input or a ``lane`` that raises) stops the sending: the
    rest comes out as ``HELD``, and the loop raises the error at its end.
    """

    def __init__(
        self,
        channel: Channel,
        references: Iterable[Reference] | AsyncIterable[Reference],
        *,
        deadline: float | None,
        lane: Callable[[Any], Hashable] | None,
        journal: recorders.Recorder | None,
        check_first: bool,
        wait_maintenance: float | None,
        confirmations: confirming.Confirmations | None,
    ) -> None:
        arguments.check(
            references, lane=lane, journal=journal, check_first=check_first, wait_maintenance=wait_maintenance
        )
        self._sender = Sender(
            channel,
            journal,
            deadline=deadline,
            patience=wait_maintenance,
            check_first=check_first,
            confirmations=confirmations,
        )
        workers = channel.line.max_concurrency
        self._outlet = Outlet(window=max(WINDOW, 2 * workers), room=2 * workers)
        self._works = Works(references, lane, sender=self._sender, outlet=self._outlet, workers=workers)
        self._running: asyncio.Task[None] | None = None
        self._total = len(references) if isinstance(references, Sized) else None

    @property
    def progress(self) -> Progress:
        """How far it is, at any time."""
        return self._outlet.progress(self._total)

    def stop(self) -> None:
        """Start nothing new: what is in flight ends and comes out, the rest comes out as ``HELD``.

        A plain iterable is read to its end for that; of an asynchronous one nothing more is awaited.
        """
        self._works.stop()

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("this batch has run already: make a new one")
        self._running = asyncio.create_task(self._works.run())
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._works.leave()
        await self._drain(cancelled=isinstance(error, asyncio.CancelledError))
        if kind is None:
            self._raise_failure()

    async def _drain(self, *, cancelled: bool) -> None:
        """Wait for what is in flight. One cancellation lets it finish; the next one gives it up."""
        running = self._running
        assert running is not None  # noqa: S101 - __aenter__ has run

        def heard() -> None:
            nonlocal cancelled
            if cancelled:
                running.cancel()
            cancelled = True

        await outlast(running, heard)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReprocessResult:
        if self._running is None:
            raise RuntimeError("enter the batch first: `async with client.reprocess_many(...) as batch`")
        result = await self._outlet.take()
        if result is None:
            self._raise_failure()
            raise StopAsyncIteration
        return result

    def _raise_failure(self) -> None:
        failure, self._sender.failure = self._sender.failure, None
        if failure is not None:
            raise failure

    async def collect(self) -> BatchReport:
        """Run it to its end; what ``AsyncClient.reprocess_all`` does.

        Raises:
            BaseException: What stopped it, or cancelled it; its ``report`` holds every result.
        """
        results: list[ReprocessResult] = []
        self._outlet.keeps = True  # so that a reference has one outcome, however far apart it is repeated
        try:
            async with self:
                async for result in self:
                    results.append(result)  # noqa: PERF401 - a comprehension would lose them when it raises
        except BaseException as error:
            results += self._outlet.rest()  # what was in flight when the loop was left
            attach(error, BatchReport(tuple(results)))
            raise
        return BatchReport(tuple(results))
