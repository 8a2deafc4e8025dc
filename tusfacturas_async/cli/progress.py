"""The progress of a sweep: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .texts import say

if TYPE_CHECKING:
    from types import TracebackType

    from ..results import Progress as BatchProgress

_EVERY: Final = 5.0
"""Seconds between two plain lines."""


class Display:
    """Shows how far a batch is, on standard error."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._console = console
        self._task = self._bar.add_task("", total=None)
        self._started = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, now: BatchProgress) -> None:
        """Tell this progress; it costs next to nothing when it is not time yet."""
        clock = time.monotonic()
        if not self._console.is_terminal and clock - self._told < _EVERY:
            return
        self._told = clock
        done = sum(now.done.values())
        counts = ", ".join(f"{count} {say(outcome)}" for outcome, count in now.done.items())
        rate = done / max(clock - self._started, 0.001)
        told = f"{rate:.1f}/s; {counts}; {say('progress', flight=now.in_flight, billed=now.billed_calls)}"
        if self._console.is_terminal:
            self._bar.update(self._task, completed=done, total=now.total, description=told)
        else:
            self._console.print(f"{done}/{now.total or '?'}; {told}", soft_wrap=True, highlight=False)
