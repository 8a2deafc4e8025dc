"""A served sandbox for the commands."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tusfacturas_async
from tests.cli import preloaded
from tests.cli.helpers import counting, environment, written
from tests.cli.preloaded import Popen
from tests.loopback import Loopback


@pytest.fixture(autouse=True)
def _heeded() -> None:
    """Who runs the tests may ignore signals, as ``nohup`` does: so would a command, rightly."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _preloaded() -> Iterator[None]:
    yield
    preloaded.end()


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
    with Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        for _ in range(4):
            name, _, value = serving.stdout.readline().removeprefix("export ").strip().partition("=")
            monkeypatch.setenv(name, value)
        yield references
        serving.send_signal(signal.SIGINT)
        assert serving.wait() == 130


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the module's ``REFERENCES`` in its ``refs.txt``."""
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "".join(f"{reference}\n" for reference in request.module.REFERENCES))
    return tmp_path


@pytest.fixture
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A service that has the module's ``REFERENCES``, all errored; the environment leads to it."""
    with counting(request.module.REFERENCES) as serving:
        for name, value in environment(serving.url).items():
            monkeypatch.setenv(name, value)
        yield serving
