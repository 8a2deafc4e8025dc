"""Ctrl-C, SIGTERM and SIGHUP: once lets what is in flight finish, twice ends at once.

It knows no vouchers: whoever waits says what is to be stopped.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .status import ended_by

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from types import FrameType

T = TypeVar("T")

SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class SignalledError(Exception):
    """Ctrl-C, or a signal that means the same. No ``KeyboardInterrupt``: tasks and loops pass it on untold.

    Attributes:
        number: Which signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Interruption:
    """How often this process was told to end, and by what.

    Attributes:
        number: The first signal's, or ``None``.
        once: Set by the first: start nothing new.
        twice: Set by the second: end at once.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self.once: asyncio.Event = asyncio.Event()
        self.twice: asyncio.Event = asyncio.Event()

    def tell(self, number: int) -> None:
        """Note one signal."""
        if self.number is None:
            self.number = number
            self.once.set()
        else:
            self.twice.set()


@contextmanager
def noticing() -> Iterator[Interruption]:
    """Signals are noted, and end nothing by themselves, in this block of the event loop."""
    noted = Interruption()
    with _handling(noted.tell, in_loop=True):
        yield noted


@contextmanager
def raising() -> Iterator[None]:
    """Signals raise ``SignalledError`` in this block: it waits for a person, and the loop with it."""

    def interrupt(number: int) -> None:
        raise SignalledError(number)

    with _handling(interrupt, in_loop=False):
        yield


@contextmanager
def _handling(react: Callable[[int], None], *, in_loop: bool) -> Iterator[None]:
    """``react`` to each signal that nobody has told this process to ignore (``nohup`` does)."""
    loop = asyncio.get_running_loop()

    def handler(number: int, _: FrameType | None) -> None:
        if in_loop:  # a signal alone does not wake a loop that sleeps
            loop.call_soon_threadsafe(react, number)
        else:
            react(number)

    heeded = [number for number in SIGNALS if signal.getsignal(number) not in {signal.SIG_IGN, None}]
    before = {number: signal.signal(number, handler) for number in heeded}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


async def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """Run a command that has nothing to let finish: the first signal cancels it, the second ends the process.

    Raises:
        SignalledError: A signal came.
    """
    with noticing() as noted:
        running = asyncio.ensure_future(work)
        await first_of(running, noted.once)
        if not running.done():
            running.cancel()
            await first_of(running, noted.twice)
        if not running.done():
            end_at_once(noted)
        if noted.number is not None:
            raise SignalledError(noted.number)
        return running.result()


async def first_of(running: asyncio.Future[Any], event: asyncio.Event) -> None:
    """Wait until ``running`` has ended, or ``event`` is set; neither is touched."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()


async def unless(work: Coroutine[Any, Any, T], event: asyncio.Event) -> T | None:
    """What ``work`` returns; ``None`` where ``event`` is set first, which cancels it."""
    running = asyncio.ensure_future(work)
    await first_of(running, event)
    if running.done():
        return running.result()
    running.cancel()
    return None


def end_at_once(noted: Interruption) -> None:
    """End this process without waiting for anything; what it had to say must have been said."""
    assert noted.number is not None  # noqa: S101 - a signal asked for it
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader may be gone
            stream.flush()
    os._exit(ended_by(noted.number))
