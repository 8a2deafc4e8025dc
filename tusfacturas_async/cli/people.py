"""What in a report needs a person: the vouchers, why, what helps, and the command to run next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

from ..errors import ServiceError
from ..results import Outcome
from ..triage import Remedy, triage
from .story import well
from .table import why
from .texts import say
from .visible import as_html, visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..results import ReprocessResult

_ORDER: Final = (
    *(Outcome.UNKNOWN, Outcome.REJECTED, Outcome.NOT_FOUND, Outcome.NOT_SENT, Outcome.HELD, Outcome.SKIPPED),
)
"""The most pressing first."""

_AGAIN: Final = frozenset({Outcome.NOT_SENT, Outcome.HELD})
"""One command is for all of them."""

_MOST: Final = 500
"""Rows of one outcome; the rest is counted: a page must still open in a mail."""


def people(results: Sequence[ReprocessResult], again: str) -> str:
    """The sections of the page, one for each outcome that needs somebody.

    Args:
        results: All of them.
        again: The command that sends again what was not sent.
    """
    sections = []
    for outcome in _ORDER:
        found = [result for result in results if result.outcome is outcome and not well(result)]
        if found:
            sections.append(_section(outcome, found, again))
    return "".join(sections) or f"<p>{as_html(say('nobody'))}</p>"


def as_command(line: str) -> str:
    """A command whose words stay whole: a line that ends in ``--`` would be typed as it stands."""
    return f"<code>{' '.join(f'<span>{as_html(word)}</span>' for word in line.split(' '))}</code>"


def _section(outcome: Outcome, results: Sequence[ReprocessResult], again: str) -> str:
    told = f"{len(results)} {say(outcome, count=len(results))}: {say(f'{outcome} means')}"
    head = f"<h3>{as_html(told)}</h3>"
    once = outcome in _AGAIN and again
    if once:
        head += f"<p>{as_command(again)}</p>"
    names = ("reference", "why", "advice", *(() if once else ("next",)))
    heads = "".join(f"<th>{as_html(say(name))}</th>" for name in names)
    rows = "".join(_row(result, next_step=not once) for result in results[:_MOST])
    more = len(results) - _MOST
    tail = f"<p>{as_html(say('and more', count=more))}</p>" if more > 0 else ""
    return f'{head}<table class="wide"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{tail}'


def _row(result: ReprocessResult, *, next_step: bool) -> str:
    advice, command = remedy(result)
    last = f"<td>{as_command(command)}</td>" if next_step else ""
    return (
        f"<tr><td>{as_html(result.external_reference)}</td><td>{as_html(why(result))}</td>"
        f"<td>{as_html(advice)}</td>{last}</tr>"
    )


def remedy(result: ReprocessResult) -> tuple[str, str]:
    """What helps, and the command to run next; in a command the reference is quoted for a shell."""
    reference = result.external_reference
    name = shlex.quote(visible(reference))
    if reference.startswith("-"):
        name = f"-- {name}"
    if result.outcome is Outcome.REJECTED and isinstance(result.error, ServiceError):
        found = triage(result.error.errores).remedy
        command = {
            Remedy.CHANGE_DATE: f"tusfacturas change-date {name} {say('a date')} {say('a due date')}",
            Remedy.DELETE_AND_RECREATE: f"tusfacturas delete {name} {say('a date')}",
        }.get(found, f"tusfacturas lookup {name}")
        return say(found), command
    return say(f"{result.outcome} helps"), f"tusfacturas lookup {name}"
