"""Processes that a test kills over and over: forked from one that has imported everything.

So they die at their work and hardly ever while they start, and the machine is not busy with imports.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine
from multiprocessing.process import BaseProcess
from typing import Any

_AT_WORK = ("tests.test_crash", "tests.test_inbox_crash")
"""The modules whose workers these are; all, as the first worker decides what the common parent imports."""


def start(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> BaseProcess:
    """A process that runs ``work(*arguments)`` of one of these modules on an event loop of its own."""
    assert work.__module__ in _AT_WORK
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_AT_WORK])
    process = context.Process(target=_run, args=(work, *arguments), daemon=True)
    process.start()
    return process


async def end(process: BaseProcess) -> None:
    """SIGKILL, and wait until it is dead."""
    process.kill()
    await asyncio.to_thread(process.join)


def _run(work: Callable[..., Coroutine[Any, Any, None]], *arguments: Any) -> None:
    asyncio.run(work(*arguments))
