"""Who may use a file at once: one owner, held by a lock, and any number of readers, who change nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.files import ended, foreign_database, free, mode, names, newer_journal, refused
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import (
    EncoladoWebhook,
    Inbox,
    Journal,
    JournalError,
    JournalInUseError,
)
from tusfacturas_async._storage import writer

MINE = CREDENTIALS.identity
EAST = timezone(timedelta(hours=9))
SINCE = datetime(2026, 3, 18, 18, 0, tzinfo=UTC)


# -- one owner ------------------------------------------------------------------------------------

OWNER = """
    import asyncio, datetime, sys
    from tusfacturas_async import Identity, Journal

    async def main(path, rows):
        async with Journal.open(path) as journal:
            for n in range(int(rows)):
                since = datetime.datetime.now(datetime.UTC)
                await journal.sending(Identity("0" * 16, "1" * 16), f"r{n}", since)
            print("opened", flush=True)
            await asyncio.to_thread(sys.stdin.read)

    asyncio.run(main(*sys.argv[1:]))
"""


@contextlib.asynccontextmanager
async def owned_elsewhere(path: Path, rows: int = 0) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process has the journal open; it closes it when its standard input ends."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", textwrap.dedent(OWNER), str(path), str(rows)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    assert await owner.stdout.readline() == b"opened\n"
    try:
        yield owner
    finally:
        owner.stdin.close()
        await owner.wait()


async def test_one_process_holds_it(tmp_path: Path) -> None:
    """Another one is told so, also after somebody here opened and closed the file; then it is free."""
    path = tmp_path / "journal"
    async with owned_elsewhere(path):
        await refused(path)
    await free(path)
    async with Journal.open(path) as journal:
        path.open("rb").close()  # with this, SQLite's own locks are gone
        other = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", textwrap.dedent(OWNER), str(path), "0"), stderr=asyncio.subprocess.PIPE
        )
        _, said = await other.communicate()
        assert b"in use by another process" in said
        assert await journal.summary() == {}


async def test_a_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    """What it had made durable is there."""
    path = tmp_path / "journal"
    async with owned_elsewhere(path, rows=3) as owner:
        owner.kill()
        await owner.wait()
        assert (tmp_path / "journal.lock").exists()
        async with Journal.open(path) as journal:
            assert await journal.summary() == {"sending": 3}
    assert names(tmp_path) == ["journal"]


async def test_a_forked_child_does_not_hold_the_lock_on(tmp_path: Path) -> None:
    """It has a copy of the descriptor, and outlives its parent."""
    script = """
        import asyncio, os, sys, time
        from tusfacturas_async import Journal

        async def main(path):
            async with Journal.open(path):
                if os.fork() == 0:
                    print(os.getpid(), flush=True)
                    os.close(1)
                    time.sleep(60)
                os._exit(0)

        asyncio.run(main(sys.argv[1]))
    """
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", textwrap.dedent(script), str(tmp_path / "journal")),
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    said = await parent.stdout.readline()  # of the child: it has let go of the lock
    await parent.wait()
    try:
        await free(tmp_path / "journal")
    finally:
        os.kill(int(said), 9)
        await parent.stdout.read()  # on uvloop the child has a copy of the pipe, too


@pytest.mark.parametrize("same", [True, False])
async def test_entered_twice_it_leaves_the_first_use_whole(same: bool, tmp_path: Path) -> None:
    """The same object, or another one of the same file."""
    first = Journal.open(tmp_path / "journal")
    second = first if same else Journal.open(tmp_path / "journal")
    async with first:
        await first.record(MINE, ended("a"))
        with pytest.raises(JournalInUseError, match="in use"):
            async with second:
                raise AssertionError
        await first.record(MINE, ended("b"))
        assert await first.summary() == {"accepted": 2}
    async with second:
        assert await second.summary() == {"accepted": 2}


async def test_another_program_can_have_it_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that knows SQLite's locks and not ours: it is in use as well, and free again afterwards."""
    monkeypatch.setattr(writer, "PATIENCE", 0.01)
    await free(tmp_path / "journal")
    with contextlib.closing(sqlite3.connect(tmp_path / "journal")) as shell:
        shell.execute("BEGIN IMMEDIATE")
        await refused(tmp_path / "journal")
    await free(tmp_path / "journal")


async def test_an_inbox_entered_twice_leaves_the_first_use_whole(tmp_path: Path) -> None:
    """It goes on receiving and handling, and may be entered again later."""
    seen: list[str | None] = []

    async def handler(event: Any) -> None:
        seen.append(event.external_reference)

    inbox = Inbox.open(tmp_path / "inbox", handler)
    for reference in ("a", "b"):
        async with inbox:
            with pytest.raises(JournalInUseError, match="in use"):
                async with inbox:
                    raise AssertionError
            await inbox.receive(EncoladoWebhook(external_reference=reference, creado="now"))
            await inbox.drain()
    assert seen == ["a", "b"]


async def test_two_names_are_one_file(tmp_path: Path) -> None:
    """A symbolic link works, and excludes; a hard link is refused, since the -wal goes by the name."""
    path, link = tmp_path / "journal", tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    async with Journal.open(link) as journal:  # creates what it points to
        await journal.record(MINE, ended("a"))
        await refused(path)
        await refused(tmp_path / "elsewhere" / ".." / "journal")
    async with Journal.open(path) as journal:
        assert await journal.summary() == {"accepted": 1}
        await refused(link)
    assert (names(tmp_path), names(link.parent)) == (["elsewhere", "journal"], ["link"])
    os.link(path, tmp_path / "hard")
    await refused(path, "hard link")


async def test_a_folder_changed_in_between_is_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is taken where it was entered."""
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    async with Journal.open("journal") as journal:
        monkeypatch.chdir(tmp_path / "other")
        await journal.record(MINE, ended("a"))
    assert (names(tmp_path), names(tmp_path / "other")) == (["journal", "other"], [])


async def test_a_deleted_lock_is_told(tmp_path: Path) -> None:
    """It would keep nobody out; the next owner's lock is not taken away at the end."""
    path, lock = tmp_path / "journal", tmp_path / "journal.lock"
    async with Journal.open(path) as journal:
        lock.unlink()
        lock.touch()  # the next owner's
        with pytest.raises(JournalError, match="lock was deleted or replaced"):
            await journal.record(MINE, ended("a"))
    assert lock.exists()


async def test_after_a_clean_close_the_file_alone_is_the_whole(tmp_path: Path) -> None:
    """It can be moved and copied by itself."""
    async with Journal.open(tmp_path / "journal") as journal:
        for n in range(100):
            await journal.record(MINE, ended(f"r{n}"))
        assert names(tmp_path) == ["journal", "journal-shm", "journal-wal", "journal.lock"]
    assert names(tmp_path) == ["journal"]
    (tmp_path / "journal").rename(tmp_path / "moved")
    async with Journal.open(tmp_path / "moved") as journal:
        assert await journal.summary() == {"accepted": 100}


@pytest.mark.parametrize("kind", [Journal, Inbox])
async def test_what_it_writes_is_its_owners_alone(kind: Any, tmp_path: Path) -> None:
    """Mode 0600 for each file, whatever the umask; an existing file keeps its mode."""
    path = tmp_path / "file"
    before = os.umask(0)
    try:
        async with kind.open(path) as opened:
            await opened._storage.run(lambda connection: connection.total_changes)
            modes = {name: mode(tmp_path / name) for name in names(tmp_path)}
        assert modes == dict.fromkeys(("file", "file-shm", "file-wal", "file.lock"), 0o600)
        path.chmod(0o640)
        async with kind.open(path):
            assert mode(path) == 0o640
        os.umask(0o277)
        async with kind.open(tmp_path / "strict"):
            assert mode(tmp_path / "strict") == 0o600
    finally:
        os.umask(before)


# -- readers --------------------------------------------------------------------------------------


async def told(path: Path) -> list[str]:
    async with Journal.read(path) as reader:
        rows = [row.external_reference async for row in reader]
        assert sum((await reader.summary()).values()) == len(rows)
    return rows


async def test_others_read_while_its_owner_runs(tmp_path: Path) -> None:
    """What is durable is seen, also what comes later; nothing is created, and the owner is not disturbed."""
    path = tmp_path / "journal"
    async with owned_elsewhere(path, rows=2):
        before = names(tmp_path)
        assert await told(path) == ["r0", "r1"]
        assert names(tmp_path) == before
    assert names(tmp_path) == ["journal"]
    async with Journal.open(path) as journal, Journal.read(path) as reader:
        assert await reader.summary() == {"sending": 2}
        await journal.record(MINE, ended("a"))
        assert await reader.summary() == {"accepted": 1, "sending": 2}
    assert names(tmp_path) == ["journal"]


async def test_a_reader_writes_nothing(tmp_path: Path) -> None:
    """Closed, killed, or copied after a kill without its -shm: each is read, and stays as it was."""
    closed, killed, copied = (tmp_path / name for name in ("closed", "killed", "copied"))
    for folder in (closed, killed, copied):
        folder.mkdir()
    async with owned_elsewhere(closed / "journal", rows=2):
        pass
    async with owned_elsewhere(killed / "journal", rows=2) as owner:
        owner.kill()
        await owner.wait()
    for suffix in ("", "-wal"):
        shutil.copy(killed / f"journal{suffix}", copied / f"journal{suffix}")
    for folder in (closed, killed, copied):
        path = folder / "journal"
        before = {each.name: each.read_bytes() for each in folder.iterdir() if not each.name.endswith("-shm")}
        listed = names(folder)
        assert await told(path) == ["r0", "r1"]
        assert names(folder) == listed
        assert before == {name: (folder / name).read_bytes() for name in before}
        async with Journal.open(path) as journal:
            assert await journal.summary() == {"sending": 2}


async def test_a_reader_follows_what_happens_to_the_file(tmp_path: Path) -> None:
    """Its owner comes and goes while it reads."""
    path = tmp_path / "journal"
    await free(path)
    async with Journal.read(path) as reader:
        for n in range(1, 4):
            async with Journal.open(path) as journal:
                await journal.record(MINE, ended(f"r{n}"))
                assert await reader.summary() == {"accepted": n}
            assert await reader.summary() == {"accepted": n}
    assert names(tmp_path) == ["journal"]


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda _: None, "there is no journal"),
        (lambda path: path.touch(), "not a journal"),
        (foreign_database, "not a journal"),
        (newer_journal, "version 99"),
        (lambda path: path.write_text("external_reference\n" * 100), "not a database"),
    ],
    ids=["nothing", "empty", "foreign", "newer", "text"],
)
async def test_a_reader_refuses_what_is_not_its_own(
    make: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    """And creates nothing in its place."""
    make(tmp_path / "journal")
    before = names(tmp_path)
    with pytest.raises(JournalError, match=named):
        await told(tmp_path / "journal")
    assert names(tmp_path) == before


async def test_an_inbox_is_read_while_its_owner_runs(tmp_path: Path) -> None:
    """The states, and one of them."""
    path = tmp_path / "inbox"
    async with Inbox.open(path) as inbox, Inbox.read(path) as reader:
        for reference in ("a", "b"):
            await inbox.receive(EncoladoWebhook(external_reference=reference, creado="now"))
        assert [state.external_reference async for state in reader.states()] == ["a", "b"]
        state = await reader.state("b")
        assert state is not None
        assert await reader.state("c") is None
    with pytest.raises(JournalError, match="not a journal"):
        await told(path)
