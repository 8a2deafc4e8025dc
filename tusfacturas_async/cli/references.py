"""Reads the references that a file names: text, CSV as spreadsheets write it, our own results, or stdin."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import field, frozen

from .outputs import COLUMNS, as_it_was
from .screen import tell
from .status import UsageError
from .texts import say, system

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMN: Final = "external_reference"
"""The column that is read when none is named."""

_DELIMITERS: Final = (",", ";", "\t")
"""What stands between the cells: spreadsheets here write semicolons."""

_SEPARATOR: Final = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)
"""The line that some spreadsheets put first: ``sep=;``."""


@frozen
class Row:
    """One line of the file.

    Attributes:
        reference: What it names.
        lane: The values that tell its lane; ``None``: no order asked for.
        line: Where it stands, counted from 1.
        outcome: Where the file is one of our own: what became of it, and what its journal had on record.
    """

    reference: str
    lane: tuple[str, ...] | None = None
    line: int = field(default=0, eq=False)
    outcome: tuple[str, str] | None = field(default=None, eq=False)


class Reading(NamedTuple):
    """What a file names, in its order, and how many of its rows have no reference."""

    rows: list[Row]
    blank: int


def read_references(
    file: str, column: str, lane_columns: Sequence[str] = (), *, encoding: str | None = None
) -> list[Row]:
    """The references in ``file``, in its order; rows without one are left out, and that is told.

    Args:
        file: A path, or ``-`` for standard input. It is CSV when its name ends in ``.csv`` or its first line
            has ``column`` among its names, results of ours when it begins with ``{``; else every line that is
            not empty and no ``#`` comment counts.
        column: The CSV column with the references.
        lane_columns: The CSV columns whose values together tell the lane.
        encoding: How the text is written; ``None`` for UTF-8, or UTF-16 where its beginning says so.

    Raises:
        UsageError: It cannot be read, lacks a column, or names nothing.
    """
    text = _text(file, encoding)
    try:
        reading = _read(file, text, column, lane_columns)
    except (csv.Error, ValueError) as error:
        raise UsageError(say("cannot read", path=file, why=error)) from error
    if not reading.rows:
        raise UsageError(say("names nothing", path=file))
    if reading.blank:
        tell(say("blank", count=reading.blank))
    return reading.rows


def _read(file: str, text: str, column: str, lane_columns: Sequence[str]) -> Reading:
    if text.startswith("{"):
        return _jsonl(text)
    lines = io.StringIO(text, newline="")
    first = lines.readline()
    said = _SEPARATOR.fullmatch(first)
    header = lines.readline() if said else first
    delimiter = said[1] if said else max(_DELIMITERS, key=header.count)
    names = [_plain(name) for name in next(csv.reader([header], delimiter=delimiter), [])]
    if said or file.lower().endswith(".csv") or _plain(column) in names:
        return _csv(file, io.StringIO(text, newline=""), delimiter, (column, *lane_columns), skip=bool(said))
    if lane_columns:
        raise UsageError(say("no header", path=file))
    return _lines(text)


def _lines(text: str) -> Reading:
    """Split at line ends alone: other separators of Unicode may be part of a name."""
    rows = []
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        reference = line.strip(" \t\r\n")
        if reference and not reference.startswith("#"):
            rows.append(Row(reference, line=number))
    return Reading(rows, 0)


def _csv(file: str, lines: io.StringIO, delimiter: str, wanted: Sequence[str], *, skip: bool) -> Reading:
    table = csv.reader(lines, delimiter=delimiter)
    if skip:
        next(table)
    header = next(table, [])
    names = [_plain(name) for name in header]
    for name, option in zip(wanted, ("--column", *["--lane-column"] * len(wanted)), strict=False):
        if _plain(name) not in names:
            has = ", ".join(repr(each.strip()) for each in header)
            raise UsageError(say("no column", path=file, column=name, has=has, option=option))
    place, *lane_places = (names.index(_plain(name)) for name in wanted)
    ours = tuple(names) == COLUMNS
    rows, blank = [], 0
    for short in table:
        if not any(short):
            continue  # a spreadsheet's empty rows
        cells = [*short, *[""] * (len(names) - len(short))]
        reference = as_it_was(cells[place]) if ours else cells[place].strip(" \t\r\n")
        if reference:
            lane = tuple(cells[each] for each in lane_places) or None
            rows.append(Row(reference, lane, table.line_num, (cells[1], cells[3]) if ours else None))
        else:
            blank += 1
    return Reading(rows, blank)


def _jsonl(text: str) -> Reading:
    rows = []
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if line.strip():
            match json.loads(line):
                case {"external_reference": str(reference), **fields}:
                    outcome, recorded = fields.get("outcome"), fields.get("recorded")
                    told = (str(outcome), str(recorded or "")) if outcome else None
                    rows.append(Row(reference, None, number, told))
                case _:
                    raise ValueError(say("line", line=number, why=say("no reference")))
    return Reading(rows, 0)


def _plain(name: str) -> str:
    """A column's name, for comparing: in any case, with spaces around or in it."""
    return re.sub(r"\s+", "_", name.strip().casefold())


def _text(file: str, encoding: str | None) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        if encoding is None:
            marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            encoding = "utf-16" if marked else "utf-8-sig"
        return raw.decode(encoding).removeprefix("\ufeff")
    except OSError as error:
        if file.startswith("-"):
            raise UsageError(say("unknown option", option=file)) from error
        raise UsageError(say("cannot read", path=file, why=system(error.errno))) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            say("wrong encoding", path=file, encoding=error.encoding, byte=error.start)
        ) from error
    except LookupError as error:
        raise UsageError(say("no encoding", encoding=encoding)) from error
