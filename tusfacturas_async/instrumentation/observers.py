"""Who may observe, and the telling: in order, and whatever an observer does, nothing else changes."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from .events import (
    AttemptEnded,
    CallEnded,
    CoolDownStarted,
    LookupEnded,
    RequestStarted,
    WaitStarted,
    WebhookReceived,
)
from .logs import LoggingObserver

logger: logging.Logger = logging.getLogger(__name__)

E = TypeVar("E")
Hook: TypeAlias = Callable[[E], object] | None

HOOKS: Final = (
    *("on_start", "on_attempt", "on_wait", "on_lookup", "on_result", "on_cool_down", "on_webhook"),
)


class ObservesStarts(Protocol):
    """Is told when a request is about to leave."""

    def on_start(self, event: RequestStarted, /) -> object:
        """A request has its slot."""


class ObservesAttempts(Protocol):
    """Is told of each billed request."""

    def on_attempt(self, event: AttemptEnded, /) -> object:
        """A billed request came to its end."""


class ObservesWaits(Protocol):
    """Is told before a call waits to try again."""

    def on_wait(self, event: WaitStarted, /) -> object:
        """A call waits."""


class ObservesLookups(Protocol):
    """Is told of each free lookup's request."""

    def on_lookup(self, event: LookupEnded, /) -> object:
        """A lookup's request came to its end."""


class ObservesResults(Protocol):
    """Is told of each reference's end."""

    def on_result(self, event: CallEnded, /) -> object:
        """A reference came to its end."""


class ObservesCoolDowns(Protocol):
    """Is told when nothing is sent for a while."""

    def on_cool_down(self, event: CoolDownStarted, /) -> object:
        """A cool-down or a maintenance begins."""


class ObservesWebhooks(Protocol):
    """Is told of each event that an inbox receives."""

    def on_webhook(self, event: WebhookReceived, /) -> object:
        """An inbox has received an event."""


Observer: TypeAlias = (
    ObservesStarts
    | ObservesAttempts
    | ObservesWaits
    | ObservesLookups
    | ObservesResults
    | ObservesCoolDowns
    | ObservesWebhooks
)
"""Any object with some of these methods. They are plain functions, called on the event loop: be quick."""


class Observers:
    """Tells observers, in their order.

    A hook that nobody has is ``None``: who tells asks that first, so that no event is made for nobody::

        if observers.on_attempt is not None:
            observers.on_attempt(AttemptEnded(...))

    Args:
        observers: Objects with some of ``HOOKS``.

    Raises:
        TypeError: One has none of them, or one that is asynchronous; or they are not several.
    """

    __slots__ = ("_logs", *HOOKS)

    on_start: Hook[RequestStarted]
    on_attempt: Hook[AttemptEnded]
    on_wait: Hook[WaitStarted]
    on_lookup: Hook[LookupEnded]
    on_result: Hook[CallEnded]
    on_cool_down: Hook[CoolDownStarted]
    on_webhook: Hook[WebhookReceived]
    _logs: list[LoggingObserver] | None

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        if not isinstance(observers, Iterable):
            raise TypeError(f"observers= takes several, [{type(observers).__name__}(...)] for one")
        given = tuple(observers)
        for observer in given:
            _check(observer)
        for hook in HOOKS:
            setattr(self, hook, _fan_out([getattr(each, hook) for each in given if hasattr(each, hook)]))
        told = [each for each in given if hasattr(each, "on_result")]
        logs = [each for each in told if type(each) is LoggingObserver]
        self._logs = logs if len(logs) == len(told) else None

    @property
    def unread(self) -> bool:
        """Whether an end that is no failure would be told to logs alone, which nobody reads."""
        return self._logs is not None and all(log.unread for log in self._logs)


def _check(observer: object) -> None:
    if isinstance(observer, type):
        raise TypeError(f"an observer is an object, not the class {observer.__name__}: call it")
    hooks = [getattr(observer, hook) for hook in HOOKS if hasattr(observer, hook)]
    if not hooks:
        raise TypeError(f"{type(observer).__name__} is no observer: it has none of {', '.join(HOOKS)}")
    for hook in hooks:
        if not callable(hook) or _is_async(hook) or _is_async(type(hook).__call__):
            raise TypeError(f"{type(observer).__name__}: an observer's methods are functions, and not async")


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _fan_out(hooks: list[Callable[[Any], object]]) -> Callable[[Any], object] | None:
    if not hooks:
        return None

    def tell(event: object) -> None:
        for hook in hooks:
            try:
                hook(event)
            except (Exception, asyncio.CancelledError):  # it does not await: nobody has cancelled us here
                logger.exception("an observer failed; nothing else changes")

    return tell
