"""Files: kept apart, written beside their place, their owner's alone; what is read comes back as it was."""

from __future__ import annotations

import csv
import json
import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.person import COMMAND, EXAMPLES, summed, written
from tusfacturas_async import Outcome, ReprocessResult
from tusfacturas_async.cli.app import run
from tusfacturas_async.cli.files import Replacement
from tusfacturas_async.cli.outputs import writer
from tusfacturas_async.cli.references import read_references

SANDBOX = ("--sandbox", "--interval", "0")


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("inside", ["\u2028", "\u2029", "\f", "\v", "\x1c", "\x85"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_at_line_ends_alone(inside: str, end: str, tmp_path: Path) -> None:
    """Other separators of Unicode are part of a name, in text and in CSV: else each half would be billed."""
    names = [f"a{inside}b", "c"]
    text = written(tmp_path, end.join(names) + end)
    table = written(tmp_path, end.join(["external_reference", *names]) + end, "refs.csv")
    for path in (text, table):
        assert [row.reference for row in read_references(path, "external_reference").rows] == names


def test_a_quoted_line_end_in_csv_is_part_of_its_cell(tmp_path: Path) -> None:
    """As spreadsheets write it."""
    path = written(tmp_path, 'note,external_reference\n"two\nlines",a\n"x",b\n', "refs.csv")
    assert [row.reference for row in read_references(path, "external_reference").rows] == ["a", "b"]


HOSTILE = [
    "-1",
    "=x",
    "+x",
    "@x",
    "'x",
    "''",
    "a;b",
    'a"b',
    "a,b",
    "a\nb",
    "a\r\nb",
    " a ",
    "\ta",
    "año",
    "\u202ex",
]


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_an_output_can_be_fed_back(ending: str, tmp_path: Path) -> None:
    """Each reference comes back to the letter, though a spreadsheet takes none of them for a formula."""
    path = tmp_path / f"results{ending}"
    with Replacement(path) as file:
        write = writer(file)
        for reference in HOSTILE:
            write(ReprocessResult(reference, Outcome.ACCEPTED))
    assert [row.reference for row in read_references(str(path), "external_reference").rows] == HOSTILE
    if ending == ".csv":
        with path.open(newline="", encoding="utf-8") as table:
            cells = [row[0] for row in csv.reader(table)]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]


# -- kept apart -----------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--output", "--report", "--journal"])
@pytest.mark.parametrize("link", ["itself", "hard", "symbolic"])
def test_the_input_is_never_written(
    option: str, link: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whatever name it is called: it would be gone before it was read."""
    source = Path(written(tmp_path, "external_reference\na\n", "in.csv"))
    other = source
    if link != "itself":
        other = tmp_path / "other.csv"
        (other.hardlink_to if link == "hard" else other.symlink_to)(source)
    said = summed(capsys, "reprocess", str(source), *SANDBOX, option, str(other), status=2)
    assert "is the same file as the input" in said
    assert source.read_text() == "external_reference\na\n"


def test_outputs_report_and_journal_are_kept_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also from what the journal puts beside itself."""
    source, journal = written(tmp_path, "a\n"), tmp_path / "x.csv"
    for pair in (
        ["--output", str(journal), "--report", str(journal)],
        ["--output", str(journal), "--output", str(tmp_path / "." / "x.csv")],
        ["--journal", str(journal), "--output", str(journal)],
        ["--journal", str(tmp_path / "j"), "--report", str(tmp_path / "j.lock")],
        ["--journal", str(tmp_path / "j"), "--report", str(tmp_path / "j-wal")],
    ):
        assert "is the same file as" in summed(capsys, "reprocess", source, *SANDBOX, *pair, status=2)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["refs.txt"]


# -- in its place only when there is something ---------------------------------------------------------


def test_an_earlier_file_stands_until_there_is_something(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bad usage, a dry run, and a refusal to ask leave it as it was, and leave nothing beside it."""
    monkeypatch.delenv("TUSFACTURAS_APIKEY", raising=False)
    source = written(tmp_path, "a\nb\n")
    output, report = tmp_path / "r.csv", tmp_path / "r.html"
    output.write_text("precious")
    report.write_text("precious")
    files = ["--output", str(output), "--report", str(report)]
    assert run(["reprocess", source, *files, "--yes"]) == 2  # no credentials
    assert run(["reprocess", source, *SANDBOX, *files, "--dry-run"]) == 0
    assert run(["reprocess", source, *SANDBOX, *files, "--concurrency", "0"]) == 2
    assert (output.read_text(), report.read_text()) == ("precious", "precious")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r.csv", "r.html", "refs.txt"]
    run(["reprocess", source, *SANDBOX, *files])
    assert output.read_text().startswith("external_reference,outcome")
    assert "<html" in report.read_text()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r.csv", "r.html", "refs.txt"]


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_what_is_written_is_its_owners_alone(umask: int, tmp_path: Path) -> None:
    """0600, whatever the umask."""
    source = written(tmp_path, "a\n")
    names = ("r.csv", "r.jsonl", "r.html", "journal")
    options = ["--output", "r.csv", "--output", "r.jsonl", "--report", "r.html", "--journal", "journal"]
    before = os.umask(umask)
    try:
        command = [*COMMAND, "reprocess", source, *SANDBOX, *options]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
        }
        subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    finally:
        os.umask(before)
    assert {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == dict.fromkeys(
        names, 0o600
    )


# -- what takes no more ---------------------------------------------------------------------------


def test_a_full_disk_loses_neither_the_table_nor_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be written is said, with a status of its own; the rest is told."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # its file would not fit, either
    source = written(tmp_path, "".join(f"pedido-{n}\n" for n in range(60)))
    command = [*COMMAND, "reprocess", source, *SANDBOX, "--output", str(tmp_path / "r.jsonl")]
    command += ["--report", str(tmp_path / "r.html")]

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000))

    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=small)
    assert done.returncode == 3, done.stderr
    assert "cannot write" in done.stderr
    assert done.stdout.count("\n") == 60
    kept = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert 0 < len(kept) < 60, "whole lines, as many as there was room for"


def test_a_device_that_is_full(tmp_path: Path) -> None:
    """``/dev/full`` takes nothing: the table is told all the same."""
    link = tmp_path / "full.csv"
    link.symlink_to("/dev/full")
    source = written(tmp_path, "pedido-1001\n")
    done = subprocess.run(
        [*COMMAND, "reprocess", source, *SANDBOX, "--output", str(link)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "No space left" in done.stderr) == (3, True)
    assert done.stdout.startswith("pedido-1001\taccepted")
    assert link.is_symlink()


def test_a_reader_that_leaves_loses_no_result(tmp_path: Path) -> None:
    """``| head -1``: the files are whole, the table goes to standard error, the status is 3."""
    source = written(tmp_path, "".join(f"pedido-{n}\n" for n in range(3_000)))
    piped = (
        f"{{ {' '.join(COMMAND)} reprocess {source} {' '.join(SANDBOX)} --concurrency 50 --output r.jsonl; "
    )
    piped += "echo $? > status; } | head -1"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        ["/bin/bash", "-c", piped], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 3_000
    assert (tmp_path / "status").read_text() == "3\n"
    assert done.stderr.count("\tencolado\t") > 2_000


def test_the_examples_are_read() -> None:
    """Those of the documentation."""
    assert len(read_references(str(EXAMPLES / "references.txt"), "external_reference").rows) == 30
