"""The table of outcomes, and in plain words what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..results import Outcome
from .texts import say

if TYPE_CHECKING:
    from ..results import BatchReport, ReprocessResult

_STYLES = {Outcome.ACCEPTED: "green", Outcome.SKIPPED: "green", Outcome.UNKNOWN: "bold red"}


def print_results(report: BatchReport, confirmed: frozenset[str] | None) -> None:
    """Print what became of each voucher. Texts from outside mean no markup."""
    console = Console()
    table = Table(title=say("title"))
    for name in (
        "reference",
        "outcome",
        "told by",
        "billed",
        *(("webhook",) if confirmed is not None else ()),
        "why",
    ):
        table.add_column(say(name), overflow="fold")
    for result in report.results:
        told = () if confirmed is None else ("encolado" if result.external_reference in confirmed else "-",)
        table.add_row(
            Text(result.external_reference),
            Text(say(result.outcome), _STYLES.get(result.outcome, "yellow")),
            result.settled_by or "-",
            str(result.billed_calls),
            *told,
            Text(why(result)),
        )
    console.print(table)
    for outcome, count in sorted(report.counts.items()):
        console.print(
            f"{count:>6} {say(outcome)}: {say(f'{outcome} means')}", highlight=False, soft_wrap=True
        )
    counts = ", ".join(f"{count} {say(outcome)}" for outcome, count in sorted(report.counts.items()))
    parts = [say("summary", count=len(report.results), counts=counts)]
    parts.append(say("billed calls", count=report.billed_calls))
    if report.saved_calls:
        parts.append(say("saved calls", count=report.saved_calls))
    if confirmed is not None:
        parts.append(say("confirmed", count=len(confirmed)))
    console.print("; ".join(parts), highlight=False, soft_wrap=True)


def why(result: ReprocessResult) -> str:
    """The reason of an outcome, in words."""
    if result.error is not None:
        return str(result.error)
    if result.recorded is not None:
        return say("in the journal", outcome=say(result.recorded))
    return "" if result.voucher is None else str(result.voucher.status)
