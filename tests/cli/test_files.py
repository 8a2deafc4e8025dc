"""Files that a command writes: they touch nothing else, and nothing that was sent is lost with them."""

from __future__ import annotations

import csv
import io
import json
import resource
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import preloaded
from tests.cli.helpers import COMMAND, piped, terminal, written
from tests.cli.helpers import status as ended
from tests.loopback import Loopback
from tusfacturas_async import Outcome, RejectedError, ReprocessResult
from tusfacturas_async.cli.files import Replacement
from tusfacturas_async.cli.outputs import writer
from tusfacturas_async.cli.references import read_references

REFERENCES = tuple(f"pedido-{n}" for n in range(8))
SEND = ("--yes", "--interval", "0")


# -- apart ----------------------------------------------------------------------------------------


def same(*, by: str, first: Path, second: str) -> str:
    """Another name of ``first``: the path written otherwise, or a link to it."""
    if by == "path":
        return str(first.parent / "." / "x" / ".." / first.name)
    link = first.parent / second
    (link.symlink_to if by == "symbolic link" else link.hardlink_to)(first)
    return str(link)


@pytest.mark.parametrize("by", ["path", "symbolic link", "hard link"])
@pytest.mark.parametrize("option", ["--output", "--report", "--journal"])
def test_the_input_is_never_written(option: str, by: str, folder: Path, server: Loopback) -> None:
    """Whatever name it has, of whatever kind; and nothing is sent."""
    (folder / "x").mkdir()
    (folder / "refs.csv").write_text("external_reference\npedido-1\n")
    before = (folder / "refs.csv").read_bytes()
    done = piped(
        "reprocess", "refs.csv", *SEND, option, same(by=by, first=folder / "refs.csv", second="b.csv")
    )
    assert (done.returncode, "is the same file as the input" in done.stderr) == (2, True), done.stderr
    assert (folder / "refs.csv").read_bytes() == before
    assert server.heads == []


@pytest.mark.parametrize("by", ["path", "symbolic link", "hard link"])
@pytest.mark.parametrize(
    ("one", "other"), [("--output", "--output"), ("--output", "--report"), ("--journal", "--output")]
)
def test_what_is_written_is_kept_apart(one: str, other: str, by: str, folder: Path, server: Loopback) -> None:
    """Two options for one file would leave one of them, or neither."""
    (folder / "x").mkdir()
    (folder / "r.csv").touch()
    done = piped("reprocess", "refs.txt", *SEND, one, "r.csv", other,
                 same(by=by, first=folder / "r.csv", second="s.csv"))  # fmt: skip
    assert (done.returncode, "is the same file as" in done.stderr) == (2, True), done.stderr
    assert (folder / "r.csv").read_bytes() == b""
    assert server.heads == []


@pytest.mark.parametrize("side", ["-wal", "-shm", ".lock"])
def test_a_journal_keeps_what_stands_beside_it(side: str, folder: Path, server: Loopback) -> None:
    """No report takes the place of its lock or of its latest pages."""
    done = piped("reprocess", "refs.txt", *SEND, "--journal", "sweep", "--report", f"sweep{side}")
    assert done.returncode == 2
    assert "is the same file as --journal sweep" in done.stderr
    assert server.heads == []


@pytest.mark.parametrize("option", ["--report", "--output"])
def test_a_journal_that_is_read_is_never_written(option: str, folder: Path, server: Loopback) -> None:
    """Of what failed it may go on as the journal, and as nothing else."""
    assert piped("reprocess", "refs.txt", *SEND, "--journal", "sweep.csv").returncode == 0
    before = (folder / "sweep.csv").read_bytes()
    done = piped("reprocess", "sweep.csv", "--failed", "--yes", option, "sweep.csv")
    assert (done.returncode, "is the same file as" in done.stderr) == (2, True), done.stderr
    assert (folder / "sweep.csv").read_bytes() == before
    assert piped("reprocess", "sweep.csv", "--failed", "--yes", "--journal", "sweep.csv").returncode == 0


def test_standard_streams_are_files_as_well(folder: Path, server: Loopback) -> None:
    """``- < refs.txt --output refs.csv`` and ``> results.csv`` name files that no option names."""
    (folder / "refs.csv").hardlink_to(folder / "refs.txt")
    with (folder / "refs.txt").open() as given:
        done = preloaded.run(
            [*COMMAND, "reprocess", "-", *SEND, "--output", "refs.csv"],
            stdin=given, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "is the same file as the input" in done.stderr) == (2, True)
    with (folder / "out.csv").open("w") as out:
        done = preloaded.run(
            [*COMMAND, "reprocess", "refs.txt", *SEND, "--output", "out.csv"],
            stdout=out, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, "is the same file as standard output" in done.stderr) == (2, True)
    assert server.heads == []


def test_an_earlier_file_stands_until_there_is_another(folder: Path, server: Loopback) -> None:
    """A run that is refused, declined, rehearsed or has nothing to tell leaves it; a link stays a link."""
    (folder / "kept").mkdir()
    (folder / "kept" / "r.csv").write_text("of yesterday")
    (folder / "r.csv").symlink_to(folder / "kept" / "r.csv")
    (folder / "page.html").write_text("of yesterday")
    files = ("--output", "r.csv", "--report", "page.html")
    assert piped("reprocess", "refs.txt", *files).returncode == 2  # nobody to ask
    assert piped("reprocess", "refs.txt", *files, "--dry-run").returncode == 0
    assert piped("reprocess", "refs.txt", *SEND, *files, "--concurrency", "0").returncode == 2
    person = terminal("reprocess", "refs.txt", *files)
    person.expect("Go on")
    person.sendline("n")
    assert ended(person) == 0
    assert (folder / "kept" / "r.csv").read_text() == "of yesterday"
    assert (folder / "page.html").read_text() == "of yesterday"
    assert piped("reprocess", "refs.txt", *SEND, *files).returncode == 0
    assert (folder / "r.csv").is_symlink()
    assert len((folder / "kept" / "r.csv").read_text().splitlines()) == 1 + len(REFERENCES)
    assert "<!doctype html>" in (folder / "page.html").read_text()
    assert sorted(path.name for path in folder.rglob("*.part")) == []


def test_a_dry_run_creates_nothing_and_reads_the_journal(folder: Path, server: Loopback) -> None:
    """Neither the files nor the journal, nor anything beside one; what is recorded is not counted."""
    files = ("--output", "r.csv", "--output", "r.jsonl", "--report", "r.html", "--journal", "sweep")
    done = piped("reprocess", "refs.txt", "--dry-run", *files)
    assert "8 of 8 would be re-sent" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["refs.txt"]
    written(folder, "pedido-0\npedido-1\npedido-2\n", "some.txt")
    assert piped("reprocess", "some.txt", *SEND, "--journal", "sweep").returncode == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    done = piped("reprocess", "refs.txt", "--dry-run", *files)
    assert "5 of 8 would be re-sent: 5 billed calls if nothing goes wrong, at most 20" in done.stdout
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(server.resends) == 3


@pytest.mark.parametrize("mask", [0, 0o077, 0o277])
def test_what_is_written_is_its_owners_alone(mask: int, folder: Path, server: Loopback) -> None:
    """Whatever the umask, and whatever an earlier file allowed."""
    (folder / "r.csv").touch(0o666)
    files = ("--output", "r.csv", "--output", "r.jsonl", "--report", "r.html", "--journal", "sweep")
    assert piped("reprocess", "refs.txt", *SEND, *files, umask=mask).returncode == 0
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in files[1::2]}
    assert modes == dict.fromkeys(files[1::2], 0o600)


# -- lost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("full", ["r.csv", "r.jsonl", "r.html"])
def test_a_full_disk_loses_neither_table_nor_the_other_files(
    full: str, folder: Path, server: Loopback
) -> None:
    """All is sent; the table and the other files are whole, and the status says 3."""
    (folder / full).symlink_to("/dev/full")
    files = ("--output", "r.csv", "--output", "r.jsonl", "--report", "r.html")
    done = piped("reprocess", "refs.txt", *SEND, *files)
    assert done.returncode == 3
    assert f"cannot write {full}: No space left on device" in done.stderr
    assert "8 vouchers: 8 accepted; billed calls: 8" in done.stderr
    assert sorted(line.split("\t")[0] for line in done.stdout.splitlines()) == list(REFERENCES)
    lines = {"r.csv": 9, "r.jsonl": 8}
    for name in {*files[1::2]} - {full}:
        text = (folder / name).read_text()
        assert len(text.splitlines()) == lines.get(name, len(text.splitlines()))
        assert text


def limited(size: int) -> Callable[[], None]:
    """What lets a process write no file longer than this, as a full disk would."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_file_that_may_not_grow(folder: Path, server: Loopback) -> None:
    """What is in it is whole lines."""
    done = piped("reprocess", "refs.txt", *SEND, "--output", "r.jsonl", preexec_fn=limited(2000))
    assert done.returncode == 3, done.stderr
    assert "cannot write r.jsonl: File too large" in done.stderr
    assert "8 vouchers: 8 accepted" in done.stderr
    kept = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    assert 0 < len(kept) < 8


def test_what_is_not_whole_leaves_an_earlier_file(folder: Path, server: Loopback) -> None:
    """Both are kept, and both are named."""
    (folder / "r.csv").write_text("of yesterday")
    done = piped("reprocess", "refs.txt", *SEND, "--output", "r.csv", preexec_fn=limited(150))
    assert done.returncode == 3, done.stderr
    assert (folder / "r.csv").read_text() == "of yesterday"
    (beside,) = folder.glob("r.csv.*.part")
    assert f"what was written is in {beside}" in done.stderr
    assert beside.read_text().startswith("external_reference,")


def test_a_full_standard_output_loses_nothing(folder: Path, server: Loopback) -> None:
    """The table goes to standard error instead, the files are whole, and the status says 3."""
    with Path("/dev/full").open("w") as full:
        done = preloaded.run(
            [*COMMAND, "reprocess", "refs.txt", *SEND, "--output", "r.csv", "--report", "r.html"],
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    assert all(reference in done.stderr for reference in REFERENCES)
    assert "8 vouchers: 8 accepted" in done.stderr
    assert "Traceback" not in done.stderr
    assert len((folder / "r.csv").read_text().splitlines()) == 9
    assert (folder / "r.html").stat().st_size


@pytest.mark.parametrize(("closed", "code"), [(">&-", 3), ("2>&-", 0), (">&- 2>&-", 3), ("<&-", 0)])
def test_streams_that_were_closed(closed: str, code: int, folder: Path, server: Loopback) -> None:
    """By whoever started it: no file gets a stream's number, and what was to be printed is told elsewhere."""
    command = f'"$@" {closed} < /dev/null' if closed != "<&-" else '"$@" <&-'
    done = subprocess.run(
        ["/bin/bash", "-c", command, "-", *COMMAND, "reprocess", "refs.txt", *SEND, "--output", "r.csv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert len((folder / "r.csv").read_text().splitlines()) == 9
    assert "Traceback" not in done.stderr
    told = done.stderr if closed == ">&-" else done.stdout
    assert (told.count("\taccepted\t") == 8) == (closed != ">&- 2>&-")


def head(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, piped to ``head -1``; its own status, not that of ``head``."""
    return subprocess.run(
        ["/bin/bash", "-c", 'set -o pipefail; "$@" | head -1', "-", *COMMAND, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough(unbuffered: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``| head -1``: every result is in the file and on standard error, the status says 3."""
    written(folder, "".join(f"pedido-{n}-{'x' * 200}\n" for n in range(500)), "many.txt")
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = head("reprocess", "many.txt", "--sandbox", *SEND, "--output", "r.csv", "--report", "r.html")
    assert (done.returncode, len(done.stdout.splitlines())) == (3, 1), done.stderr[-500:]
    assert "Traceback" not in done.stderr
    assert "pedido-499-" in done.stderr
    assert "500 vouchers" in done.stderr
    assert len((folder / "r.csv").read_text().splitlines()) == 501
    assert (folder / "r.html").stat().st_size


def test_what_only_reads_may_be_cut_short(served: str) -> None:
    """``lookup … | head -1`` is no error: nothing was to be kept."""
    done = head("errored", "2026-03-17", "2026-03-19", "--json")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


def test_a_person_who_left_loses_no_result(folder: Path, server: Loopback) -> None:
    """A terminal that is closed in the middle: the files are whole."""
    server.latency = 0.1
    person = terminal("reprocess", "refs.txt", *SEND, "--output", "r.csv", "--concurrency", "2")
    person.expect("[1-5] accepted")
    person.close()
    person.process.wait(60)
    rows = list(csv.DictReader(io.StringIO((folder / "r.csv").read_text())))
    assert len(rows) == 8
    told = [row["external_reference"] for row in rows if row["outcome"] == "accepted"]
    assert sorted(told) == sorted(server.resends)


# -- round trip -----------------------------------------------------------------------------------

HOSTILE = (
    "=HYPERLINK(1)", "+1", "-1", "@a", "'quoted", "''twice", "\ttab", "a,b", 'a"b', "a;b", "# no comment",
    "A-1 ", " A-1", "pedido\u2028uno", "pedido\x0bdos", "línea\nnueva", "línea\r\nnueva", "vuelta\rfin",
    "\x1b]0;x\x07", "\u202eevil", "{", "sep=;", "ñandú", "\U0001f600",
)  # fmt: skip


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_an_output_can_be_fed_back(ending: str, tmp_path: Path) -> None:
    """Each reference comes back as it was, though no spreadsheet takes one for a formula."""
    with Replacement(tmp_path / f"r{ending}") as file:
        write = writer(file)
        for reference in HOSTILE:
            write(ReprocessResult(reference, Outcome.REJECTED, error=RejectedError(reference)))
    assert file.failure is None
    reading = read_references(str(tmp_path / f"r{ending}"), "external_reference")
    assert [row.reference for row in reading] == list(HOSTILE)
    if ending == ".csv":
        with (tmp_path / "r.csv").open(newline="") as written_rows:
            cells = [cell for row in csv.reader(written_rows) for cell in row]
        assert [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))] == []


def test_a_real_output_is_a_real_input(folder: Path, server: Loopback) -> None:
    """``--output r.csv``, then ``reprocess r.csv``, and so with JSON lines."""
    files = ("--output", "r.csv", "--output", "r.jsonl")
    assert piped("reprocess", "refs.txt", *SEND, *files).returncode == 0
    for name in ("r.csv", "r.jsonl"):
        assert "8 of 8 would be re-sent" in piped("reprocess", name, "--dry-run").stdout


def test_a_link_to_nowhere_is_told_before_anything_is_sent(folder: Path, server: Loopback) -> None:
    """As are a folder and a file that may not be written."""
    (folder / "r.csv").symlink_to("/nowhere/r.csv")
    (folder / "d.csv").mkdir()
    for name in ("r.csv", "d.csv"):
        done = piped("reprocess", "refs.txt", *SEND, "--output", name)
        assert (done.returncode, f"cannot write {name}" in done.stderr) == (2, True)
    assert server.heads == []
