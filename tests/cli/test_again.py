"""What goes on from an earlier run: only what failed; and what streams, for other programs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import preloaded
from tests.cli.helpers import (
    COMMAND,
    Running,
    counting,
    environment,
    piped,
    printed,
    status,
    summed,
    terminal,
    written,
)
from tests.loopback import Loopback
from tusfacturas_async import AsyncClient, Credentials, Journal
from tusfacturas_async.cli.app import run
from tusfacturas_async.sandbox import Sandbox


def test_only_what_failed_of_an_output(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From .csv and .jsonl alike; when all ended well, nothing is sent; a plain list tells no outcome."""
    mixed = written(tmp_path, "pedido-1\nnobody\npedido-2\nnobody\n", "mixed.txt")
    outputs = [str(tmp_path / f"out.{ending}") for ending in ("csv", "jsonl")]
    files = [word for output in outputs for word in ("--output", output)]
    printed(capsys, "reprocess", mixed, "--yes", *files, status=1)
    for output in outputs:
        assert "1 of 1 would be re-sent" in printed(capsys, "reprocess", output, "--failed", "--dry-run")
    one = str(tmp_path / "one.csv")
    printed(capsys, "reprocess", written(tmp_path, "pedido-3\n"), "--yes", "--output", one)
    assert "ended well: nothing to re-send" in printed(capsys, "reprocess", one, "--failed")
    assert run(["reprocess", mixed, "--failed"]) == 2
    assert "--failed needs an earlier --output or a journal" in capsys.readouterr().err


def test_a_journal_goes_on_as_itself(served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of this point of sale; the same journal may go on remembering."""
    mixed = written(tmp_path, "pedido-1\nnobody\npedido-2\n", "mixed.txt")
    journal = str(tmp_path / "sweep.journal")
    printed(capsys, "reprocess", mixed, "--yes", "--journal", journal, status=1)
    assert "1 of 1 would be re-sent" in printed(capsys, "reprocess", journal, "--failed", "--dry-run")
    again = summed(capsys, "reprocess", journal, "--failed", "--yes", "--journal", journal, status=1)
    assert "1 voucher: 1 nothing to do; billed calls: 0" in again
    assert "not found in the journal" in again


def test_results_as_a_stream(served: str, tmp_path: Path) -> None:
    """``--json`` and ``--output -``: an object a line on standard output, the sums on standard error."""
    for option in (["--json"], ["--output", "-"]):
        command = [*COMMAND, "reprocess", served, "--yes", "--interval", "0", *option]
        done = preloaded.run(command, capture_output=True, text=True, check=False)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert sorted(each["external_reference"] for each in told) == sorted(f"pedido-{n}" for n in range(40))
        assert "40 vouchers:" in done.stderr


def test_a_stream_whose_reader_leaves_loses_nothing(served: str, tmp_path: Path) -> None:
    """Sending goes on; all that was to be streamed is told on standard error, and the status says so."""
    command = [*COMMAND, "reprocess", served, "--yes", "--interval", "0.02", "--json"]
    with preloaded.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweep:
        assert sweep.stdout is not None
        assert sweep.stderr is not None
        json.loads(sweep.stdout.readline())
        sweep.stdout.close()
        told = sweep.stderr.read()
    assert sweep.returncode == 3
    assert told.count("\taccepted\tresponse\t1\t") == 40
    assert "Traceback" not in told


def test_a_reader_that_has_enough_is_no_error(served: str) -> None:
    """``errored | head -1``, in lines and in JSON: nothing on standard error, and 0."""
    for option in ([], ["--json"]):
        command = [*COMMAND, "errored", "2026-03-18", *option]
        with preloaded.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reading:
            assert reading.stdout is not None
            assert reading.stderr is not None
            reading.stdout.close()
            assert reading.stderr.read() == ""
        assert reading.returncode == 0


def test_lookup_from_a_file_tells_who_is_missing(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each once, on standard error, with status 1; those that were found in the order asked."""
    path = written(tmp_path, "pedido-1\nnobody-1\npedido-2\nnobody-2\n")
    assert run(["lookup", "pedido-3", "--file", path]) == 1
    captured = capsys.readouterr()
    assert [line.split("\t")[0] for line in captured.out.splitlines()] == ["pedido-3", "pedido-1", "pedido-2"]
    assert captured.err.splitlines() == ["nobody has nobody-1", "nobody has nobody-2"]
    assert run(["lookup"]) == 2


def test_a_large_run_shows_a_person_what_needs_attention(tmp_path: Path) -> None:
    """Those that ended well are counted; a file has them all."""
    many = written(tmp_path, "".join(f"n-{n}\n" for n in range(100)))
    person = terminal("reprocess", many, "--sandbox", "--interval", "0")
    person.expect(r"(\d+) that ended well or were not begun are not shown; --output FILE keeps every one")
    hidden, shown = int(person.match[1]), re.sub(r"\x1b\[[0-9;]*m", "", person.before)
    person.expect("100 vouchers:")
    assert status(person) == 1
    assert 70 < hidden < 100
    assert shown.count("│ not found") == 100 - hidden


def test_quiet_is_the_sums_alone(tmp_path: Path) -> None:
    """And what went wrong."""
    path = written(tmp_path, "pedido-1001\n")
    done = preloaded.run(
        [*COMMAND, "reprocess", path, "--sandbox", "-q"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "1 voucher: 1 accepted; billed calls: 1; confirmed by webhook: 1"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A service that has ``a`` and ``b``, errored; ``refs.txt`` in the current folder names ``c``, too."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "a\nc\nb\n")
    with counting(["a", "b"]) as serving:
        for name, value in environment(serving.url).items():
            monkeypatch.setenv(name, value)
        yield serving


@pytest.mark.parametrize("option", [("--json",), ("--output", "-"), ("--output", "r.csv", "--output", "-")])
def test_results_as_lines(option: tuple[str, ...], server: Loopback) -> None:
    """On standard output, and nothing else there; the sums are on standard error."""
    done = piped("reprocess", "refs.txt", "--yes", *option)
    results = {each["external_reference"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert {name: each["outcome"] for name, each in results.items()} == {
        "a": "accepted", "b": "accepted", "c": "not_found"
    }  # fmt: skip
    assert results["a"]["attempts"][0]["evidence"] == "answered"
    assert "3 vouchers: 2 accepted, 1 not found" in done.stderr
    assert (done.returncode, Path("r.csv").exists(), Path("-").exists()) == (1, "r.csv" in option, False)


def test_each_line_as_its_result_ends(server: Loopback) -> None:
    """Whoever reads along need not wait for the end."""
    command = Running("reprocess", "refs.txt", "--yes", "--json", "--concurrency", "1")
    assert command.process.stdout is not None
    server.latency = 0.3
    first = json.loads(command.process.stdout.readline())
    assert first["external_reference"] == "a"
    assert len(server.resends) < 3
    assert command.end()[0] == 1


def test_lines_that_are_not_taken(server: Loopback) -> None:
    """They are told on standard error, and the status says so; all is sent."""
    with Path("/dev/full").open("w") as full:
        done = preloaded.run(
            [*COMMAND, "reprocess", "refs.txt", "--yes", "--json"],
            stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    told = [line.split("\t")[0] for line in done.stderr.splitlines() if "\t" in line]
    assert sorted(told) == ["a", "b", "c"]
    assert "standard output is closed or full (No space left on device)" in done.stderr


def test_only_the_failed_ones_of_a_journal(server: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    """Of these credentials alone; the journal itself is only read."""
    assert piped("reprocess", "refs.txt", "--yes", "--journal", "sweep").returncode == 1

    async def fill() -> None:
        others = Credentials("9", "another", "another")
        async with Sandbox(credentials=others) as sandbox, Journal.open("sweep") as journal:
            async with AsyncClient(others, transport=sandbox.transport, min_interval=0) as client:
                await client.reprocess_all(["of-another-shop"], journal=journal)

    asyncio.run(fill())
    before = Path("sweep").read_bytes()
    assert "1 of 1 would be re-sent" in printed(capsys, "reprocess", "sweep", "--failed", "--dry-run")
    sent = len(server.resends)
    done = piped("reprocess", "sweep", "--failed", "--yes", "--journal", "another")
    assert (done.returncode, server.resends[sent:]) == (1, ["c"]), done.stderr
    assert Path("sweep").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("refs.txt", "--failed"), "does not tell what became of its references"),
        (("--errored-since", "2026-03-18", "--failed"), "--failed needs a file"),
    ],
)
def test_failures_that_nobody_told(
    arguments: tuple[str, ...], named: str, server: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no outcome is known, nothing is guessed."""
    assert run(["reprocess", *arguments, "--yes"]) == 2
    assert named in capsys.readouterr().err
    assert server.heads == []
