"""``tusfacturas reprocess``: what is to be sent, whether it may be, and what is told of it."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, nullcontext
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import TusFacturasError
from ..journal import Journal
from . import given as inputs
from .ask import agreed, cost, where
from .connection import Service
from .figures import Recorder
from .files import Replacement, keep_apart
from .outputs import ENDINGS, stream, writer
from .progress import shown
from .reasons import reason
from .rehearsal import Rehearsal
from .report import reporting
from .running import run
from .screen import put_line, tell
from .signals import end_at_once, noticing, unless
from .status import FINE, NOT_WRITTEN, SOME_NOT, UsageError, ended_by
from .story import Story, well
from .table import print_results
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..client import AsyncClient
    from ..results import BatchReport
    from .given import Given
    from .options import Options


async def sweep(options: Options) -> int:
    """Run one sweep; returns the exit status.

    Raises:
        UsageError: The options contradict each other, the input or a file is wrong: nothing was sent.
        TusFacturasError: What is errored could not be found out, or the journal cannot be used.
    """
    _check(options)
    given = None if options.file is None else await inputs.read(options)
    async with AsyncExitStack() as stack:
        rehearsal = None
        if options.sandbox:
            assert given is not None  # noqa: S101 - it has been checked
            rehearsal = await stack.enter_async_context(Rehearsal(given.references))
        service = Service.chosen() if rehearsal is None else rehearsal.service
        recorder = Recorder()
        client = await stack.enter_async_context(
            service.client(
                max_concurrency=options.concurrency,
                min_interval=options.interval,
                observers=(recorder,),  # what the log would say stands in the progress and the sums
            )
        )
        given = given or await inputs.errored(client, options, service.credentials.fingerprint)
        if not given.items:
            put_line(say("all well", path=options.file) if options.failed else say("nothing"))
            return FINE
        if not await _may_begin(client, service, given, options):
            return FINE
        reported = reporting(service, given, options, recorder)
        return await _send(client, given, options, rehearsal=rehearsal, recorder=recorder, reported=reported)


def _check(options: Options) -> None:
    """Refuse what cannot be meant, before anything is read or asked."""
    since, until = options.errored_since, options.until
    for wrong, why in (
        ((options.file is None) == (options.errored_since is None), "file or dates"),
        (options.sandbox and options.file is None, "sandbox needs"),
        (options.failed and options.file is None, "failed needs"),
        (until and not since, "until needs"),
        (options.in_order and options.lane_column, "order or lanes"),
        (since and until and until < since, "until first"),
    ):
        if wrong:
            raise UsageError(say(why))
    for path in options.outputs:
        if path.suffix not in ENDINGS:
            raise UsageError(say("ending", path=path))
    written = [("--output", path) for path in options.outputs]
    if options.report is not None:
        written.append(("--report", options.report))
    for option, value in (
        ("--concurrency", options.concurrency - 1),
        ("--interval", options.interval),
        ("--wait-maintenance", options.wait_maintenance or 0),
    ):
        if not 0 <= value < inf:
            raise UsageError(say("out of range", option=option))
    if options.file is None or not inputs.is_journal(options.file):
        keep_apart(options.file, written, options.journal)
    else:  # it may go on as the journal of this run
        keep_apart(None, written, options.journal)
        keep_apart(None, written, Path(options.file))


async def _may_begin(client: AsyncClient, service: Service, given: Given, options: Options) -> bool:
    """Whether to send: not in a dry run, and not before it is agreed where it is billed."""
    if options.sandbox and not options.dry_run:
        return True
    send = len(await inputs.to_send(client, given, options, service.credentials.fingerprint))
    costs = cost(send, maintenance=options.wait_maintenance is not None)
    if options.dry_run:
        put_line(say("dry run", send=send, count=given.total, cost=costs))
        return False
    if not send:
        return True  # the journal answers for all: nothing will be billed
    return agreed(f"{where(service)} {say('ask reprocess', count=send)}", costs, yes=options.yes)


async def _send(
    client: AsyncClient,
    given: Given,
    options: Options,
    *,
    rehearsal: Rehearsal | None,
    recorder: Recorder,
    reported: Callable[[BatchReport], str],
) -> int:
    story = Story(given.total, given.copies)
    confirmed = None
    opened = nullcontext() if options.journal is None else Journal.open(options.journal)
    with noticing() as noted:
        async with opened as journal:
            with ExitStack() as files:
                outputs = [files.enter_context(Replacement(path)) for path in options.outputs]
                report = None if options.report is None else files.enter_context(Replacement(options.report))
                batch = client.reprocess_many(
                    given.items,
                    lane=given.lane,
                    journal=journal,
                    check_first=options.check_first,
                    wait_maintenance=options.wait_maintenance,
                )
                writers = [writer(file) for file in outputs]
                if options.streams:
                    writers.append(stream(story))
                await run(batch, story, noted, writers, shown(batch, story, recorder, quiet=options.quiet))
                if rehearsal is not None:
                    confirmed = await unless(rehearsal.confirmed(), noted.once)
                if report is not None:
                    report.write(reported(story.report))
                    outputs.append(report)
            story.not_written += [file.failure for file in outputs if file.failure is not None]
            story.signal = noted.number
            status = _tell(story, confirmed, options)
            if noted.twice.is_set():
                end_at_once(noted)  # the journal's rows stay "sending": the next run looks them up
    if story.stopped_by is not None and not isinstance(story.stopped_by, TusFacturasError):
        raise story.stopped_by
    return status


def _tell(story: Story, confirmed: frozenset[str] | None, options: Options) -> int:
    print_results(story, confirmed, quiet=options.quiet, json=options.streams, kept=bool(options.outputs))
    for why in story.not_written:
        tell(why, "red")
    if story.stopped_by is not None:
        tell(say("stopped", why=reason(story.stopped_by)), "red")
    if story.signal is not None:
        _tell_interruption(story, options)
        return ended_by(story.signal)
    if story.not_written:
        return NOT_WRITTEN
    return FINE if story.stopped_by is None and all(map(well, story.results)) else SOME_NOT


def _tell_interruption(story: Story, options: Options) -> None:
    parts = ", ".join(say(kind, count=count) for kind, count in story.reckoning().items())
    tell(say("interrupted", parts=parts, count=story.given))
    if story.in_flight:
        tell(say("in flight means"))
    tell(say("rerun without" if options.journal is None else "rerun with", journal=options.journal))
