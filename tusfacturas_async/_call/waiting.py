"""Waiting that ends also where a test has stopped the clock."""

from __future__ import annotations

import asyncio
import time
from types import BuiltinFunctionType


def clock_is_replaced() -> bool:
    """Whether somebody stands in for Python's monotonic clock, as freezegun does.

    The event loop reads that clock: where it stands still, no timer of the loop ever fires.
    """
    return not isinstance(time.monotonic, BuiltinFunctionType)


async def sleep(seconds: float) -> None:
    """Sleep so many seconds of the event loop, or, where the clock is replaced, of this machine."""
    if seconds > 0 and clock_is_replaced():
        await asyncio.to_thread(time.sleep, seconds)
    else:
        await asyncio.sleep(seconds)
