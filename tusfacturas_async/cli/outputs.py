"""Results and vouchers as files and as JSON: what other programs read, and what this one reads again."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Final

from .screen import OutputLostError, put_line
from .visible import visible_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..results import ReprocessResult
    from .files import Replacement
    from .story import Story

COLUMNS: Final = ("external_reference", "outcome", "settled_by", "recorded", "billed_calls", "error")
"""The header of our own CSV; a file that begins with it was written by us."""

ENDINGS: Final = frozenset({".jsonl", ".csv"})
"""What the name of an output may end in."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def writer(file: Replacement) -> Callable[[ReprocessResult], None]:
    """What writes a result to ``file``: CSV or JSON, as its ending asks."""
    if file.path.suffix != ".csv":
        return lambda result: file.write(visible_json(result) + "\n")
    header = [csv_line(COLUMNS)]

    def write(result: ReprocessResult) -> None:
        file.write("".join(header) + csv_line([harmless(result[name]) for name in COLUMNS]))
        header.clear()  # with the first row: a file of a header alone is not worth an earlier one

    return write


def stream(story: Story) -> Callable[[ReprocessResult], None]:
    """What writes a result to standard output as JSON; when that takes no more, it is noted in ``story``."""

    def write(result: ReprocessResult) -> None:
        if story.lost is None:
            try:
                put_line(visible_json(result))
            except OutputLostError as error:
                story.lost = error.why

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
