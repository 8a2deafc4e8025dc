"""``tusfacturas reprocess``: what is to be sent, the sending, and what is told of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from datetime import date
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen
from rich.console import Console

from ..client import AsyncClient
from ..errors import TusFacturasError
from ..journal import Journal
from ..models import ReprocessRequest, Voucher
from ..results import BatchReport, Outcome, ReprocessResult
from .connection import connect
from .outputs import open_outputs
from .progress import Display
from .references import UsageError, read_references
from .rehearsal import Rehearsal
from .report import write_report
from .table import print_results
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from ..batch import Batch

INTERRUPTED = 130


@frozen(kw_only=True)
class Options:
    """What the command line asks of a sweep."""

    file: str | None = None
    errored_since: date | None = None
    errored_until: date | None = None
    column: str = "external_reference"
    lane_columns: tuple[str, ...] = ()
    in_order: bool = False
    sandbox: bool = False
    journal: Path | None = None
    check_first: bool = False
    outputs: tuple[Path, ...] = ()
    report: Path | None = None
    concurrency: int = 10
    interval: float = 0.1
    wait_maintenance: float | None = None
    dry_run: bool = False
    yes: bool = False


@define
class Story:
    """What a run came to. ``interrupted``: by Ctrl-C; ``stopped_by``: by what concerns every voucher."""

    results: list[ReprocessResult] = field(factory=list)
    interrupted: bool = False
    stopped_by: TusFacturasError | None = None


async def sweep(options: Options) -> int:
    """Run one sweep; returns the exit status."""
    if (options.file is None) == (options.errored_since is None):
        raise UsageError(
            "name a file (or - for standard input), or give --errored-since DATE: one of the two"
        )
    if options.sandbox and options.file is None:
        raise UsageError("--sandbox needs a file: its sandbox is made of the references in it")
    async with AsyncExitStack() as stack:
        files = stack.enter_context(ExitStack())
        outputs = open_outputs(options.outputs, files)
        _writable(options.report)
        journal = None
        if options.journal is not None:
            journal = await stack.enter_async_context(Journal.open(options.journal))
        given = [] if options.file is None else _rows(options)
        limits = {"max_concurrency": options.concurrency, "min_interval": options.interval}
        rehearsal = None
        if options.sandbox:
            rehearsal = await stack.enter_async_context(Rehearsal(str(item) for item, _ in given))
            client = AsyncClient(rehearsal.credentials, base_url=rehearsal.url, **limits)  # type: ignore[arg-type]
        else:
            client = connect(**limits)
        await stack.enter_async_context(client)
        if options.errored_since is not None:
            found = client.errored(options.errored_since, options.errored_until)
            given = [(voucher, voucher.lane) async for voucher in found]
        if not given:
            print(say("nothing"))
            return 0
        if options.dry_run:
            return await _dry_run(client, given, options)
        if not options.sandbox and not options.yes and not _agreed(len(given)):
            print(say("declined"))
            return 0
        batch = client.reprocess_many(
            [item for item, _ in given],
            lane=_lanes(given, options),
            journal=journal,
            check_first=options.check_first,
            wait_maintenance=options.wait_maintenance,
        )
        story = await _run(batch, outputs)
        confirmed = None if rehearsal is None else await rehearsal.confirmed()
    return _tell(story, confirmed, len(given), options)


def _rows(options: Options) -> list[tuple[str | Voucher, Hashable]]:
    assert options.file is not None  # noqa: S101 - the caller has looked
    rows = read_references(options.file, options.column, options.lane_columns)
    return [(row.reference, row.lane) for row in rows]


def _lanes(given: Sequence[tuple[str | Voucher, Hashable]], options: Options) -> Callable[[Any], Hashable]:
    if options.in_order:
        return lambda _: "all"
    if options.errored_since is not None:
        return attrgetter("lane")
    return {item: lane for item, lane in given if isinstance(item, str)}.get


def _writable(path: Path | None) -> None:
    """Find out before anything is sent."""
    if path is not None:
        try:
            path.touch()
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from error


async def _dry_run(
    client: AsyncClient, given: Sequence[tuple[str | Voucher, Hashable]], options: Options
) -> int:
    """Tell what would be sent, with free lookups at most."""
    send = {ReprocessRequest.of(item).external_reference for item, _ in given}
    if options.check_first:
        found = await client.lookup(*sorted(send))
        send &= {voucher.external_reference or "" for voucher in found if voucher.errored}
    print(say("dry run", send=len(send), count=len(given)))
    return 0


def _agreed(count: int) -> bool:
    """Ask on a terminal; whoever runs it by a script has decided already."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)  # asyncio's would wait for the answer
    try:
        return input(say("ask", send=count)).strip().lower() in say("yes").split()
    except EOFError:
        return False
    finally:
        signal.signal(signal.SIGINT, ours)


async def _run(batch: Batch, outputs: Sequence[Callable[[ReprocessResult], None]]) -> Story:
    story = Story()

    async def take(display: Display | None = None) -> None:
        async for result in batch:
            story.results.append(result)
            for write in outputs:
                write(result)
            if display is not None:
                display.show(batch.progress)

    try:
        with Display() as display:
            async with batch:
                await take(display)
    except asyncio.CancelledError:  # Ctrl-C: the batch has let finish what was in flight
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - we run in one
        task.uncancel()
        story.interrupted = True
        try:
            await take()
        except TusFacturasError as error:
            story.stopped_by = error
    except TusFacturasError as error:
        story.stopped_by = error
    return story


def _tell(story: Story, confirmed: frozenset[str] | None, given: int, options: Options) -> int:
    report = BatchReport(tuple(story.results))
    print_results(report, confirmed)
    if options.report is not None:
        write_report(options.report, report)
    console = Console(stderr=True)
    if story.stopped_by is not None:
        console.print(say("stopped", why=story.stopped_by), style="red", markup=False, highlight=False)
    if story.interrupted:
        done = sum(map(well, report.results))
        unclear = report.counts.get(Outcome.UNKNOWN, 0)
        left = given - done - unclear
        console.print(
            say("interrupted", done=done, left=left, unclear=unclear), highlight=False, soft_wrap=True
        )
        again = "rerun without" if options.journal is None else "rerun with"
        console.print(say(again, journal=options.journal), markup=False, highlight=False, soft_wrap=True)
        return INTERRUPTED
    return 0 if story.stopped_by is None and all(map(well, report.results)) else 1


def well(result: ReprocessResult) -> bool:
    """Whether there is nothing left to do: accepted now or before, or not errored at the check."""
    return result.outcome is Outcome.ACCEPTED or (
        result.outcome is Outcome.SKIPPED and result.recorded in {None, Outcome.ACCEPTED, Outcome.SKIPPED}
    )
