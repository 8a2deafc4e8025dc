"""The tasks of one batch: from the input by the screen, the lanes and the sender to a result.

They end all together, and none of them by an error. Who takes the results is not known here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Final

from .._lanes import Lanes
from ..errors import InvalidReferenceError
from ..models import ReprocessRequest, Voucher
from ..results import Outcome, ReprocessResult
from .arguments import each
from .entry import Entry
from .failure import broken_off, must_pass
from .screen import Screened

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from ..models import Reference
    from ..webhooks.confirmations import Expectation
    from .outlet import Outlet
    from .sender import Sender

_CHUNK: Final = 100
"""References that are screened together."""

_LANE_STOPPERS = frozenset({Outcome.NOT_SENT, Outcome.UNKNOWN, Outcome.HELD})


class Works:
    """The running of a batch.

    Args:
        references: The input.
        lane: From a reference to the key of its lane, or ``None``.
        sender: Sends one.
        outlet: Takes the results.
        workers: References that are sent at once, at most: a small batch has no more tasks than references.
    """

    def __init__(
        self,
        references: Iterable[Reference] | AsyncIterable[Reference],
        lane: Callable[[Any], Hashable] | None,
        *,
        sender: Sender,
        outlet: Outlet,
        workers: int,
    ) -> None:
        self._references = references
        self._lane = lane
        self._sender = sender
        self._outlet = outlet
        self._workers = workers
        self._begun = self._free = 0  # workers: all, and those that wait for an entry
        self._tasks: asyncio.TaskGroup | None = None
        self._lanes: Lanes[Entry] = Lanes()
        self._incoming: asyncio.Queue[Entry | None] = asyncio.Queue()
        self._ready: asyncio.Queue[Entry | None] = asyncio.Queue()
        self._expected: set[Expectation] = set()
        self._feeding: asyncio.Task[None] | None = None
        self._stopped = self._unread = False

    def stop(self) -> None:
        """Start nothing new. Of an asynchronous input nothing more is awaited."""
        self._stopped = True
        self._sender.stop()
        for expectation in tuple(self._expected):
            expectation.close()
        if isinstance(self._references, AsyncIterable):
            self._read_no_more()

    def leave(self) -> None:
        """Stop; nobody takes results any more."""
        self.stop()
        self._read_no_more()
        self._outlet.make_room(self._workers)

    def _read_no_more(self) -> None:
        if not self._unread and self._feeding is not None:
            self._feeding.cancel()  # once: the input may have something to put away
        self._unread = True

    async def run(self) -> None:
        """All tasks of the batch live and end in here."""
        try:
            await asyncio.sleep(0)  # where tasks start eagerly, too, entering alone sends nothing
            async with asyncio.TaskGroup() as self._tasks:
                tasks = self._tasks
                self._begin_worker(tasks)
                self._feeding = tasks.create_task(self._feed())
                self._feeding.add_done_callback(lambda _: self._end_if_finished())
                if self._sender.screens:
                    tasks.create_task(self._screen())
        except BaseExceptionGroup as group:  # a bug, or a lane key that cannot be compared
            for error in group.exceptions:
                self._fail(error)
        finally:
            self._outlet.close()

    def _end_if_finished(self) -> None:
        if self._feeding is not None and self._feeding.done() and not self._outlet.unfinished:
            self._incoming.put_nowait(None)
            for _ in range(self._begun):
                self._ready.put_nowait(None)

    def _fail(self, error: BaseException) -> None:
        """Stop, and raise this at the end; what else fails meanwhile is noted on it.

        No task of ours may end by an error: its group would cancel the others, and drop what is in flight.
        """
        if must_pass(error):
            raise error
        first = self._sender.failure
        if first is None:
            self._sender.failure = error
        elif first is not error:
            first.add_note(f"another error of the same batch: {type(error).__name__}: {error}")
        self._sender.stop()

    async def _feed(self) -> None:
        if self._unread:  # stopped before it began
            return
        try:
            await self._outlet.place()
            async for reference in each(self._references):
                self._take(reference)
                await self._outlet.place()
                if self._unread:
                    return
        except BaseException as error:  # noqa: BLE001 - the user's input, or lane
            self._fail(error)

    def _take(self, reference: Reference) -> None:
        try:
            request = ReprocessRequest.of(reference)
        except InvalidReferenceError as error:
            name = reference.external_reference or "" if isinstance(reference, Voucher) else str(reference)
            refused = ReprocessResult(name, Outcome.REJECTED, error=error)
            self._sender.tell(refused)
            self._outlet.hand_out(None, refused)
            return
        known = self._outlet.in_hand.get(request.external_reference)
        if known is not None:
            self._share(known, reference)
            return
        entry = Entry.of(request, reference)
        self._outlet.add(entry)
        try:
            entry.lane = self._lane_of(reference)
            if self._sender.screens:
                self._incoming.put_nowait(entry)
            else:
                self._dispatch(entry)
        except BaseException as error:  # its lane cannot be told, or not be told from others
            self._fail(error)
            self._end(entry, self._sender.held(request))
            raise

    def _share(self, entry: Entry, reference: Reference) -> None:
        """A repeat shares the first one's outcome, and its one call.

        So does another voucher with the same reference, but then nobody knows which of them was meant: its
        lane stops with it.
        """
        another = entry.share(reference)
        if entry.result is not None:
            self._outlet.hand_out(entry, entry.shared(another=another))
        if another and ((lane := self._lane_of(reference)) != entry.lane or entry.decided):
            self._stop_lane(lane)

    def _lane_of(self, reference: Reference) -> Hashable:
        if self._lane is None:
            return None
        key = self._lane(reference)
        hash(key)  # here, where it can be told apart from our own doing
        if inspect.isawaitable(key):
            raise TypeError("lane must return a key, not an awaitable: each would be a lane of its own")
        return key

    async def _screen(self) -> None:
        """Settle what need not be sent, and let the rest go its way, in its order."""
        while (first := await self._incoming.get()) is not None:
            chunk = [first]
            while len(chunk) < _CHUNK and not self._incoming.empty():
                if (entry := self._incoming.get_nowait()) is None:
                    return
                chunk.append(entry)
            try:
                screened = await self._sender.screen([entry.request.external_reference for entry in chunk])
            except BaseException as error:  # noqa: BLE001 - a journal of the user's own
                self._fail(error)
                screened = Screened({})
            for entry in chunk:
                reference = entry.request.external_reference
                entry.doubtful = reference in screened.doubtful
                self._dispatch(entry, screened.verdicts.get(reference))

    def _dispatch(self, entry: Entry, verdict: ReprocessResult | None = None) -> None:
        """Let it go, let it wait for its lane, hold it, or end it with its verdict."""
        if verdict is not None and verdict.outcome not in _LANE_STOPPERS:
            self._end(entry, verdict)  # nothing of it will be sent: its lane need not know
            return
        entry.verdict = verdict
        if entry.lane is None:
            self._make_ready(entry)
        elif self._lanes.stopped(entry.lane):
            self._end(entry, self._sender.held(entry.request))
        elif self._lanes.enter(entry.lane, entry):
            self._make_ready(entry)

    def _make_ready(self, entry: Entry) -> None:
        self._ready.put_nowait(entry)
        few = self._begun < self._workers and self._ready.qsize() > self._free
        if few and self._tasks is not None and not self._sender.stopping:
            self._begin_worker(self._tasks)

    def _begin_worker(self, tasks: asyncio.TaskGroup) -> None:
        self._begun += 1
        self._free += 1
        tasks.create_task(self._work())

    async def _work(self) -> None:
        await asyncio.sleep(0)  # where tasks start eagerly, too, whoever begins it goes on first
        while (entry := await self._ready.get()) is not None:
            self._free -= 1
            expectation = None if entry.verdict else self._sender.expect(entry.request)
            if expectation is not None:
                self._expected.add(expectation)
            result = entry.verdict or await self._send(entry, expectation)
            self._free += 1
            if expectation is None:
                self._end(entry, result)
            else:
                self._await_confirmation(entry, result, expectation)
            if entry.lane is not None:
                self._advance(entry.lane, result)

    def _await_confirmation(self, entry: Entry, result: ReprocessResult, expectation: Expectation) -> None:
        """End the entry when its webhook has come or its time is up; its worker goes on meanwhile."""

        def told() -> None:
            self._expected.discard(expectation)
            expectation.close()
            self._end(entry, result if entry.contested else expectation.settled(result))

        self._outlet.leave_room(entry)
        if result.outcome is Outcome.ACCEPTED and not self._stopped:
            expectation.then(told)
        else:
            told()

    def _advance(self, lane: Hashable, result: ReprocessResult) -> None:
        if result.outcome in _LANE_STOPPERS:
            self._stop_lane(lane)
        elif (following := self._lanes.leave(lane)) is not None:
            self._make_ready(following)

    def _stop_lane(self, lane: Hashable) -> None:
        if lane is not None:
            for waiting in self._lanes.stop(lane):
                self._end(waiting, self._sender.held(waiting.request))

    async def _send(self, entry: Entry, expectation: Expectation | None) -> ReprocessResult:
        """Send one, once there is room for its result."""
        if not self._sender.stopping:
            await self._outlet.room(entry)
        if not self._sender.stopping:
            self._outlet.begin(entry)
        try:
            return await self._sender.send(
                entry.request, doubtful=entry.doubtful, expectation=expectation, decide=entry.decide
            )
        except BaseException as error:  # noqa: BLE001 - nothing that we know of raises here
            self._fail(error)
            return broken_off(entry.request, error)

    def _end(self, entry: Entry, result: ReprocessResult) -> None:
        self._sender.tell(self._outlet.end(entry, result), entry.began_at)
        self._end_if_finished()
