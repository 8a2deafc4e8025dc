"""What ``--loop`` chooses: every event loop that this process makes afterwards is of that kind.

Only ``tests/virtual.py`` keeps its own selector, because its time is the point; its tasks start eagerly, too.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio import BaseEventLoop
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest


def _eager() -> None:
    """Tasks begin to run where they are created (Python 3.12 and later)."""
    if sys.version_info < (3, 12):
        raise pytest.UsageError("--loop=eager needs Python 3.12 or later")
    plain = BaseEventLoop.__init__

    def make(loop: BaseEventLoop, *arguments: Any) -> None:
        plain(loop, *arguments)
        loop.set_task_factory(asyncio.eager_task_factory)

    BaseEventLoop.__init__ = make


def _uvloop() -> None:
    """Loops of uvloop, not through a policy: Python 3.14 warns of policies.

    They resolve names as asyncio's do, by a function that a test can replace.
    """
    import uvloop  # noqa: PLC0415 - it is not there on Windows

    class Loop(uvloop.Loop):
        async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> Any:
            return await self.run_in_executor(None, partial(socket.getaddrinfo, host, port, **options))

    asyncio.events.new_event_loop = Loop


LOOPS: dict[str, Callable[[], None]] = {"plain": lambda: None, "eager": _eager, "uvloop": _uvloop}


def not_on_uvloop(why: str) -> None:
    """Skip the test of what is Python's own event loop's alone."""
    if not isinstance(asyncio.get_running_loop(), BaseEventLoop):
        pytest.skip(why)
