"""What every inbox does with an event, be it in a file or a table: what is kept, and who hears of it."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from .events import WebhookEvent

logger: logging.Logger = logging.getLogger(__name__)

_RANKS: Final = {"encolado": 1, "cambio_fecha": 2, "error": 3, "eliminado": 4, "emitido": 5}


class Kept(NamedTuple):
    """An event on its way into an inbox.

    Attributes:
        meaning: What tells it from others: its reference, its kind and its ``creado``, which a redelivery
            keeps. ``hook_id`` would not do: nothing says that it is not one for each URL, and then a second
            ``error`` of one reference would be lost. Without a ``creado`` the payload itself tells them
            apart, less the counter.
        rank: Which means more when two have the same second; an issued voucher stays issued.
        payload: As it came, or as it would have, for an event that was built by hand. JSON.
    """

    meaning: str
    rank: int
    payload: str

    @classmethod
    def of(cls, event: WebhookEvent) -> Kept:
        """What is kept of it."""
        evento, payload = event.evento.lower(), dict(event.raw) or _as_built(event)
        uncounted = {name: value for name, value in payload.items() if name != "intento"}
        parts = (event.recurso, evento, event.external_reference or "")
        about = json.dumps([*parts, event.creado or json.dumps(uncounted, sort_keys=True)])
        meaning = hashlib.sha256(about.encode()).hexdigest()[:32]
        return cls(meaning, _RANKS.get(evento, 0), json.dumps(payload))


def _as_built(event: WebhookEvent) -> dict[str, Any]:
    names = ("creado", "evento", "recurso", "external_reference", "intento", "hook_id")
    return {**{name: getattr(event, name) for name in names}, "msg": list(event.msg)}


class Listeners:
    """Who is told of each new event."""

    def __init__(self) -> None:
        self._listeners: set[Callable[[WebhookEvent], None]] = set()

    def add(self, listener: Callable[[WebhookEvent], None]) -> Callable[[], None]:
        """Tell it from now on; returns how to end that.

        Raises:
            TypeError: ``listener`` is an async function, which nobody would await.
        """
        if inspect.iscoroutinefunction(listener):
            raise TypeError("listener must be a plain function; give an async one as the inbox's handler")
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def tell(self, event: WebhookEvent) -> None:
        """Tell all, whatever one of them does."""
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except (Exception, CancelledError):  # the user's own: it awaits nothing that could be cancelled
                logger.exception("a listener of the inbox failed")
