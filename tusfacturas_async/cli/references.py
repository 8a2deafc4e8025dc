"""Reads the references that a file names: text, CSV, or standard input."""

from __future__ import annotations

import csv
import sys
from pathlib import Path


class UsageError(Exception):
    """The user's input is wrong; the message says what, and how to mend it."""


def read_references(file: str, column: str) -> list[str]:
    """The references in ``file``, in its order, blank ones left out.

    Args:
        file: A path, or ``-`` for standard input. It is CSV when its name ends in ``.csv`` or its first line
            has ``column`` among its names; else every line that is not empty and no ``#`` comment counts.
        column: The CSV column.

    Raises:
        UsageError: It cannot be read, has no such column, or names nothing.
    """
    lines = _lines(file)
    header = lines[0] if lines else ""
    delimiter = ";" if header.count(";") > header.count(",") else ","  # spreadsheets here write semicolons
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if column in names:
        rows = csv.DictReader(lines[1:], fieldnames=names, delimiter=delimiter)
        references = [(row[column] or "").strip() for row in rows]
    elif file.lower().endswith(".csv"):
        raise UsageError(
            f"{file} has no column {column!r}; it has {', '.join(map(repr, names))}: choose one with --column"
        )
    else:
        references = [line.strip() for line in lines if not line.lstrip().startswith("#")]
    references = [reference for reference in references if reference]
    if not references:
        raise UsageError(f"{file} names no reference: give one external_reference a line")
    return references


def _lines(file: str) -> list[str]:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return raw.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
