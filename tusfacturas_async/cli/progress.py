"""The progress of a sweep: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from .screen import Lenient, tell
from .texts import say, say_counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ..batch import Batch
    from .figures import Recorder
    from .story import Story

_EVERY: Final = 5.0
"""Seconds between two plain lines."""

_FRAME: Final = 0.2
"""Seconds between two states of the bar."""


@asynccontextmanager
async def shown(batch: Batch, story: Story, recorder: Recorder, *, quiet: bool) -> AsyncIterator[None]:
    """Show how far ``batch`` is, on standard error, from before its first result to this block's end.

    ``story`` counts what has ended, the repeats of the input as well; ``recorder`` knows why nothing moves.
    """
    if quiet:
        yield
        return
    bar = Lenient().isatty()
    showing = asyncio.create_task(_bar(batch, story, recorder) if bar else _lines(batch, story, recorder))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.wait([showing])


async def _bar(batch: Batch, story: Story, recorder: Recorder) -> None:
    columns = (
        BarColumn(bar_width=20),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.description}", table_column=Column()),  # what a narrow terminal breaks into lines
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(file=Lenient()), redirect_stdout=False) as bar:  # type: ignore[arg-type]
        task = bar.add_task("", total=story.given)

        def show() -> None:
            bar.update(task, completed=len(story.results), description=_told(batch, story, recorder, began))

        try:
            while True:
                show()
                await asyncio.sleep(_FRAME)
        finally:
            show()


async def _lines(batch: Batch, story: Story, recorder: Recorder) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(_EVERY)
        tell(f"{len(story.results)}/{story.given}; {_told(batch, story, recorder, began)}")


def _told(batch: Batch, story: Story, recorder: Recorder, began: float) -> str:
    """The rate, what ended how, what is on its way, and why nothing moves."""
    held_up = recorder.holding_up(datetime.now(UTC))
    now = batch.progress
    counts = say_counts(story.counts.items())
    return "; ".join(
        [
            f"{len(story.results) / max(time.monotonic() - began, 0.001):.1f}/s",
            *([counts] if counts else []),
            say("progress", flight=now.in_flight, billed=now.billed_calls),
            *(say(f"waits {reason}", seconds=seconds) for reason, seconds in held_up),
        ]
    )
