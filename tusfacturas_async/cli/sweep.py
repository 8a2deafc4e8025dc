"""``tusfacturas reprocess``: re-sends, shows the progress, prints what became of each reference."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..client import BASE_URL, AsyncClient
from ..errors import TusFacturasError
from ..journal import Journal
from ..models import Credentials
from ..results import BatchReport, Outcome, ReprocessResult
from .rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..batch import Batch
    from .references import Row

_STYLES = {Outcome.ACCEPTED: "green", Outcome.SKIPPED: "green", Outcome.UNKNOWN: "bold red"}


@frozen(kw_only=True)
class Options:
    """What the command line asks of a sweep."""

    sandbox: bool
    journal: Path | None
    check_first: bool
    concurrency: int
    interval: float


async def sweep(rows: Sequence[Row], options: Options) -> int:
    """Re-send the rows against the service or the sandbox; returns the exit status."""
    async with AsyncExitStack() as stack:
        journal = None
        if options.journal is not None:
            journal = await stack.enter_async_context(Journal.open(options.journal))
        rehearsal = None
        if options.sandbox:
            rehearsal = await stack.enter_async_context(Rehearsal(row.reference for row in rows))
            credentials, base_url = rehearsal.credentials, rehearsal.url
        else:
            credentials, base_url = Credentials.from_env(), BASE_URL
        client = await stack.enter_async_context(
            AsyncClient(
                credentials,
                base_url=base_url,
                max_concurrency=options.concurrency,
                min_interval=options.interval,
            )
        )
        lanes = {row.reference: row.lane for row in rows}
        batch = client.reprocess_many(
            [row.reference for row in rows],
            lane=lanes.get,
            journal=journal,
            check_first=options.check_first,
        )
        report, stopped_by = await _run(batch)
        confirmed = None if rehearsal is None else await rehearsal.confirmed()
    _print(report, confirmed)
    if stopped_by is not None:
        Console(stderr=True).print(f"stopped: {stopped_by}", style="red", markup=False, highlight=False)
    return 0 if stopped_by is None and all(map(_well, report.results)) else 1


async def _run(batch: Batch) -> tuple[BatchReport, TusFacturasError | None]:
    """The results, and what stopped the batch before its end."""
    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    results: list[ReprocessResult] = []
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as display:
            task = display.add_task("", total=batch.progress.total)
            async with batch:
                async for result in batch:
                    results.append(result)
                    now = batch.progress
                    counts = ", ".join(f"{count} {outcome}" for outcome, count in now.done.items())
                    told = f"{counts}; in flight: {now.in_flight}; billed: {now.billed_calls}"
                    display.update(task, completed=len(results), description=told)
    except TusFacturasError as error:
        return BatchReport(tuple(results)), error
    return BatchReport(tuple(results)), None


def _well(result: ReprocessResult) -> bool:
    """Whether there is nothing left to do: accepted now or before, or not errored at the check."""
    return result.outcome is Outcome.ACCEPTED or (
        result.outcome is Outcome.SKIPPED and result.recorded in {None, Outcome.ACCEPTED, Outcome.SKIPPED}
    )


def _print(report: BatchReport, confirmed: frozenset[str] | None) -> None:
    console = Console()
    table = Table(title="What became of each reference")
    for name in ("external_reference", "outcome", "told by", "billed", "webhook", "why"):
        table.add_column(name, overflow="fold")
    for result in report.results:
        webhook = "" if confirmed is None else "encolado" if result.external_reference in confirmed else "-"
        table.add_row(
            _plain(result.external_reference),
            f"[{_STYLES.get(result.outcome, 'yellow')}]{result.outcome}[/]",
            result.settled_by or "-",
            str(result.billed_calls),
            webhook,
            _plain(_why(result)),
        )
    console.print(table)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items()))
    told = "" if confirmed is None else f"; confirmed by webhook: {len(confirmed)}"
    billed = f"billed calls: {report.billed_calls}"
    if report.saved_calls:
        billed += f" (saved by the check: {report.saved_calls})"
    console.print(f"{len(report.results)} references: {counts}; {billed}{told}", soft_wrap=True)


def _why(result: ReprocessResult) -> str:
    if result.error is not None:
        return str(result.error)
    if result.recorded is not None:
        return f"{result.recorded} in the journal"
    return "" if result.voucher is None else str(result.voucher.status)


def _plain(text: str) -> str:
    """Text from outside, its square brackets kept from meaning markup."""
    return text.replace("[", r"\[")
