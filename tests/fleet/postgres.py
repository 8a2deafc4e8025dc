"""A PostgreSQL of one's own: an ordinary user's, on a socket in a temporary folder."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psycopg

ROLE = "fleet"
"""Owns databases, and is no superuser."""


def binaries() -> Path | None:
    """Where PostgreSQL's programs are: Debian keeps them off the path."""
    found = [path.parent for path in map(Path, glob.glob("/usr/lib/postgresql/*/bin/initdb"))]  # noqa: PTH207
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return max(found, key=lambda path: (path.parent.name.zfill(4), str(path)), default=None)


class Postgres:
    """A server that can be stopped, killed and started again."""

    def __init__(self, programs: Path, *, durable: bool = False, kept: Path | None = None) -> None:
        self._programs = programs
        self._durable = durable
        self._user = "postgres" if _exists("postgres") else "nobody"
        self._server: subprocess.Popen[bytes] | None = None
        self._kept = kept is not None
        self.folder = kept or Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))

    def __enter__(self) -> Self:
        if self.data.exists():
            self.start()
            return self
        self.folder.mkdir(exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-D", str(self.data), "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()
        with psycopg.connect(self.conninfo("postgres", "admin"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {ROLE} LOGIN NOSUPERUSER NOCREATEDB".encode())
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("fast" if self._kept else "immediate")
        if not self._kept:
            shutil.rmtree(self.folder)

    @property
    def cpu(self) -> float:
        """Seconds of processor that its processes have used, those that are gone counted in."""
        assert self._server is not None
        return cpu_of(self._server.pid, with_the_gone=True) + sum(
            cpu_of(int(path.parent.name))
            for path in Path("/proc").glob("[0-9]*/stat")
            if _stat(path)[1:2] == [str(self._server.pid)]
        )

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def conninfo(self, database: str, user: str = ROLE) -> str:
        return f"host={self.folder} port=5432 dbname={database} user={user}"

    def database(self, name: str, like: str = "template1") -> str:
        """A new database that the role owns; how to connect to it."""
        with psycopg.connect(self.conninfo("postgres", "admin"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" OWNER {ROLE} TEMPLATE "{like}"'.encode())
        return self.conninfo(name)

    def start(self) -> None:
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if self._durable else "off",  # the machine does not fail, only processes do
            "max_connections": "200",
            "autovacuum_naptime": "5s",
            "shared_buffers": "256MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            [str(self._programs / "postgres"), "-D", str(self.data), *options], **self.as_user()
        )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.conninfo("postgres", "admin")).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    def stop(self, how: str = "fast") -> None:
        """``fast``: connections are ended and the server shuts down. ``immediate``: as if it had crashed."""
        assert self._server is not None
        self._server.send_signal(signal.SIGINT if how == "fast" else signal.SIGQUIT)
        self._server.wait(30)

    def restart(self, how: str = "fast") -> None:
        self.stop(how)
        self.start()

    def standby(self, through: Path) -> Postgres:
        """A copy that follows this one through a socket in that folder; ``start`` it."""
        copy = Postgres(self._programs, durable=self._durable)
        if os.getuid() == 0:
            shutil.chown(copy.folder, self._user)
        self._run(
            *("pg_basebackup", "-h", str(through), "-U", "admin", "-D", str(copy.data)),
            *("-R", "-X", "stream", "-c", "fast", "--no-sync"),
        )
        return copy

    def run(self, statement: str) -> None:
        """As its administrator."""
        with psycopg.connect(self.conninfo("postgres", "admin"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def dump(self, database: str) -> str:
        return self._run("pg_dump", "-h", str(self.folder), "-U", "admin", database).stdout.decode()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._programs / program), *arguments]
        user = self.as_user() | {"stdout": subprocess.PIPE}
        return subprocess.run(command, check=True, **user)

    def as_user(self) -> dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        options: dict[str, Any] = {
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            "cwd": self.folder,
        }
        if os.getuid() == 0:
            user = pwd.getpwnam(self._user)
            options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        return options


def cpu_of(process: int, *, with_the_gone: bool = False) -> float:
    """Seconds of processor that a process has used; of its children that are gone as well, if asked for."""
    fields = _stat(Path(f"/proc/{process}/stat"))
    return sum(map(int, fields[11 : 15 if with_the_gone else 13])) / os.sysconf("SC_CLK_TCK")


def memory_of(process: int) -> float:
    """MiB of memory that a process holds now."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _stat(path: Path) -> list[str]:
    """The fields behind the name: state, parent, …; none when it is gone."""
    try:
        return path.read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
