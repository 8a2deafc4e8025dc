"""What became of each voucher: a table for a person, tab-separated lines for a program, and the sums."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..results import Outcome
from .reasons import reason
from .screen import Lenient, OutputLostError, put, rendered, tell, terminal
from .story import well
from .texts import say, say_counts
from .visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..results import BatchReport, ReprocessResult
    from .story import Story

_STYLES: Final = {Outcome.ACCEPTED: "green", Outcome.SKIPPED: "green", Outcome.UNKNOWN: "bold red"}
_SHOWN: Final = 60
"""Rows of a table up to which a person is shown those, too, that ended well or were not begun."""


def print_results(
    story: Story, confirmed: frozenset[str] | None, *, quiet: bool, json: bool, kept: bool
) -> None:
    """Print what became of each voucher; a standard output that takes no more is noted in ``story``.

    Args:
        story: The run.
        confirmed: The references whose webhook came; ``None`` where none is waited for.
        quiet: The sums alone.
        json: Standard output has every result already: the sums go to standard error.
        kept: Whether a file has every result.
    """
    person = terminal(sys.stdout) and not json
    sums = _sums(story, confirmed)
    lines = "" if quiet else "".join(map(separated, _rows(story.results, confirmed)))
    if json:
        text = ""
    elif person:
        table = () if quiet else _table(story, confirmed, kept=kept)
        text = rendered(Group(*table), sys.stdout) + rendered(Text(sums), sys.stdout, soft_wrap=True)
    else:
        text = lines
    try:
        put(text)
    except OutputLostError as error:
        story.lost = error.why
    if story.lost is not None:
        story.not_written.append(say("not shown", why=story.lost))
        Lenient().write(text or lines)
    if not person:
        tell(sums)


def separated(values: Iterable[object]) -> str:
    """One line of values between tabs, which no value contains."""
    return "\t".join("" if value is None else visible(value) for value in values) + "\n"


def _rows(
    results: Iterable[ReprocessResult], confirmed: frozenset[str] | None
) -> Iterable[tuple[object, ...]]:
    for result in results:
        told = () if confirmed is None else (_told(result, confirmed),)
        yield (
            *(result.external_reference, result.outcome, result.settled_by or "-", result.billed_calls),
            *(*told, why(result)),
        )


def _table(story: Story, confirmed: frozenset[str] | None, *, kept: bool) -> Iterable[Table | Text]:
    results = story.results
    if len(results) > _SHOWN:
        results = [each for each in results if not well(each) and each.outcome is not Outcome.HELD]
    if results:
        table = Table(title=say("title"))
        webhook = () if confirmed is None else ("webhook",)
        for name in ("reference", "outcome", "told by", "billed", *webhook, "why"):
            table.add_column(say(name), overflow="fold")
        for reference, outcome, told_by, *others in _rows(results, confirmed):
            styled = Text(say(str(outcome)), _STYLES.get(Outcome(str(outcome)), "yellow"))
            words = (say(f"by {told_by}"), *(visible(other) for other in others))
            table.add_row(Text(visible(reference)), styled, *map(Text, words))
        yield table
    hidden = len(story.results) - len(results)
    if hidden and not kept:
        yield Text(say("rest", count=hidden))


def _sums(story: Story, confirmed: frozenset[str] | None) -> str:
    report = story.report
    counted = sorted(report.counts.items())
    means = "".join(
        f"{count:>6} {say(outcome, count=count)}: {say(f'{outcome} means')}\n" for outcome, count in counted
    )
    parts = summary(report, counted, story.billed_calls)
    if confirmed is not None:
        parts.append(say("confirmed", count=len(confirmed)))
    return means + "; ".join(parts)


def summary(report: BatchReport, counts: Iterable[tuple[Outcome, int]], billed_calls: int) -> list[str]:
    """How many ended how, what was billed, and what the check has saved."""
    told = [say("summary", count=len(report.results), counts=say_counts(counts))]
    told.append(say("billed calls", count=billed_calls))
    return told + ([say("saved calls", count=report.saved_calls)] if report.saved_calls else [])


def _told(result: ReprocessResult, confirmed: frozenset[str]) -> str:
    return "encolado" if result.external_reference in confirmed else "-"


def why(result: ReprocessResult) -> str:
    """The reason of an outcome, in words."""
    if result.error is not None:
        return reason(result.error)
    if result.recorded is not None:
        return say("in the journal", outcome=say(result.recorded))
    return "" if result.voucher is None else str(result.voucher.status)
