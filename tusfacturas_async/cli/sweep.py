"""``tusfacturas reprocess``: re-sends, shows the progress, prints what became of each reference."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..client import BASE_URL, AsyncClient
from ..models import Credentials
from ..results import BatchReport, Outcome
from .rehearsal import Rehearsal

if TYPE_CHECKING:
    from collections.abc import Sequence

_STYLES = {Outcome.ACCEPTED: "green", Outcome.SKIPPED: "green", Outcome.UNKNOWN: "bold red"}


async def sweep(references: Sequence[str], *, sandbox: bool, concurrency: int, interval: float) -> int:
    """Re-send the references against the service or the sandbox; returns the exit status."""
    async with AsyncExitStack() as stack:
        rehearsal = None
        if sandbox:
            rehearsal = await stack.enter_async_context(Rehearsal(references))
            credentials, base_url = rehearsal.credentials, rehearsal.url
        else:
            credentials, base_url = Credentials.from_env(), BASE_URL
        client = await stack.enter_async_context(
            AsyncClient(credentials, base_url=base_url, max_concurrency=concurrency, min_interval=interval)
        )
        report = await _run(client, references)
        confirmed = None if rehearsal is None else await rehearsal.confirmed()
    _print(report, confirmed)
    done = report.counts.get(Outcome.ACCEPTED, 0) + report.counts.get(Outcome.SKIPPED, 0)
    return 0 if done == len(report.results) else 1


async def _run(client: AsyncClient, references: Sequence[str]) -> BatchReport:
    console = Console(stderr=True)
    columns = (TextColumn("re-sending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results = []
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("re-sending", total=len(references))
        async with client.reprocess_many(references) as batch:
            async for result in batch:
                results.append(result)
                progress.advance(task)
    return BatchReport(tuple(results))


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
            _plain(str(result.error or "")),
        )
    console.print(table)
    counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(report.counts.items()))
    told = "" if confirmed is None else f"; confirmed by webhook: {len(confirmed)}"
    console.print(f"{len(report.results)} references: {counts}; billed calls: {report.billed_calls}{told}")


def _plain(text: str) -> str:
    """Text from outside, its square brackets kept from meaning markup."""
    return text.replace("[", r"\[")
