"""The user's handler: what may be one, and how it is called so that it ends nothing but itself. No I/O."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from .._cancellation import outlast
from .events import AnyWebhookEvent

Handler = Callable[[AnyWebhookEvent], Awaitable[object]]


def check_handler(handler: object) -> None:
    """Tell at once what would fail at each delivery: after 24 h of failures the service drops the URL.

    Raises:
        TypeError: It cannot be called, or is a plain function.
    """
    if not callable(handler):
        raise TypeError(f"handler must be an async function, not {type(handler).__name__}")
    layers = list(_layers(handler))
    asynchronous = any(inspect.iscoroutinefunction(layer) or _is_marked(layer) for layer in layers)
    # What is not written in Python shows at its first call.
    if not asynchronous and _is_written_in_python(layers[-1]):
        name = getattr(handler, "__qualname__", type(handler).__name__)
        raise TypeError(f"handler must be an async function, and {name} is not: write it with 'async def'")


def _layers(handler: Any) -> Iterator[Any]:
    """The handler, what it is a partial of or what it decorates, and how an object is called."""
    while True:
        yield handler
        if isinstance(handler, functools.partial):
            handler = handler.func
        elif hasattr(handler, "__wrapped__"):
            handler = handler.__wrapped__
        elif not inspect.isroutine(handler) and _is_written_in_python(type(handler).__call__):
            handler = type(handler).__call__
        else:
            return


def _is_marked(layer: Any) -> bool:
    """As mocks and asgiref mark what returns a coroutine, before ``inspect.markcoroutinefunction``."""
    return getattr(layer, "_is_coroutine", None) is not None


def _is_written_in_python(layer: Any) -> bool:
    return inspect.isfunction(getattr(layer, "__func__", layer))


async def call(
    handler: Handler, event: AnyWebhookEvent, *, time_limit: float | None = None
) -> BaseException | None:
    """Call a handler in a task of its own, and wait until it has ended.

    So a ``CancelledError`` of its own making, and any other way to end, is its failure and not ours. When
    *we* are cancelled it is cancelled, once, and awaited, however often that is repeated meanwhile: a
    cancelled scope of anyio repeats it at each turn of the loop.

    Args:
        handler: The user's.
        event: What it is called with.
        time_limit: Seconds after which it is cancelled and awaited; ``None`` for no end.

    Returns:
        What it raised; ``None`` when it has returned.

    Raises:
        TimeoutError: ``time_limit`` was over; never the handler's own.
        KeyboardInterrupt, SystemExit: The handler's own.
    """
    running = asyncio.create_task(_run(handler, event))
    try:
        await asyncio.wait([running], timeout=time_limit)
    finally:
        late = not running.done()
        if late:
            running.cancel()
            await outlast(running)
    if late:
        raise TimeoutError
    return asyncio.CancelledError() if running.cancelled() else running.result()


async def _run(handler: Handler, event: AnyWebhookEvent) -> BaseException | None:
    try:
        answer = handler(event)
        if not inspect.isawaitable(answer):
            raise TypeError(f"the handler returned {type(answer).__name__}: it must be an async function")
        await answer
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whoever called decides what follows from it
        return error
    return None
