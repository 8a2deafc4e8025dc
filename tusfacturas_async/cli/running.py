"""The running of a batch: results written as they end, signals heeded, nothing lost on the way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import TusFacturasError
from .progress import shown
from .screen import tell
from .signals import first_of
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..batch import Batch
    from ..results import ReprocessResult
    from .signals import Interruption
    from .story import Story


async def run(
    batch: Batch,
    story: Story,
    noted: Interruption,
    writers: Sequence[Callable[[ReprocessResult], None]],
    *,
    quiet: bool,
) -> None:
    """Run ``batch`` to its end, or to its orderly end at the first signal; at the second, leave it running.

    What became of it is in ``story``, results in the order in which they ended, each handed to ``writers`` at
    once.
    """
    leave = asyncio.Event()

    async def send() -> None:
        async with batch:
            await leave.wait()  # leaving lets finish what is in flight

    async def take() -> None:
        async for result in batch:
            story.results.append(result)
            for write in writers:
                write(result)

    async def both() -> None:
        sending = asyncio.create_task(send())
        await asyncio.sleep(0)  # entered: now there is something to take
        taking = asyncio.create_task(take())
        taking.add_done_callback(lambda _: leave.set())
        noticing = asyncio.create_task(_stop(batch, noted, leave))
        told = await asyncio.gather(taking, sending, return_exceptions=True)
        noticing.cancel()
        for failure in told:
            if isinstance(failure, TusFacturasError):
                story.stopped_by = story.stopped_by or failure
            elif failure is not None:
                raise failure

    running = asyncio.ensure_future(both())
    async with shown(batch, quiet=quiet):
        await first_of(running, noted.twice)
    story.signal = noted.number
    story.billed_calls = batch.progress.billed_calls
    if running.done():
        running.result()
    else:
        story.in_flight = batch.progress.in_flight


async def _stop(batch: Batch, noted: Interruption, leave: asyncio.Event) -> None:
    await noted.once.wait()
    tell(say("stopping", count=batch.progress.in_flight))
    leave.set()
