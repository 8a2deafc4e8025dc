"""Being cancelled: whether it is meant for us, and finishing in spite of it where anyio is in use.

asyncio cancels a task once for each ``cancel()``. anyio's scopes (and Starlette's streamed responses, which
are made of them) cancel again at every turn of the event loop until the scope is left: whoever finishes
something first would take that for a second and a third cancellation, and the loop would spin meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any


def shelter() -> AbstractContextManager[object]:
    """``with`` it around the awaits that must come to their end: a cancelled scope of anyio waits outside.

    It is taken up again when the block is left. asyncio's own ``cancel()`` comes through. Nothing is
    imported: where nobody has loaded anyio, nobody can be in one of its scopes.
    """
    scope = getattr(sys.modules.get("anyio"), "CancelScope", None)
    return nullcontext() if scope is None else scope(shield=True)


async def outlast(work: asyncio.Future[Any], heard: Callable[[], object] = lambda: None) -> None:
    """Wait until ``work`` has ended, whatever cancels us meanwhile, which is raised then.

    Args:
        work: It is not cancelled with us, and its result is its own.
        heard: Called at each cancellation.
    """
    cancelled: asyncio.CancelledError | None = None
    with shelter():
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                cancelled = error
                heard()
    if cancelled is not None:
        raise cancelled


def is_cancellation(error: BaseException) -> bool:
    """Whether somebody cancels this task; a ``CancelledError`` of another's own making is a failure."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)
