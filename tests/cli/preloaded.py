"""A Python that has loaded the command line, and forks into a command each time one is asked for.

Most of a command's processor time is its imports, and the tests start hundreds. What it becomes is a process
as any other: it falls out of ``serve``, runs the package as ``__main__``, and ends as Python ends.
"""

from __future__ import annotations

import fcntl
import gc
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Self, TypeVar

P = TypeVar("P", bound="Popen")

COMMAND = (sys.executable, "-m", "tusfacturas_async")

_AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE", "LD_")
"""Of the environment: what Python looks at before it runs anything. Other values need another Python."""

_HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MOST = 1 << 18


# -- in the tests -----------------------------------------------------------------------------------


class Popen(subprocess.Popen[Any]):
    """``subprocess.Popen`` of the command, by a Python that has loaded it.

    By one of its own, where something is asked for that cannot be had of one that runs already.
    """

    def __new__(cls, command: Sequence[str], **options: Any) -> Self:
        ignored = any(signal.getsignal(number) is signal.SIG_IGN for number in _HEEDED)
        if tuple(command[: len(COMMAND)]) != COMMAND or ignored or options.get("preexec_fn"):
            return subprocess.Popen(command, **options)  # type: ignore[return-value]
        return super().__new__(cls)

    def _execute_child(self, args: Sequence[str], *rest: Any) -> None:
        # Its arguments are CPython's own, 3.11 to 3.14.
        _executable, _before, _close, _pass, folder, environment, *others = rest
        _info, _flags, _shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *others = others
        *_, new_session, _group = others
        told, tells = os.pipe()
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        environment = dict(os.environ if environment is None else environment)
        at_start = {name: value for name, value in environment.items() if name.startswith(_AT_START)}
        wanted = [list(args[len(COMMAND) :]), str(folder or Path.cwd()), environment, new_session]
        try:
            self.pid = _python(json.dumps(at_start, sort_keys=True)).become(wanted, [*streams, tells])
        finally:
            os.close(tells)
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]
        self._told = os.fdopen(told, "rb", buffering=0)
        self._child_created = True

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags and not select.select([self._told], [], [], 0)[0]:
            return 0, 0
        status = int(self._told.read(16))
        self._told.close()
        return self.pid, status

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)  # type: ignore[attr-defined]
        return self.returncode


def run(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
    """``subprocess.run`` of the command, likewise."""
    given, check = options.pop("input", None), options.pop("check", False)
    seconds = options.pop("timeout", 60)
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with Popen(command, **options) as process:
        try:
            said, told = process.communicate(given, timeout=seconds)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, said, told)
    if check:
        done.check_returncode()
    return done


class _Python:
    """One that waits to become commands, until ``end``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._asking, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(its.fileno())],
            env={"PATH": os.environ["PATH"], **environment},
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        its.close()

    def become(self, wanted: list[Any], streams: Sequence[int]) -> int:
        socket.send_fds(self._asking, [json.dumps(wanted).encode()], streams)
        return int(self._asking.recv(16))

    def end(self) -> None:
        self._asking.close()
        self._process.wait(60)


_pythons: dict[str, _Python] = {}


def _python(at_start: str) -> _Python:
    if at_start not in _pythons:
        _pythons[at_start] = _Python(json.loads(at_start))
    return _pythons[at_start]


def end() -> None:
    """No more commands are asked for."""
    while _pythons:
        _pythons.popitem()[1].end()


# -- in that Python ---------------------------------------------------------------------------------


def serve(asked: socket.socket) -> None:
    """Fork for each who asks, and tell the status in the end; returns in what has become a command."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    telling: dict[int, int] = {}
    while True:
        ready = select.select([asked.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 1024)
            while telling and (ended := os.waitpid(-1, os.WNOHANG))[0]:
                os.write(told := telling.pop(ended[0]), str(ended[1]).encode())
                os.close(told)
        if asked.fileno() not in ready:
            continue
        message, streams, _, _ = socket.recv_fds(asked, _MOST, 4)
        if not message:
            os._exit(0)  # the tests are over
        pid = os.fork()
        if not pid:
            for each in (woken, wakes, asked.detach(), *telling.values(), streams.pop()):
                os.close(each)
            _become(streams, *json.loads(message))
            return
        asked.send(str(pid).encode())
        telling[pid] = streams.pop()
        for stream in streams:
            os.close(stream)


def _become(
    streams: list[int], arguments: list[str], folder: str, environment: dict[str, str], new_session: bool
) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    if new_session:
        os.setsid()
        if os.isatty(0):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    sys.path[0] = folder
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        old, bare = getattr(sys, name), number > 0 and "PYTHONUNBUFFERED" in environment
        raw: Any = open(number, "wb" if number else "rb", buffering=0 if bare else -1, closefd=False)  # noqa: SIM115
        lines = number == 2 or os.isatty(number)
        new = io.TextIOWrapper(raw, old.encoding, old.errors, "\n", line_buffering=lines, write_through=bare)
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)


def _load() -> None:
    """All that commands load at some time, but for what is optional."""
    import tusfacturas_async.cli  # noqa: PLC0415

    for module in pkgutil.iter_modules(tusfacturas_async.cli.__path__, "tusfacturas_async.cli."):
        import_module(module.name)
    gc.freeze()


if __name__ == "__main__":
    sys.path.pop(0)  # this folder
    sys.path.insert(0, "")
    _load()
    serve(socket.socket(fileno=int(sys.argv.pop())))
    runpy.run_module("tusfacturas_async", run_name="__main__", alter_sys=True)
