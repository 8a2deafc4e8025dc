"""Results and vouchers as files and as JSON: what other programs read."""

from __future__ import annotations

import csv
import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from attrs import asdict

from .references import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from ..journal import JournalRow
    from ..models import Voucher
    from ..results import ReprocessResult

_COLUMNS: Sequence[str] = ("external_reference", "outcome", "settled_by", "recorded", "billed_calls", "error")


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
    """One line of JSON; money and dates as text."""
    plain = (
        fields if isinstance(fields, dict) else asdict(fields, filter=lambda field, _: field.name != "raw")
    )
    return json.dumps(plain, default=_text, ensure_ascii=False)


def _text(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(type(value).__name__)


def open_outputs(paths: Sequence[Path], stack: ExitStack) -> list[Callable[[ReprocessResult], None]]:
    """Open ``.jsonl`` and ``.csv`` files before anything is sent; each result is written as it ends.

    Raises:
        UsageError: A file cannot be written, or has another ending.
    """
    return [_open(path, stack) for path in paths]


def _open(path: Path, stack: ExitStack) -> Callable[[ReprocessResult], None]:
    if path.suffix not in {".jsonl", ".csv"}:
        raise UsageError(f"--output {path}: the name must end in .jsonl or .csv")
    try:
        file = stack.enter_context(path.open("w", encoding="utf-8", newline="", buffering=1))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error
    if path.suffix == ".jsonl":
        return lambda result: print(as_json(result_fields(result)), file=file)
    table = csv.DictWriter(file, _COLUMNS, extrasaction="ignore")
    table.writeheader()
    return lambda result: table.writerow({k: _harmless(v) for k, v in result_fields(result).items()})


def _harmless(value: object) -> object:
    """A text that a spreadsheet would take for a formula, quoted: references and texts come from outside."""
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )
