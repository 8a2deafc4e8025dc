"""``Batch``: many references, at most as many tasks as requests in flight, results as they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Self

from .errors import InvalidReferenceError
from .models import ReprocessRequest
from .results import Outcome, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from types import TracebackType

    Reference = str | ReprocessRequest


class Batch:
    """The running of many re-sends; made by ``AsyncClient.reprocess_many``.

    Use it once: ``async with`` starts the work, ``async for`` yields one ``ReprocessResult`` for each
    reference as they end, and never raises for one. References that are taken from the input and not yet
    handed out as results fill a bounded window, so a slow consumer slows the sending. Leaving the block
    starts nothing new and lets what is in flight finish.
    """

    def __init__(
        self,
        reprocess: Callable[[ReprocessRequest], Awaitable[ReprocessResult]],
        references: Iterable[Reference] | AsyncIterable[Reference],
        *,
        workers: int,
    ) -> None:
        self._reprocess = reprocess
        self._references = _each(references)
        self._workers = workers
        self._window = asyncio.Semaphore(2 * workers)
        self._ready: asyncio.Queue[Reference | None] = asyncio.Queue()
        self._results: asyncio.Queue[ReprocessResult | None] = asyncio.Queue()
        self._tasks = asyncio.TaskGroup()
        self._feeding: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    async def __aenter__(self) -> Self:
        if self._feeding is not None:
            raise RuntimeError("this batch has run already: make a new one")
        await self._tasks.__aenter__()
        self._feeding = self._tasks.create_task(self._feed())
        workers = [self._tasks.create_task(self._work()) for _ in range(self._workers)]
        self._tasks.create_task(self._finish(workers))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
        while not self._ready.empty():  # taken, and not begun
            self._ready.get_nowait()
        for _ in range(self._workers):
            self._ready.put_nowait(None)
        await self._tasks.__aexit__(None, None, None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReprocessResult:
        if self._feeding is None:
            raise RuntimeError("enter the batch first: `async with client.reprocess_many(...) as batch`")
        result = await self._results.get()
        if result is None:
            self._results.put_nowait(None)  # another loop over it ends as well
            if self._failure is not None:
                raise self._failure
            raise StopAsyncIteration
        self._window.release()
        return result

    async def _feed(self) -> None:
        try:
            async for reference in self._references:
                await self._window.acquire()
                self._ready.put_nowait(reference)
        except Exception as failure:  # noqa: BLE001 - the input is the user's; it is raised at the batch's end
            self._failure = failure
        for _ in range(self._workers):
            self._ready.put_nowait(None)

    async def _work(self) -> None:
        while (reference := await self._ready.get()) is not None:
            try:
                request = ReprocessRequest.of(reference)
            except InvalidReferenceError as error:
                result = ReprocessResult(str(reference), Outcome.REJECTED, error=error)
            else:
                result = await self._reprocess(request)
            self._results.put_nowait(result)

    async def _finish(self, workers: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(workers)
        self._results.put_nowait(None)


async def _each(references: Iterable[Reference] | AsyncIterable[Reference]) -> AsyncIterator[Reference]:
    if isinstance(references, AsyncIterable):
        async for reference in references:
            yield reference
    else:
        for reference in references:
            yield reference
