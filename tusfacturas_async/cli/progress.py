"""The progress of a sweep: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .screen import Lenient, tell
from .texts import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..batch import Batch
    from ..results import Progress as BatchProgress

_EVERY: Final = 5.0
"""Seconds between two plain lines."""

_FRAME: Final = 0.2
"""Seconds between two states of the bar."""


@asynccontextmanager
async def shown(batch: Batch, *, quiet: bool) -> AsyncIterator[None]:
    """Show how far ``batch`` is, on standard error, from before its first result to this block's end."""
    if quiet:
        yield
        return
    bar = Lenient().isatty()
    showing = asyncio.create_task(_bar(batch) if bar else _lines(batch))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


async def _bar(batch: Batch) -> None:
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    began = time.monotonic()
    with Progress(*columns, console=Console(file=Lenient()), redirect_stdout=False) as bar:  # type: ignore[arg-type]
        task = bar.add_task("", total=None)

        def show() -> None:
            now = batch.progress
            told = f"{_rate(now, began)}; {_counts(now)}"
            bar.update(task, completed=sum(now.done.values()), total=now.total, description=told)

        try:
            while True:
                show()
                await asyncio.sleep(_FRAME)
        finally:
            show()


async def _lines(batch: Batch) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(_EVERY)
        now = batch.progress
        tell(f"{sum(now.done.values())}/{now.total or '?'}; {_rate(now, began)}; {_counts(now)}")


def _rate(now: BatchProgress, began: float) -> str:
    return f"{sum(now.done.values()) / max(time.monotonic() - began, 0.001):.1f}/s"


def _counts(now: BatchProgress) -> str:
    counts = [f"{count} {say(outcome, count=count)}" for outcome, count in now.done.items()]
    return "; ".join(
        [
            *([", ".join(counts)] if counts else []),
            say("progress", flight=now.in_flight, billed=now.billed_calls),
        ]
    )
