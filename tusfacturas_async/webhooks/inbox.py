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
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from .._lanes import Lanes
from .._storage import Storage
from ..instrumentation import Observer, WebhookReceived
from ..instrumentation.observers import Observers
from .events import AnyWebhookEvent, WebhookEvent, read_event
from .handlers import Handler, call, check_handler

if TYPE_CHECKING:
    import sqlite3

logger: logging.Logger = logging.getLogger(__name__)

_APPLICATION_ID: Final = 0x74666931  # "tfi1"

_SCHEMA: Final = (
    """CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        hook TEXT UNIQUE,              -- of earlier releases; not written any more
        meaning TEXT NOT NULL UNIQUE,  -- reference, event and creado
        external_reference TEXT,
        rank INTEGER NOT NULL,
        created_at TEXT,               -- UTC
        received_at TEXT NOT NULL,
        handled_at TEXT,
        payload TEXT NOT NULL
    )""",
    "CREATE INDEX by_reference ON events (external_reference)",
    "CREATE INDEX pending ON events (id) WHERE handled_at IS NULL",
)

_RANKS: Final = {"encolado": 1, "cambio_fecha": 2, "error": 3, "eliminado": 4, "emitido": 5}
"""Which event means more when two have the same second; an issued voucher stays issued."""

_FIRST_RETRY, _LAST_RETRY = 1.0, 300.0
"""Seconds before a failed handler is called again: doubled from the first to the last."""


class Inbox:
    """A file of events: ``async with Inbox.open(path, handler) as inbox``.

    Give ``inbox.receive`` to a ``WebhookReceiver``. Each event is stored once, durably, before the service
    is told; then ``handler`` is called in the background, one event of a reference at a time, and again until
    it returns. Once its return is recorded it is never called again for that event. (A crash between the
    return and the record repeats it: make the handler idempotent, as for every at-least-once delivery.)

    Leaving the block cancels handlers that are running; they are called again at the next opening.

    A duplicate is the same event of the same reference with the same ``creado``; where that is missing, with
    the same payload, less its counter.

    Raises:
        TypeError: ``handler`` is no async function.
        ValueError: ``concurrency`` is not 1 or more.

    Raises (on entering):
        JournalError: The file cannot be opened or written, is not an inbox, is corrupt, or in use.
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
        self._storage = Storage(path, kind="inbox", application_id=_APPLICATION_ID, schema=_SCHEMA)
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

    async def __aenter__(self) -> Self:
        await self._storage.open()
        self._idle.set()
        if self._handler is not None:
            query = (
                "SELECT coalesce(external_reference, ''), id FROM events WHERE handled_at IS NULL ORDER BY id"
            )
            for reference, number in await self._storage.run(lambda c: c.execute(query).fetchall()):
                self._enqueue(reference, number)
            self._workers = [asyncio.create_task(self._work()) for _ in range(self._concurrency)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for retry in self._retries:
            retry.cancel()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await self._storage.aclose()

    # -- in ---------------------------------------------------------------------------------------

    async def receive(self, event: WebhookEvent) -> bool:
        """Store an event; returns once it is durable.

        Returns:
            ``False`` for a duplicate of one that is stored already.

        Raises:
            JournalError: It could not be stored: let the service deliver it again.
        """
        created = None if event.created_at is None else event.created_at.astimezone(UTC).isoformat()
        values = (
            *(_identity(event), event.external_reference, _RANKS.get(event.evento.lower(), 0)),
            *(created, _now(), json.dumps(_payload(event))),
        )
        query = """INSERT OR IGNORE INTO events
            (meaning, external_reference, rank, created_at, received_at, payload)
            VALUES (?, ?, ?, ?, ?, ?) RETURNING id"""
        stored = self._storage.run(lambda connection: connection.execute(query, values).fetchone())
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

    async def state(self, reference: str) -> AnyWebhookEvent | None:
        """The event that tells where a voucher stands, or ``None`` when none was received.

        That is the latest by ``creado``, not by arrival: a late ``encolado`` changes nothing. A re-send moves
        ``error`` back to ``encolado``, since its event is later; ``emitido`` stays.
        """
        query = """SELECT payload FROM events WHERE external_reference=? AND rank > 0
            ORDER BY rank=5 DESC, created_at DESC, rank DESC, id DESC LIMIT 1"""
        found = await self._storage.run(lambda c: c.execute(query, (reference,)).fetchone())
        return None if found is None else read_event(json.loads(found[0]))

    async def states(self) -> AsyncIterator[AnyWebhookEvent]:
        """The ``state`` of every voucher, by reference."""
        query = """SELECT DISTINCT external_reference FROM events
            WHERE external_reference > ? AND rank > 0 ORDER BY external_reference LIMIT 500"""
        last = ""

        def read(connection: sqlite3.Connection) -> list[str]:
            return [reference for (reference,) in connection.execute(query, (last,))]

        while page := await self._storage.run(read):
            for reference in page:
                state = await self.state(reference)
                assert state is not None  # noqa: S101 - the query has found it
                yield state
            last = page[-1]

    async def drain(self) -> None:
        """Wait until every event received so far is handled."""
        await self._idle.wait()

    def subscribe(self, listener: Callable[[WebhookEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every new event, once it is durable; returns how to end that.

        Raises:
            TypeError: ``listener`` is an async function, which nobody would await.
        """
        if inspect.iscoroutinefunction(listener):
            raise TypeError("listener must be a plain function; give an async one as the inbox's handler")
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
            error = await call(self._handler, read_event(json.loads(payload)))
            if error is None:
                await self._mark(number)
                return True
        except Exception as failure:  # noqa: BLE001 - nothing that goes wrong with one event ends a worker
            error = failure
        logger.error("the inbox's handler failed; it will be called again", exc_info=error)
        return False

    async def _mark(self, number: int) -> None:
        await self._storage.run(
            lambda c: c.execute("UPDATE events SET handled_at=? WHERE id=?", (_now(), number))
        )


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


def _now() -> str:
    return datetime.now(UTC).isoformat()
