"""The command as a process: piped, or as a person has it, in a terminal; and a service that counts."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pexpect
import pytest
from pexpect import fdpexpect

from tests.cli import preloaded
from tests.loopback import Fault, Loopback
from tusfacturas_async.cli.app import run
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Queue

COMMAND = preloaded.COMMAND
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


def written(folder: Path, content: str, name: str = "refs.txt", encoding: str = "utf-8") -> str:
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return str(path)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """What a command says on standard output, run in this process."""
    capsys.readouterr()
    ended = run(arguments)
    captured = capsys.readouterr()
    assert ended == status, captured.err
    return captured.out


def summed(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Also what went to standard error: there the sums are told where standard output is no terminal."""
    assert run(arguments) == status
    captured = capsys.readouterr()
    return captured.out + captured.err


def piped(*arguments: str, given: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command without a terminal, at its end."""
    options = {"capture_output": True, "timeout": 60, **options}
    if given is None:
        options.setdefault("stdin", subprocess.DEVNULL)
    return preloaded.run([*COMMAND, *arguments], text=True, input=given, **options)


class Person(fdpexpect.fdspawn):  # type: ignore[misc]
    """Who sits before a terminal in which a command runs."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        self.process = preloaded.Popen(command, env=environment, start_new_session=True, **streams)
        os.close(slave)
        super().__init__(master, encoding="utf-8", timeout=30)

    def sendintr(self) -> None:
        self.send("\x03")

    def kill(self, number: int) -> None:
        self.process.send_signal(number)


def terminal(*arguments: str, columns: int = 120) -> Person:
    return Person([*COMMAND, *arguments], {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"})


def status(person: Person) -> int:
    """Of the command when it has ended. What it still says is read: a full terminal would let neither end."""
    person.expect(pexpect.EOF)
    person.close()
    return int(person.process.wait())


def plain(text: str) -> str:
    """Without what colours it and moves the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def until(holds: Callable[[], bool]) -> None:
    """Wait for a server's side effect, which has no event in this thread."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


@contextmanager
def counting(
    references: Iterable[str], resend_faults: Iterable[Fault] = (), *, latency: float = 0.0
) -> Iterator[Loopback]:
    """A service in a thread of its own, which counts the billed calls as they arrive."""
    ready, over = threading.Event(), threading.Event()
    server = Loopback(Queue(references), resend_faults)
    server.latency = latency

    async def serve() -> None:
        async with server:
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(10)
        yield server
    finally:
        over.set()
        thread.join()


def environment(url: str) -> dict[str, str]:
    """What leads a command to the service at ``url``."""
    names = ("apikey", "apitoken", "usertoken")
    secrets = {f"TUSFACTURAS_{name.upper()}": getattr(SANDBOX_CREDENTIALS, name) for name in names}
    return {**secrets, "TUSFACTURAS_BASE_URL": url}


class Running:
    """The command without a terminal, while it runs."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self.process: subprocess.Popen[str] = preloaded.Popen(
            [*COMMAND, *arguments], text=True, stdin=subprocess.DEVNULL, start_new_session=True, **options
        )

    def tell(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def line(self) -> str:
        """The next line that it says on standard error."""
        assert self.process.stderr is not None
        return str(self.process.stderr.readline()).rstrip("\n")

    def end(self) -> tuple[int, str, str]:
        """Its status, and what it still said on standard output and on standard error."""
        said, told = self.process.communicate(timeout=60)
        return self.process.returncode, said, told
