"""The command line reads references: from text, from CSV as spreadsheets write it, from its own results."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.helpers import written
from tusfacturas_async import Outcome, RejectedError, ReprocessResult
from tusfacturas_async.cli.app import run
from tusfacturas_async.cli.files import Replacement
from tusfacturas_async.cli.outputs import writer
from tusfacturas_async.cli.references import Row, read_references
from tusfacturas_async.cli.status import UsageError

COLUMN = "external_reference"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "# comment\none\n\n  two  \r\nthree"),
        ("a.txt", "\ufeffone\ntwo\nthree\n"),
        ("a.txt", "one\rtwo\rthree"),
        ("a.csv", "external_reference\none\ntwo\nthree\n"),
        ("a.csv", 'tipo;external_reference\nA;one\nB;"two"\n;\nC;three\n'),
        ("a.csv", "\ufeffexternal_reference,tipo\none,A\ntwo,B\nthree,C\n"),
        ("a.csv", "sep=;\r\nexternal_reference;tipo\r\none;A\r\ntwo;B\r\nthree;C\r\n"),
        ("a.csv", "External Reference \tTipo\none\tA\ntwo\tB\nthree\tC\n"),
        ("no-suffix", "tipo, EXTERNAL_REFERENCE\nA,one\nA,two\nA,three\n"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_files_that_are_read(tmp_path: Path, name: str, content: str, encoding: str) -> None:
    """Text or CSV, however a spreadsheet separates and encodes it, its header in any case."""
    text = content.removeprefix("\ufeff") if encoding == "utf-16" else content  # which has its own mark
    path = written(tmp_path, text, name, encoding)
    rows = read_references(path, COLUMN)
    assert [row.reference for row in rows] == ["one", "two", "three"]


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\f", "\v", "\x1c", "\x85"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_line_ends_alone(inside: str, end: str, tmp_path: Path) -> None:
    """Other separators of Unicode are part of a name, in text and in CSV: else each half would be billed."""
    names = [f"a{inside}b", "c"]
    text = written(tmp_path, end.join(names) + end)
    table = written(tmp_path, end.join([COLUMN, *names]) + end, "refs.csv")
    for path in (text, table):
        assert [row.reference for row in read_references(path, COLUMN)] == names


def test_quoted_line_ends_stay_and_are_counted(tmp_path: Path) -> None:
    """A quoted cell may have several lines; the line that is told is the file's."""
    table = written(tmp_path, f'note,{COLUMN}\n"two\nlines",one\nx,"t\r\nwo"\n', "a.csv")
    rows = read_references(table, COLUMN)
    assert [(row.reference, row.line) for row in rows] == [("one", 3), ("t\r\nwo", 5)]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-``, as text or CSV."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"ref;x\na;1\nb;2\n")))
    assert read_references("-", "ref", ["x"]) == [Row("a", ("1",)), Row("b", ("2",))]


def test_rows_without_a_reference_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told, not dropped in silence; a spreadsheet's empty rows are none."""
    table = written(tmp_path, f"{COLUMN};tipo\na;A\n;B\n  ;C\n;\n", "a.csv")
    assert [row.reference for row in read_references(table, COLUMN)] == ["a"]
    assert "2 rows have no reference" in capsys.readouterr().err
    assert run(["reprocess", table, "--sandbox", "--dry-run"]) == 0
    assert "2 rows have no reference and are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.csv", "id,tipo\n1,A\n", "no column 'external_reference'; it has 'id', 'tipo'"),
        ("a.txt", "# nothing\n\n", "names no reference"),
        ("a.txt", None, "No such file"),
        ("a.csv", f"{COLUMN}\n{'x' * 200_000}\n", "field larger than field limit"),
        ("a.jsonl", '{"outcome": "accepted"}\n', "cannot read .*external_reference"),
        ("a.jsonl", '{"external_reference": "a"}\n[1]\n', "line 2: no external_reference"),
        ("a.jsonl", '{"external_reference": 7}\n', "line 1: no external_reference"),
        ("a.jsonl", "{broken\n", "cannot read"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, name: str, content: str | None, named: str) -> None:
    """The error names the file and the remedy."""
    path = str(tmp_path / name) if content is None else written(tmp_path, content, name)
    with pytest.raises(UsageError, match=named):
        read_references(path, COLUMN)


def test_another_charset_is_named_or_refused(tmp_path: Path) -> None:
    """Guessing would change references; who knows better says so."""
    path = written(tmp_path, "año\n", encoding="cp1252")
    with pytest.raises(UsageError, match=r"not in utf-8 .*--encoding cp1252"):
        read_references(path, COLUMN)
    assert read_references(path, COLUMN, encoding="cp1252") == [Row("año")]
    with pytest.raises(UsageError, match="nobody knows it"):
        read_references(path, COLUMN, encoding="klingon")


def test_lanes_of_a_list_are_refused_in_words_that_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A text file has no columns; one lane for all has no second one beside it."""
    path = written(tmp_path, "a\nb\n")
    assert run(["reprocess", path, "--lane-column", "tipo", "--sandbox"]) == 2
    assert "without a header" in capsys.readouterr().err
    assert run(["reprocess", path, "--lane-column", "tipo", "--in-order", "--sandbox"]) == 2
    assert "leave out --lane-column, or leave out --in-order" in capsys.readouterr().err


def test_references_that_cannot_be_sent_are_told_all_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With their lines, before anything is sent; an option takes those that exist already."""
    path = written(tmp_path, f"fine\nwith space\nfine-2\nacentó\n{'x' * 256}\n")
    assert run(["reprocess", path, "--sandbox"]) == 2
    told = capsys.readouterr().err
    assert "3 references cannot be sent" in told
    assert [f"line {number}:" in told for number in (1, 2, 3, 4, 5)] == [False, True, False, True, True]
    assert "--any-characters" in told
    path = written(tmp_path, "with space\nacentó\n")
    assert run(["reprocess", path, "--sandbox", "--any-characters"]) == 0
    assert "2 vouchers: 2 accepted" in capsys.readouterr().err


def fed_back(folder: Path, references: list[str]) -> list[str]:
    results = [
        ReprocessResult(reference, Outcome.REJECTED, error=RejectedError("=1+1\n"))
        for reference in references
    ]
    with Replacement(folder / "results.csv") as file:
        write = writer(file)
        for result in results:
            write(result)
    assert file.failure is None
    return [row.reference for row in read_references(str(file.path), COLUMN)]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), min_size=1, max_size=5))
def test_any_reference_survives_the_table(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    """What is written is read the same."""
    assert fed_back(tmp_path_factory.mktemp("fed"), names) == names
