"""``Inbox``: keeps events once and in the order of their meaning, and hands each to a handler.

Stored before the delivery is answered, handled after; what a crash or a failing handler leaves is handled
again. It receives no HTTP (that is ``receiver``).
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import json
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, Self

from .._lanes import Lanes
from .._storage.values import instant, now, storable
from .._storage.writer import Storage
from ..instrumentation import Observer, WebhookReceived
from ..instrumentation.observers import Observers
from .events import WebhookEvent
from .handlers import Handler, call, check_handler
from .stored import KIND, RANKS, InboxReader, States, read_stored

logger: logging.Logger = logging.getLogger(__name__)

_FIRST_RETRY, _LAST_RETRY = 1.0, 300.0
"""Seconds before a failed handler is called again: doubled from the first to the last."""


class Inbox(States):
    """A file of events: ``async with Inbox.open(path, handler) as inbox``.

    Give ``inbox.receive`` to a ``WebhookReceiver``. Each event is stored once, durably, before the service
    is told; then ``handler`` is called in the background, one event of a reference at a time, and again until
    it returns. Once its return is recorded it is never called again for that event. (A crash between the
    return and the record repeats it: make the handler idempotent, as for every at-least-once delivery.)

    Leaving the block cancels handlers that are running; they are called again at the next opening.

    A duplicate is the same event of the same reference with the same ``creado``; where that is missing, with
    the same payload, less its counter.

    Raises:
        TypeError: ``handler`` is no async function, or the path is none.
        ValueError: ``concurrency`` is not 1 or more.
        JournalError: (On entering.) The file cannot be opened or written, is not an inbox, is corrupt, or in
            use.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        handler: Handler | None = None,
        *,
        concurrency: int = 10,
        observers: Iterable[Observer] = (),
    ) -> None:
        if handler is not None:
            check_handler(handler)
        if concurrency < 1:
            raise ValueError(f"concurrency must be 1 or more, not {concurrency!r}")
        self._storage = Storage(path, KIND)
        self._handler = handler
        self._concurrency = concurrency
        self._observers = Observers(observers)
        self._lanes: Lanes[int] = Lanes()
        self._ready: asyncio.Queue[tuple[str, int, float]] = asyncio.Queue()
        self._retries: set[asyncio.TimerHandle] = set()
        self._workers: list[asyncio.Task[None]] = []
        self._unhandled = 0
        self._idle = asyncio.Event()
        self._listeners: set[Callable[[WebhookEvent], None]] = set()

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        handler: Handler | None = None,
        *,
        concurrency: int = 10,
        observers: Iterable[Observer] = (),
    ) -> Self:
        """An inbox in the file at ``path``, which is created if need be; ``async with`` opens it.

        Args:
            path: The file.
            handler: Called with each event; ``None`` only keeps them.
            concurrency: Events of different references that are handled at once.
            observers: Whose ``on_webhook`` is told of each event that is stored, and of each duplicate.
        """
        return cls(path, handler, concurrency=concurrency, observers=observers)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> InboxReader:
        """The inbox at ``path`` for reading alone, also while it is owned; see ``InboxReader``."""
        return InboxReader(path)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        try:
            await self._start()
        except BaseException:
            await super().__aexit__()
            raise
        return self

    async def _start(self) -> None:
        self._unhandled = 0
        # An earlier use may have left work in them, and been in another event loop.
        self._lanes, self._ready, self._idle = Lanes(), asyncio.Queue(), asyncio.Event()
        self._idle.set()
        if self._handler is not None:
            query = (
                "SELECT coalesce(external_reference, ''), id FROM events WHERE handled_at IS NULL ORDER BY id"
            )
            for reference, number in await self._storage.run(lambda c: c.execute(query).fetchall()):
                self._enqueue(reference, number)
            self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]

    async def __aexit__(self, *_: object) -> None:
        for retry in self._retries:
            retry.cancel()
        for worker in self._workers:
            worker.cancel()
        try:
            await asyncio.gather(*self._workers, return_exceptions=True)
        finally:
            await super().__aexit__()

    # -- in ---------------------------------------------------------------------------------------

    async def receive(self, event: WebhookEvent) -> bool:
        """Store an event; returns once it is durable.

        Returns:
            ``False`` for a duplicate of one that is stored already.

        Raises:
            InvalidReferenceError: No file can hold the reference.
            ValueError: ``created_at`` has no time zone (in an event made by hand), or none that UTC can tell.
            JournalError: It could not be stored: let the service deliver it again.
        """
        created = None if event.created_at is None else instant("created_at", event.created_at)
        reference = None if event.external_reference is None else storable(event.external_reference)
        values = (
            *(_identity(event), reference, RANKS.get(event.evento.lower(), 0)),
            *(created, now(), json.dumps(_payload(event))),
        )
        query = """INSERT OR IGNORE INTO events
            (meaning, external_reference, rank, created_at, received_at, payload)
            VALUES (?, ?, ?, ?, ?, ?) RETURNING id"""
        stored = self._storage.run(
            lambda connection: connection.execute(query, values).fetchone(), reference or event.evento
        )
        # By callback: whoever gives up waiting here must not keep a stored event from its handler.
        stored.add_done_callback(lambda _: self._stored(event, stored))
        return await asyncio.shield(stored) is not None

    def _stored(self, event: WebhookEvent, stored: asyncio.Future[tuple[int] | None]) -> None:
        if stored.cancelled() or stored.exception() is not None:
            return
        row = stored.result()
        self._tell(event, duplicate=row is None)
        if row is None:
            return
        if self._handler is not None:
            self._enqueue(event.external_reference or "", row[0])
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):
                logger.exception("a listener of the inbox failed")

    def _tell(self, event: WebhookEvent, *, duplicate: bool) -> None:
        if self._observers.on_webhook is not None:
            self._observers.on_webhook(
                WebhookReceived(
                    evento=event.evento,
                    recurso=event.recurso,
                    external_reference=event.external_reference,
                    hook_id=event.hook_id,
                    intento=event.intento,
                    created_at=event.created_at,
                    duplicate=duplicate,
                )
            )

    # -- out --------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Wait until every event received so far is handled."""
        await self._idle.wait()

    def subscribe(self, listener: Callable[[WebhookEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every new event, once it is durable; returns how to end that.

        Raises:
            TypeError: ``listener`` is an async function, which nobody would await.
        """
        check_listener(listener)
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    # -- handling ---------------------------------------------------------------------------------

    def _enqueue(self, reference: str, number: int) -> None:
        self._unhandled += 1
        self._idle.clear()
        if self._lanes.enter(reference, number):
            self._ready.put_nowait((reference, number, _FIRST_RETRY))

    async def _work(self) -> None:
        while True:
            reference, number, retry = await self._ready.get()
            if await self._handle(number):
                self._unhandled -= 1
                if not self._unhandled:
                    self._idle.set()
                following = self._lanes.leave(reference)
                if following is not None:
                    self._ready.put_nowait((reference, following, _FIRST_RETRY))
            else:
                self._later(retry, (reference, number, min(2 * retry, _LAST_RETRY)))

    def _later(self, seconds: float, item: tuple[str, int, float]) -> None:
        def again() -> None:
            self._retries.discard(timer)
            self._ready.put_nowait(item)

        timer = asyncio.get_running_loop().call_later(seconds, again)
        self._retries.add(timer)

    async def _handle(self, number: int) -> bool:
        assert self._handler is not None  # noqa: S101 - workers run only where there is one
        query = "SELECT payload FROM events WHERE id=?"
        try:
            (payload,) = await self._storage.run(lambda c: c.execute(query, (number,)).fetchone())
            error = await call(self._handler, read_stored(number, payload))
            if error is None:
                await self._mark(number)
                return True
        except Exception as failure:  # noqa: BLE001 - nothing that goes wrong with one event ends a worker
            error = failure
        logger.error("the inbox's handler failed; it will be called again", exc_info=error)
        return False

    async def _mark(self, number: int) -> None:
        await self._storage.run(
            lambda c: c.execute("UPDATE events SET handled_at=? WHERE id=?", (now(), number))
        )


def check_listener(listener: object) -> None:
    """Refuse an async one: nobody would await it."""
    if inspect.iscoroutinefunction(listener):
        raise TypeError("listener must be a plain function; give an async one as the inbox's handler")


def _identity(event: WebhookEvent) -> str:
    """What tells an event from others: its reference, its kind and its ``creado``, which a redelivery keeps.

    ``hook_id`` would not do: nothing says that it is not one for each URL, and then a second ``error`` of one
    reference would be lost. Without a ``creado`` the payload itself tells them apart, less the counter.
    """
    about = (event.recurso, event.evento.lower(), event.external_reference or "")
    if event.creado:
        return _key(*about, event.creado)
    payload = {name: value for name, value in _payload(event).items() if name != "intento"}
    return _key(*about, json.dumps(payload, sort_keys=True))


def _payload(event: WebhookEvent) -> dict[str, Any]:
    """The payload as it came, or as it would have, for an event that was built by hand."""
    names = ("creado", "evento", "recurso", "external_reference", "intento", "hook_id")
    return dict(event.raw) or {**{name: getattr(event, name) for name in names}, "msg": list(event.msg)}


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
