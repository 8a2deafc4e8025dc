"""What the tests have preloaded is the command as a Python of its own runs it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli import preloaded
from tests.cli.helpers import COMMAND, written


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("frobnicate",), ("reprocess", "-", "--sandbox", "--interval", "0"), ("lookup", "a")],
)
def test_what_it_says_and_how_it_ends(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Read from a pipe, said to a pipe; with the folder and the environment of who starts it."""
    command = [*COMMAND, *arguments]
    ends = [
        start(command, input="pedido-1\npedido-\xf1\n", capture_output=True, text=True, cwd=tmp_path)
        for start in (subprocess.run, preloaded.run)
    ]
    real, ours = ((done.returncode, done.stdout, done.stderr) for done in ends)
    assert real == ours


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(number: int, tmp_path: Path) -> None:
    """With the same status, whether it is heeded or kills."""
    command = [*COMMAND, "sandbox", "serve", written(tmp_path, "a\n"), "--port", "0"]
    ended = []
    for start in (subprocess.Popen, preloaded.Popen):
        with start(command, stdout=subprocess.PIPE, text=True) as serving:
            assert serving.stdout is not None
            serving.stdout.readline()
            serving.send_signal(number)
        ended.append(serving.returncode)
    assert ended[0] == ended[1]


def test_it_is_used() -> None:
    """Whatever else a caller asks for than what only a Python of its own can do."""
    for options, preloading in (({}, True), ({"preexec_fn": lambda: None}, False)):
        with preloaded.Popen([*COMMAND, "--version"], stdout=subprocess.DEVNULL, **options) as process:
            assert isinstance(process, preloaded.Popen) is preloading
