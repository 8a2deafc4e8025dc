"""``Batch``: many references, each to one result; lanes, back-pressure, an orderly end.

A reference taken from the input holds a place in a bounded window until its result is handed out, and
only so many results wait for the consumer before the sending waits, too. On its way it may be screened (what
need not be sent), waits for its lane (``_lanes``), and is sent (``_batch``) by one of as many workers as
there may be requests in flight.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Hashable, Iterable, Sized
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from attrs import define

from ._batch.sender import Sender
from ._call.channel import Channel, utcnow
from ._lanes import Lanes
from ._rooms import Later
from ._wire import codec as wire
from .errors import InvalidReferenceError
from .models import ReprocessRequest, Voucher
from .results import Outcome, Progress, ReprocessResult

if TYPE_CHECKING:
    from . import journal as journals
    from .webhooks import confirmations as confirming
else:
    journals = Later("tusfacturas_async.journal")
    confirming = Later("tusfacturas_async.webhooks.confirmations")

Reference: TypeAlias = str | ReprocessRequest | Voucher

WINDOW: Final = 1_000
"""References that are taken from the input and not yet handed out as results, at most."""

_CHUNK: Final = 100
"""References that are screened together."""

_LANE_STOPPERS = frozenset({Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.HELD})


@define(eq=False)
class _Entry:
    """One reference on its way.

    ``copies``: results that the consumer has yet to take for it. ``in_room``: it holds a place among the
    results that may wait for the consumer.
    """

    request: ReprocessRequest
    lane: Hashable
    copies: int = 1
    doubtful: bool = False
    in_room: bool = False
    verdict: ReprocessResult | None = None
    began_at: datetime | None = None
    result: ReprocessResult | None = None


class Batch:
    """The running of many re-sends; made by ``AsyncClient.reprocess_many``.

    Use it once: ``async with`` starts the work, ``async for`` yields one ``ReprocessResult`` for each
    reference given, as they end, and never raises for one. A slow consumer slows the sending.

    Leaving the block, or being cancelled in it, starts nothing new, and lets what is in flight finish within
    its timeout; a journal gets its outcome. What concerns every reference (401, 403, a wrong path,
    maintenance that is not waited for, a journal that cannot be written) stops the sending: the rest comes
    out as ``HELD``, and the loop raises the error at its end.
    """

    def __init__(
        self,
        channel: Channel,
        references: Iterable[Reference] | AsyncIterable[Reference],
        *,
        deadline: float | None,
        lane: Callable[[Any], Hashable] | None,
        journal: journals.Journal | None,
        check_first: bool,
        wait_maintenance: float | None,
        confirmations: confirming.Confirmations | None,
    ) -> None:
        self._sender = Sender(
            channel, journal, deadline=deadline, patience=wait_maintenance, confirmations=confirmations
        )
        self._channel = channel
        self._expected: set[confirming.Expectation] = set()
        self._workers = channel.line.max_concurrency
        self._references = references
        self._lane = lane
        self._screens = check_first or journal is not None
        self._check_first = check_first

        self._window = asyncio.Semaphore(max(WINDOW, 2 * self._workers))
        self._room = asyncio.Semaphore(2 * self._workers)
        self._in_hand: dict[str, _Entry] = {}
        self._lanes: Lanes[_Entry] = Lanes()
        self._incoming: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._ready: asyncio.Queue[_Entry | None] = asyncio.Queue()
        self._results: asyncio.Queue[tuple[_Entry | None, ReprocessResult] | None] = asyncio.Queue()

        self._running: asyncio.Task[None] | None = None
        self._feeding: asyncio.Task[None] | None = None
        self._unfinished = 0
        self._left = False

        self._done: Counter[Outcome] = Counter()
        self._billed_calls = 0
        self._total = len(references) if isinstance(references, Sized) else None

    @property
    def progress(self) -> Progress:
        """How far it is, at any time."""
        return Progress(dict(self._done), self._sender.in_flight, self._billed_calls, self._total)

    # -- the consumer's side ----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._running is not None:
            raise RuntimeError("this batch has run already: make a new one")
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = self._running
        assert running is not None  # noqa: S101 - __aenter__ has run
        self._left = True
        self._sender.stop()
        if self._feeding is not None:
            self._feeding.cancel()
        for _ in range(self._workers):
            self._room.release()  # nobody takes results any more: let those that wait for room see it
        for expectation in tuple(self._expected):
            expectation.close()
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:  # cancelled once more: what is in flight is given up
            running.cancel()
            await asyncio.wait([running])
            raise
        if kind is None:
            self._raise_failure()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReprocessResult:
        if self._running is None:
            raise RuntimeError("enter the batch first: `async with client.reprocess_many(...) as batch`")
        handed = await self._results.get()
        if handed is None:
            self._results.put_nowait(None)  # another loop over it ends as well
            self._raise_failure()
            raise StopAsyncIteration
        entry, result = handed
        self._window.release()
        if entry is not None:
            entry.copies -= 1
            self._leave_room(entry)
            if not entry.copies:
                del self._in_hand[entry.request.external_reference]
        return result

    def _raise_failure(self) -> None:
        failure, self._sender.failure = self._sender.failure, None
        if failure is not None:
            raise failure

    # -- the work ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        """All tasks of the batch live and end in here."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._feeding = tasks.create_task(self._feed())
                self._feeding.add_done_callback(lambda _: self._end_if_finished())
                if self._screens:
                    tasks.create_task(self._screen())
                for _ in range(self._workers):
                    tasks.create_task(self._work())
        except ExceptionGroup as bugs:
            self._sender.failure = self._sender.failure or bugs
        finally:
            self._results.put_nowait(None)

    def _end_if_finished(self) -> None:
        if self._feeding is not None and self._feeding.done() and not self._unfinished:
            self._incoming.put_nowait(None)
            for _ in range(self._workers):
                self._ready.put_nowait(None)

    async def _feed(self) -> None:
        try:
            async for reference in _each(self._references):
                await self._window.acquire()
                if self._left:
                    return
                self._take(reference)
        except Exception as failure:  # noqa: BLE001 - the user's input, or lane: raised at the batch's end
            self._sender.failure = self._sender.failure or failure

    def _take(self, reference: Reference) -> None:
        try:
            request = ReprocessRequest.of(reference)
        except InvalidReferenceError as error:
            refused = ReprocessResult(str(reference), Outcome.REJECTED, error=error)
            self._channel.telling.end(wire.REPROCESS, refused)
            self._hand_out(None, refused)
            return
        known = self._in_hand.get(request.external_reference)
        if known is not None:  # a repeat shares the first one's outcome, and its one call
            known.copies += 1
            if known.result is not None:
                self._hand_out(known, known.result)
            return
        entry = _Entry(request, None if self._lane is None else self._lane(reference))
        self._in_hand[request.external_reference] = entry
        self._unfinished += 1
        if self._screens:
            self._incoming.put_nowait(entry)
        else:
            self._dispatch(entry)

    async def _screen(self) -> None:
        """Settle what need not be sent, and let the rest go its way, in its order."""
        while (first := await self._incoming.get()) is not None:
            chunk = [first]
            while len(chunk) < _CHUNK and not self._incoming.empty():
                if (entry := self._incoming.get_nowait()) is None:
                    return
                chunk.append(entry)
            screened = await self._sender.screen(
                [entry.request.external_reference for entry in chunk], check_first=self._check_first
            )
            for entry in chunk:
                reference = entry.request.external_reference
                entry.doubtful = reference in screened.doubtful
                self._dispatch(entry, screened.verdicts.get(reference))

    def _dispatch(self, entry: _Entry, verdict: ReprocessResult | None = None) -> None:
        """Let it go, let it wait for its lane, hold it, or end it with its verdict."""
        if verdict is not None and verdict.outcome not in _LANE_STOPPERS:
            self._end(entry, verdict)  # nothing of it will be sent: its lane need not know
            return
        entry.verdict = verdict
        if entry.lane is None:
            self._ready.put_nowait(entry)
        elif self._lanes.stopped(entry.lane):
            self._end(entry, self._sender.held(entry.request))
        elif self._lanes.enter(entry.lane, entry):
            self._ready.put_nowait(entry)

    async def _work(self) -> None:
        while (entry := await self._ready.get()) is not None:
            expectation = None if entry.verdict else self._sender.expect(entry.request)
            if expectation is not None:
                self._expected.add(expectation)
            result = entry.verdict or await self._send(entry, expectation)
            if entry.lane is not None:
                self._advance(entry.lane, result)
            if expectation is None:
                self._end(entry, result)
            else:
                self._await_confirmation(entry, result, expectation)

    def _await_confirmation(
        self, entry: _Entry, result: ReprocessResult, expectation: confirming.Expectation
    ) -> None:
        """End the entry when its webhook has come or its time is up; its worker goes on meanwhile."""

        def told() -> None:
            self._expected.discard(expectation)
            expectation.close()
            self._end(entry, expectation.settled(result))

        self._leave_room(entry)
        if result.outcome is Outcome.ACCEPTED and not self._left:
            expectation.then(told)
        else:
            told()

    def _leave_room(self, entry: _Entry) -> None:
        if entry.in_room:
            entry.in_room = False
            self._room.release()

    def _advance(self, lane: Hashable, result: ReprocessResult) -> None:
        if result.outcome in _LANE_STOPPERS:
            for waiting in self._lanes.stop(lane):
                self._end(waiting, self._sender.held(waiting.request))
        elif (following := self._lanes.leave(lane)) is not None:
            self._ready.put_nowait(following)

    async def _send(self, entry: _Entry, expectation: confirming.Expectation | None) -> ReprocessResult:
        """Send one, once there is room for its result."""
        if not self._sender.stopping:
            await self._room.acquire()
            entry.in_room = True
        entry.began_at = utcnow()
        return await self._sender.send(entry.request, doubtful=entry.doubtful, expectation=expectation)

    # -- results ----------------------------------------------------------------------------------

    def _end(self, entry: _Entry, result: ReprocessResult) -> None:
        entry.result = result
        self._channel.telling.end(wire.REPROCESS, result, entry.began_at)
        for _ in range(entry.copies):
            self._hand_out(entry, result)
        self._billed_calls += result.billed_calls
        self._unfinished -= 1
        self._end_if_finished()

    def _hand_out(self, entry: _Entry | None, result: ReprocessResult) -> None:
        self._done[result.outcome] += 1
        self._results.put_nowait((entry, result))


async def _each(references: Iterable[Reference] | AsyncIterable[Reference]) -> AsyncIterator[Reference]:
    if isinstance(references, AsyncIterable):
        async for reference in references:
            yield reference
    else:
        for reference in references:
            yield reference
