"""Nothing billed starts unasked; the question names the host, the point of sale and the most it can cost."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.person import COMMAND, printed, status, summed, terminal, written
from tusfacturas_async.cli.app import run
from tusfacturas_async.cli.ask import agreed
from tusfacturas_async.cli.signals import Interrupted, noticing
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS

DAY = "2026-03-18"


def left(capsys: pytest.CaptureFixture[str]) -> int:
    """Errored vouchers at the served sandbox."""
    return len(printed(capsys, "errored", DAY, "--json").splitlines())


@pytest.mark.parametrize("yes", [False, True])
def test_without_a_terminal_only_yes_bills(
    yes: bool, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script that forgot to say so sends nothing, and is told what to say."""
    commands = (
        ["reprocess", served, "--interval", "0"],
        ["delete", "pedido-39", DAY],
        ["change-date", "pedido-38", "2026-03-19", "2026-04-19"],
    )
    for command in commands[::-1]:
        done = subprocess.run(
            [*COMMAND, *command, *(["--yes"] if yes else [])], capture_output=True, text=True, check=False
        )
        assert (done.returncode == 2) != yes or (done.returncode, yes) == (1, True), done.stderr
        assert ("Give --yes" in done.stderr) != yes
    assert left(capsys) == (0 if yes else 40)


def test_the_question_names_host_point_of_sale_and_the_most_it_can_cost(served: str) -> None:
    """For each billed command; and no credential."""
    for command, what in (
        (
            ["reprocess", served],
            "40 vouchers will be re-sent: 40 billed calls if nothing goes wrong, at most 160",
        ),
        (["delete", "pedido-1", DAY], "pedido-1 of 2026-03-18 will be deleted: 1 billed call"),
        (
            ["change-date", "pedido-1", "2026-03-19", "2026-04-19"],
            "pedido-1 will get 2026-03-19, due 2026-04-19",
        ),
    ):
        person = terminal(*command)
        person.expect("Go on")
        said = re.sub(r"\s+", " ", person.before or "")
        person.sendline("no")
        assert status(person) == 0
        assert what in said
        assert f"127.0.0.1, point of sale {SANDBOX_CREDENTIALS.fingerprint}:" in said
        assert SANDBOX_CREDENTIALS.apitoken not in said


def test_delete_and_change_date_know_a_dry_run(served: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what it would do and cost, and does nothing."""
    assert "would be deleted: 1 billed call" in summed(capsys, "delete", "pedido-1", DAY, "--dry-run")
    change = ["change-date", "pedido-1", "2026-03-19", "2026-04-19", "--dry-run"]
    assert "would get 2026-03-19" in summed(capsys, *change)
    assert left(capsys) == 40


def test_a_dry_run_counts_repeats_once_and_reads_the_journal(
    served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And creates nothing: neither journal nor output."""
    source = written(tmp_path, "pedido-1\npedido-2\npedido-1\npedido-3\npedido-1\n")
    journal = tmp_path / "journal"
    command = ["reprocess", source, "--interval", "0", "--journal", str(journal)]
    assert "3 of 5 would be re-sent: 3 billed calls" in summed(capsys, *command, "--dry-run")
    assert not journal.exists()
    assert "billed calls: 3" in summed(capsys, *command, "--yes")
    assert "0 of 5 would be re-sent" in summed(capsys, *command, "--dry-run")


def test_a_reference_that_exists_with_forbidden_characters_can_be_sent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an option; without it all of them are named with their lines, and nothing is sent."""
    source = written(tmp_path, "ok-1\npedido 1001\nok-2\npedido/7\n")
    said = summed(capsys, "reprocess", source, "--sandbox", status=2)
    assert "line 2:" in said
    assert "line 4:" in said
    assert "--any-characters" in said
    run(["reprocess", source, "--sandbox", "--interval", "0", "--any-characters"])
    assert "pedido 1001\t" in capsys.readouterr().out


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
    with noticing(), pytest.raises(Interrupted):
        agreed("bill it", "a lot", yes=False)
