"""The kind of event loop that ``--loop`` chose is the one that runs the tests, and what the tests run."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests import virtual


async def kind() -> str:
    """``plain``, ``eager`` or ``uvloop``, told by how the running loop behaves."""
    begun = []

    async def begin() -> None:
        begun.append(True)

    task = asyncio.get_running_loop().create_task(begin())
    eager = bool(begun)
    await task
    if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        return "uvloop"
    return "eager" if eager else "plain"


async def test_async_tests_run_on_it(pytestconfig: pytest.Config) -> None:
    """pytest-asyncio's loop."""
    assert await kind() == pytestconfig.getoption("loop")


def test_what_makes_its_own_loop_gets_it(pytestconfig: pytest.Config) -> None:
    """``asyncio.run``, as the command line does; virtual time knows the tasks' kind alone."""
    chosen = pytestconfig.getoption("loop")
    assert asyncio.run(kind()) == chosen
    assert virtual.run(kind()) == ("eager" if chosen == "eager" else "plain")


async def test_debug_mode_is_on_where_it_was_asked_for() -> None:
    """``-X dev`` reaches the workers of pytest-xdist, and the loop."""
    assert asyncio.get_running_loop().get_debug() == sys.flags.dev_mode
