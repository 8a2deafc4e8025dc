"""What the tests of the command line do alike: run a command here, or as a person in a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect
import pytest

from tusfacturas_async.cli.app import run

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
COMMAND = (sys.executable, "-m", "tusfacturas_async")


def written(folder: Path, content: str, name: str = "refs.txt", encoding: str = "utf-8") -> str:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    assert run(arguments) == status
    return capsys.readouterr().out


def summed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Also what went to standard error: there the sums are told where standard output is no terminal."""
    assert run(arguments) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def terminal(*arguments: str) -> pexpect.spawn[str]:
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    return pexpect.spawn(
        sys.executable, ["-m", "tusfacturas_async", *arguments], env=environment, encoding="utf-8", timeout=30
    )


def status(person: pexpect.spawn[str]) -> int | None:
    """Of the command when it has ended. What it still says is read: a full terminal would let neither end."""
    person.expect(pexpect.EOF)
    code: int | None = person.wait()
    return code
