"""The running of a batch: results written as they end, signals heeded, nothing lost on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .screen import tell
from .signals import first_of
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from ..batch import Batch
    from ..results import ReprocessResult
    from .signals import Interruption
    from .story import Story


async def run(
    batch: Batch,
    story: Story,
    noted: Interruption,
    writers: Sequence[Callable[[ReprocessResult], None]],
    progress: AbstractAsyncContextManager[None],
) -> None:
    """Run ``batch`` to its end; stop it at the first signal; leave it running at the second.

    What became of it is in ``story``, results in the order in which they ended, each handed to ``writers`` at
    once; ``progress`` is shown meanwhile.
    """

    async def take() -> None:
        async with batch:
            async for result in batch:
                for told in story.take(result):
                    for write in writers:
                        write(told)

    running = asyncio.ensure_future(take())
    stopping = asyncio.create_task(_stop(batch, noted))
    async with progress:
        await first_of(running, noted.twice)
    stopping.cancel()
    # What has ended is neither in flight nor unsent: it is taken first.
    while not running.done() and story.taken < sum(batch.progress.done.values()):  # noqa: ASYNC110 - one turn
        await asyncio.sleep(0)
    story.billed_calls = batch.progress.billed_calls
    if running.done():
        story.stopped_by = running.exception()
    else:
        story.in_flight = batch.progress.in_flight


async def _stop(batch: Batch, noted: Interruption) -> None:
    await noted.once.wait()
    tell(say("stopping", count=batch.progress.in_flight))
    batch.stop()
