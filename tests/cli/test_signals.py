"""Ctrl-C, SIGTERM and SIGHUP: once lets what is in flight finish, twice ends at once; nothing is lost."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.helpers import (
    COMMAND,
    Running,
    environment,
    piped,
    status,
    terminal,
    until,
    written,
)
from tests.loopback import Loopback
from tusfacturas_async.cli.app import run
from tusfacturas_async.sandbox import Sandbox

REFERENCES = tuple(f"pedido-{n}" for n in range(40))
COUNTS = re.compile(
    r"interrupted: (\d+) done, (\d+) not sent, (\d+) unclear, (\d+) not found, "
    r"(\d+) in flight when it ended(?:, (\d+) rejected)?; (\d+) in all"
)


def counts(told: str) -> list[int]:
    """Done, not sent, unclear, not found, in flight, and all."""
    found = COUNTS.search(told)
    assert found is not None, told
    numbers = [int(number) for number in found.groups(default="0")]
    assert sum(numbers[:-1]) == numbers[-1], told
    return [*numbers[:5], numbers[-1]]


def test_ctrl_c_drains_and_the_journal_resumes(served: str, tmp_path: Path) -> None:
    """Progress on the terminal; Ctrl-C in the middle says what is safe; the same command goes on."""
    command = ["reprocess", served, "--yes", "--interval", "0.1", "--journal", str(tmp_path / "journal")]
    person = terminal(*command)
    person.expect(r"\d/40")
    person.expect("[5-9] accepted")
    person.sendintr()
    person.expect(r"stopping: \d+ in flight (is|are) let finish")
    person.expect(r"interrupted: (\d+) done, (\d+) not sent, 0 unclear")
    done, left = int(person.match[1]), int(person.match[2])
    person.expect("the journal .* keeps it from repeating anything")
    assert status(person) == 130
    assert done + left == 40
    assert 5 <= done < 40
    person = terminal(*command)
    person.expect(rf"{left} accepted, {done} nothing to do; billed calls: {left}")
    assert status(person) == 0


def test_without_a_journal_ctrl_c_names_the_check(served: str) -> None:
    """What to do next is said either way."""
    person = terminal("reprocess", served, "--yes", "--interval", "0.1")
    person.expect("[3-9] accepted")
    person.sendintr()
    person.expect("run it again with --check-first")
    assert status(person) == 130


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_each_signal_drains(number: int, code: int, folder: Path, server: Loopback) -> None:
    """What is in flight is answered, told and recorded; the status is the shells' for that signal."""
    written(folder, "".join(f"{reference}\n" for reference in (*REFERENCES, *REFERENCES[:10])))
    server.latency = 0.5
    command = Running("reprocess", "refs.txt", "--yes", "--interval", "0", "--concurrency", "4",
                      "--journal", "sweep", "--output", "r.jsonl")  # fmt: skip
    until(lambda: len(server.resends) >= 4)
    command.tell(number)
    ended, said, told = command.end()
    assert ended == code, told
    assert re.search(r"stopping: \d in flight (is|are) let finish; once more ends at once", told)
    done, unsent, unclear, absent, flying, given = counts(told)
    assert (unclear, absent, flying, given) == (0, 0, 0, 50)
    assert done + unsent == 50
    results = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    accepted = [each["external_reference"] for each in results if each["outcome"] == "accepted"]
    assert (len(accepted), sorted(set(accepted))) == (done, sorted(server.resends))
    assert len(results) == len(said.splitlines()) == 50
    assert piped("journal", "show", "sweep").stdout.split() == [str(len(server.resends)), "accepted"]


def test_a_second_ctrl_c_ends_at_once(folder: Path, server: Loopback) -> None:
    """With table, files and numbers, without a traceback; the journal knows what was on its way."""
    command = Running("reprocess", "refs.txt", "--yes", "--interval", "0", "--concurrency", "4",
                      "--journal", "sweep", "--output", "r.jsonl", "--report", "r.html")  # fmt: skip
    until(lambda: len(server.resends) >= 9)
    server.latency = 60.0
    before = len(server.resends)
    until(lambda: len(server.resends) >= min(before + 4, 40))
    command.tell(signal.SIGINT)
    assert "stopping: " in command.line()
    command.tell(signal.SIGINT)
    ended, said, told = command.end()
    assert ended == 130
    assert "Traceback" not in told
    done, _, unclear, absent, flying, given = counts(told)
    assert (unclear, absent, given) == (0, 0, 40)
    assert 1 <= flying <= 4
    assert done + flying == len(server.resends)
    assert "may have arrived, and been billed" in told
    assert said.count("accepted") == done
    results = [json.loads(line) for line in (folder / "r.jsonl").read_text().splitlines()]
    assert sum(each["outcome"] == "accepted" for each in results) == done
    assert (folder / "r.html").stat().st_size
    with closing(sqlite3.connect(folder / "sweep")) as journal:
        recorded = dict(
            journal.execute("SELECT coalesce(outcome, 'sending'), count(*) FROM journal GROUP BY 1")
        )
    assert recorded == {"accepted": done, "sending": flying}


def test_a_second_ctrl_c_on_a_terminal(folder: Path, server: Loopback) -> None:
    """As a person sees it."""
    server.latency = 60.0
    person = terminal("reprocess", "refs.txt", "--yes", "--interval", "0", "--concurrency", "3")
    person.expect("in flight: 3")
    person.sendintr()
    person.expect("stopping: 3 in flight are let finish")
    person.sendintr()
    person.expect("3 in flight when it ended; 40 in all")
    assert status(person) == 130
    assert "Traceback" not in person.before


def test_ctrl_c_before_anything_is_sent(folder: Path, server: Loopback) -> None:
    """While the errored ones are looked for, or the check looks, it ends plainly."""
    server.think = lambda: 60.0
    command = Running("lookup", "pedido-1")
    until(lambda: server.lookups == 1)
    command.tell(signal.SIGTERM)
    assert command.end() == (143, "", "")


def test_what_nohup_ignores_stays_ignored(folder: Path, server: Loopback) -> None:
    """A sweep that was started to outlive its terminal does."""
    server.latency = 0.2
    command = Running("reprocess", "refs.txt", "--yes", "--interval", "0", "--concurrency", "20",
                      preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # fmt: skip
    until(lambda: len(server.resends) >= 5)
    command.tell(signal.SIGHUP)
    ended, _, told = command.end()
    assert (ended, "40 vouchers: 40 accepted" in told) == (0, True)


@pytest.mark.parametrize(
    ("command", "done"),
    [
        (("delete", "pedido-1", "2026-03-18"), "deleted: pedido-1"),
        (("change-date", "pedido-1", "2026-03-19", "2026-04-19"), "date changed: pedido-1"),
    ],
    ids=["delete", "change-date"],
)
@pytest.mark.parametrize("signals", [1, 2])
async def test_a_change_on_its_way(
    signals: int, command: tuple[str, ...], done: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One signal lets it finish and tells what it did; a second one says that it may have arrived."""
    async with Sandbox(["pedido-1"], latency=1.0) as sandbox, sandbox.serve() as url:
        for name, value in environment(url).items():
            monkeypatch.setenv(name, value)
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *command, "--yes", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert process.stderr is not None
        while not sandbox.most_in_flight:
            await asyncio.sleep(0.01)
        process.terminate()
        assert b"stopping: 1 in flight" in await process.stderr.readline()
        if signals == 2:
            process.terminate()
        said, told = (stream.decode() for stream in await process.communicate())
    assert process.returncode == 143
    assert (done in said) == (signals == 1)
    assert ("pedido-1 was in flight and may have arrived" in told) == (signals == 2)
    assert "Traceback" not in told


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_the_input_is_typed(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever types the references is heard at once: the reading alone would wait for its end."""

    class Typed(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            signal.raise_signal(number)
            return b"pedido-1001"

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Typed()))
    assert run(["reprocess", "-", "--sandbox"]) == code
    assert capsys.readouterr() == ("", "")
