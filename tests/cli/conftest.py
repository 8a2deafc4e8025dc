"""A served sandbox for the commands."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tusfacturas_async
from tests.cli.helpers import written


@pytest.fixture(autouse=True)
def _heeded() -> None:
    """Who runs the tests may ignore signals, as ``nohup`` does: so would a command, rightly."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _covered(covered_processes: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is a process of its own: coverage looks into it."""
    if covered_processes is not None:
        monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", covered_processes)


@pytest.fixture(autouse=True)
def _commands_load_what_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    """From whatever folder they run."""
    monkeypatch.setenv("PYTHONPATH", str(Path(tusfacturas_async.__file__).parents[1]))


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """``tusfacturas sandbox serve`` with 40 errored vouchers, and the environment that it prints."""
    references = written(tmp_path, "".join(f"pedido-{n}\n" for n in range(40)), "served.txt")
    command = [sys.executable, "-m", "tusfacturas_async", "sandbox", "serve", references, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        for _ in range(4):
            name, _, value = serving.stdout.readline().removeprefix("export ").strip().partition("=")
            monkeypatch.setenv(name, value)
        yield references
        serving.send_signal(signal.SIGINT)
        assert serving.wait() == 130
