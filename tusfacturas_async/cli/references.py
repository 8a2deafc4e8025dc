"""Reads the references that a file names: text, CSV, or standard input."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence


class UsageError(Exception):
    """The user's input is wrong; the message says what, and how to mend it."""


@frozen
class Row:
    """One line of the file: a reference, and the values that tell its lane (``None``: no order asked for)."""

    reference: str
    lane: tuple[str, ...] | None = None


def read_references(file: str, column: str, lane_columns: Sequence[str] = ()) -> list[Row]:
    """The references in ``file``, in its order, blank ones left out.

    Args:
        file: A path, or ``-`` for standard input. It is CSV when its name ends in ``.csv`` or its first line
            has ``column`` among its names; else every line that is not empty and no ``#`` comment counts.
        column: The CSV column with the references.
        lane_columns: The CSV columns whose values together tell the lane.

    Raises:
        UsageError: It cannot be read, lacks a column, or names nothing.
    """
    lines = _lines(file)
    header = lines[0] if lines else ""
    delimiter = ";" if header.count(";") > header.count(",") else ","  # spreadsheets here write semicolons
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if column in names or lane_columns or file.lower().endswith(".csv"):
        for wanted, option in ((column, "--column"), *((name, "--lane-column") for name in lane_columns)):
            if wanted not in names:
                has = ", ".join(map(repr, names))
                raise UsageError(f"{file} has no column {wanted!r}; it has {has}: choose one with {option}")
        table = csv.DictReader(lines[1:], fieldnames=names, delimiter=delimiter)
        rows = [
            Row((row[column] or "").strip(), tuple(row[name] or "" for name in lane_columns) or None)
            for row in table
        ]
    else:
        rows = [Row(line.strip()) for line in lines if not line.lstrip().startswith("#")]
    rows = [row for row in rows if row.reference]
    if not rows:
        raise UsageError(f"{file} names no reference: give one external_reference a line")
    return rows


def _lines(file: str) -> list[str]:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
