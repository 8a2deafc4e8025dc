"""Nothing billed begins unasked; the question says where, whose, and what it may cost."""

from __future__ import annotations

import io
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.helpers import counting, environment, piped, plain, status, terminal, written
from tusfacturas_async.cli.app import run
from tusfacturas_async.cli.ask import agreed
from tusfacturas_async.cli.signals import SignalledError, noticing
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

BILLED = (
    ("reprocess", "refs.txt"),
    ("delete", "pedido-1", "2026-03-18"),
    ("change-date", "pedido-1", "2026-03-19", "2026-04-19"),
)


@pytest.mark.parametrize("command", BILLED, ids=[name for name, *_ in BILLED])
def test_without_a_terminal_nothing_billed_starts(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless ``--yes`` was given: from cron or a pipe nobody could have said so."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "pedido-1\n")
    with counting(["pedido-1"]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        for given in (None, "y\n"):
            done = piped(*command, given=given)
            assert done.returncode == 2
            assert "no terminal to ask on" in done.stderr
            assert "--yes" in done.stderr
        assert server.heads == []


def test_a_stream_of_references_needs_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the references on standard input is no answer; with ``--yes`` or ``-y`` they are sent."""
    with counting(["a", "b"]) as server:
        for name, value in environment(server.url).items():
            monkeypatch.setenv(name, value)
        assert piped("reprocess", "-", given="a\ny\n").returncode == 2
        assert server.resends == []
        assert piped("reprocess", "-", "--yes", given="a\n").returncode == 0
        assert piped("reprocess", "-", "-y", given="b\n").returncode == 0
        assert server.resends == ["a", "b"]


def test_the_prompt_asks_before_a_billed_run(served: str) -> None:
    """No is no, yes is yes, Ctrl-C is 130, and --yes does not ask."""
    for answer, told in (("n", "nothing was sent"), ("", "nothing was sent")):
        person = terminal("reprocess", served, "--interval", "0")
        person.expect("40 vouchers will be re-sent")
        person.sendline(answer)
        person.expect(told)
        assert status(person) == 0
    person = terminal("reprocess", served, "--interval", "0")
    person.expect("Go on")
    person.sendintr()
    assert status(person) == 130
    assert "Traceback" not in person.before
    person = terminal("--lang", "es", "reprocess", served, "--interval", "0")
    person.expect("Seguir")
    person.sendline("s")
    person.expect("40 aceptado")
    assert status(person) == 0
    person = terminal("reprocess", served, "--interval", "0", "--yes")
    person.expect("40 not found")
    assert status(person) == 1


@pytest.mark.parametrize("command", BILLED, ids=[name for name, *_ in BILLED])
def test_the_question_names_host_point_of_sale_and_cost(
    command: tuple[str, ...], tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point of sale by its fingerprint, since the key is a secret; the cost at its most."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "pedido-1\npedido-2\npedido-1\n")
    person = terminal(*command)
    person.expect("Go on")
    asked = " ".join(plain(person.before).split())
    assert f"127.0.0.1, point of sale {SANDBOX_CREDENTIALS.fingerprint}:" in asked
    count = 2 if command[0] == "reprocess" else 1
    assert f"{count} billed call" in asked
    assert f"at most {4 * count}" in asked
    assert SANDBOX_CREDENTIALS.apitoken not in asked
    person.sendline("n")
    assert status(person) == 0


@pytest.mark.parametrize("command", BILLED[1:], ids=[name for name, *_ in BILLED[1:]])
def test_a_change_is_asked_for_and_rehearsed(
    command: tuple[str, ...], served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--dry-run`` shows the voucher and its cost, and changes nothing; a yes changes it."""
    assert run([*command, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "pedido-1" in out
    assert "1 billed call" in out
    assert "nothing was sent" in out
    assert "CON ERROR" in piped("lookup", "pedido-1").stdout
    person = terminal(*command)
    person.expect("Go on")
    person.sendline("y")
    person.expect("deleted: pedido-1|date changed: pedido-1")
    assert status(person) == 0
    assert "CON ERROR" not in piped("lookup", "pedido-1").stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_at_the_question_is_a_no(number: int, code: int, served: str) -> None:
    """Nothing is sent, and the status is that of the signal."""
    person = terminal("reprocess", served)
    person.expect("Go on")
    person.kill(number)
    assert status(person) == code
    assert "Traceback" not in person.before
    assert "40 of 40" in piped("reprocess", served, "--check-first", "--dry-run").stdout


async def test_ctrl_c_is_heeded_as_soon_as_the_question_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the question and the reading of its answer, too: there it was noted, and the answer read."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def flush(self) -> None:
            if "Go on" in self.getvalue():
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    monkeypatch.setattr(sys, "stderr", Terminal())
    with noticing(), pytest.raises(SignalledError):
        agreed("bill it", "a lot", yes=False)
