"""Results and vouchers as files and as JSON: what other programs read, and what this one reads again."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict

from .visible import visible_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..journal import JournalRow
    from ..models import Voucher
    from ..results import ReprocessResult
    from .files import Replacement

COLUMNS: Final = ("external_reference", "outcome", "settled_by", "recorded", "billed_calls", "error")
"""The header of our own CSV; a file that begins with it was written by us."""

ENDINGS: Final = frozenset({".jsonl", ".csv"})
"""What the name of an output may end in."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def result_fields(result: ReprocessResult) -> dict[str, Any]:
    """A result as plain fields."""
    return {
        "external_reference": result.external_reference,
        "outcome": result.outcome,
        "settled_by": result.settled_by,
        "recorded": result.recorded,
        "billed_calls": result.billed_calls,
        "error": None if result.error is None else str(result.error),
        "attempts": [asdict(attempt) for attempt in result.attempts],
    }


def as_json(fields: Voucher | JournalRow | dict[str, Any]) -> str:
    """One line of JSON."""
    return visible_json(
        fields if isinstance(fields, dict) else asdict(fields, filter=lambda field, _: field.name != "raw")
    )


def writer(file: Replacement) -> Callable[[ReprocessResult], None]:
    """What writes a result to ``file``: CSV or JSON, as its ending asks."""
    if file.path.suffix != ".csv":
        return lambda result: file.write(as_json(result_fields(result)) + "\n")
    header = [csv_line(COLUMNS)]

    def write(result: ReprocessResult) -> None:
        fields = result_fields(result)
        file.write("".join(header) + csv_line([harmless(fields[name]) for name in COLUMNS]))
        header.clear()  # with the first row: a file of a header alone is not worth an earlier one

    return write


def csv_line(values: Sequence[object]) -> str:
    """One row of CSV."""
    line = io.StringIO(newline="")
    csv.writer(line).writerow(values)
    return line.getvalue()


def harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula, quoted: references and texts come from outside."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_it_was(value: str) -> str:
    """What ``harmless`` was given: a quotation mark in front is always one of its own."""
    return value.removeprefix("'")
