"""``PostgresInbox``: events kept once, in the fleet's PostgreSQL, so that any process may receive them.

It settles the row that an event confirms, and tells the process that is sending it. It calls no handler: what
is to be done with an event is a job for Procrastinate.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from .._storage.values import instant, storable
from ..errors import JournalError
from ..webhooks.events import read_event
from ..webhooks.keeping import Kept, Listeners
from .journal import settle
from .lease import boot_time
from .store import ATTEMPT, Store, fetch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from ..webhooks import AnyWebhookEvent, WebhookEvent
    from .store import Connection

logger: logging.Logger = logging.getLogger(__name__)

_CHANNEL = "tusfacturas_event"

_AGAIN: Final = 1.0
"""Seconds before events are read again when PostgreSQL stayed away."""


class PostgresInbox:
    """Events in PostgreSQL: ``async with PostgresInbox.open(conninfo) as inbox``.

    Give ``inbox.receive`` to a ``WebhookReceiver`` in as many processes as you like, and the inbox to
    ``client.confirmations`` in those that send. A duplicate is what it is to an ``Inbox``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._listeners = Listeners()
        self._listening: asyncio.Task[None] | None = None
        self._subscribed_at = 0.0
        self._seen: int | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, conninfo: str) -> AsyncGenerator[PostgresInbox, None]:
        """An inbox in the fleet's schema, which has to be there.

        Raises:
            JournalError: PostgreSQL cannot be reached, or its schema is another version's.
        """
        store = Store(conninfo, patience=5.0)
        await store.open()
        inbox = cls(store)
        try:
            yield inbox
        finally:
            if inbox._listening is not None:
                inbox._listening.cancel()
                await asyncio.wait([inbox._listening])
            await store.aclose()

    async def receive(self, event: WebhookEvent, *, name: str | None = None) -> bool:
        """Store an event, and settle what it confirms; returns once both are durable.

        Args:
            event: Verified.
            name: The point of sale's whose webhook it is, where several may have the reference.

        Returns:
            ``False`` for a duplicate of one that is stored already.

        Raises:
            InvalidReferenceError: The reference has a lone surrogate (in an event made by hand).
            ValueError: ``created_at`` has no time zone (likewise).
            JournalError: It could not be stored: let the service deliver it again.
        """
        if event.created_at is not None:
            instant("created_at", event.created_at)
        reference = None if event.external_reference is None else storable(event.external_reference)
        values = {
            **Kept.of(event)._asdict(),
            "reference": None if reference is None or "\0" in reference else reference,  # no text has a NUL
            "created_at": event.created_at,
        }

        async def work(connection: Connection) -> bool:
            async with connection.transaction():
                await settle(connection, event, name)
                kept = await fetch(connection, "keep_event", values)  # last: who listens reads by number
                if kept:
                    await fetch(connection, "notify", {"channel": _CHANNEL, "payload": str(kept[0][0])})
            return bool(kept)

        return await self._store.run(work)

    async def state(self, reference: str) -> AnyWebhookEvent | None:
        """The event that tells where a voucher stands, or ``None``; as of an ``Inbox``."""
        found = await self._store.fetch("state", reference=reference)
        return read_event(json.loads(found[0][0])) if found else None

    async def states(self) -> AsyncIterator[AnyWebhookEvent]:
        """The ``state`` of every voucher, by reference."""
        after = ""
        while page := await self._store.fetch("states", after=after):
            for (reference,) in page:
                state = await self.state(reference)
                if state is not None:
                    yield state
            after = page[-1][0]

    def subscribe(self, listener: Callable[[WebhookEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every new event, whoever received it; returns how to end that.

        The first one hears of what came in the seconds before as well.

        Raises:
            TypeError: ``listener`` is an async function, which nobody would await.
        """
        unsubscribe = self._listeners.add(listener)
        if self._listening is None:
            self._subscribed_at = boot_time()
            self._listening = asyncio.create_task(self._listen())
        return unsubscribe

    async def _listen(self) -> None:
        async for _ in self._store.listen(_CHANNEL):
            await self._catch_up()

    async def _catch_up(self) -> None:
        while True:
            try:
                if self._seen is None:
                    ((self._seen,),) = await self._store.run(self._last_before)
                events = await self._store.fetch("events_after", after=self._seen)
            except JournalError as error:
                logger.warning("events cannot be read, they are read again soon: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            if not events:
                return
            for number, text in events:
                self._seen = number
                self._listeners.tell(read_event(json.loads(text)))

    async def _last_before(self, connection: Connection) -> list[tuple[Any, ...]]:
        """The last event from before anybody listened; an answer takes no longer than ``ATTEMPT``."""
        return await fetch(connection, "last_event", {"age": boot_time() - self._subscribed_at + ATTEMPT})
