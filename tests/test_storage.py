"""The files of journal and inbox: what they refuse, the thread that serves them, what their disks do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.files import ended, foreign_database, free, names, newer_journal, refused
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import (
    EncoladoWebhook,
    Inbox,
    InvalidReferenceError,
    Journal,
    JournalError,
    Outcome,
    RejectedError,
    ReprocessResult,
)
from tusfacturas_async._storage import writer
from tusfacturas_async._wire.convert import ARGENTINA
from tusfacturas_async.sandbox import Sandbox

MINE = CREDENTIALS.identity
EAST = timezone(timedelta(hours=9))
SINCE = datetime(2026, 3, 18, 18, 0, tzinfo=UTC)


# -- opening --------------------------------------------------------------------------------------


def corrupt_journal(path: Path) -> None:
    async def fill() -> None:
        async with Journal.open(path) as journal:
            for n in range(300):
                await journal.sending(MINE, f"reference-{n:03d}" * 8, SINCE)

    asyncio.run(fill())
    content = bytearray(path.read_bytes())
    content[8192 : len(content) - 4096] = b"\xa5" * (len(content) - 12288)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: path.write_text("external_reference\n" * 100), "not a database"),
        (foreign_database, "not a journal"),
        (newer_journal, "version 99"),
        (corrupt_journal, "corrupt|malformed"),
        (lambda path: path.mkdir(), "unable to open"),
    ],
    ids=["text", "foreign", "newer", "corrupt", "folder"],
)
async def test_a_file_that_is_not_its_own_is_refused(
    make: Callable[[Path], None], named: str, tmp_path: Path
) -> None:
    """With a clear error, and without touching it."""
    path = tmp_path / "journal"
    await asyncio.to_thread(make, path)
    before = path.read_bytes() if path.is_file() else b""
    await refused(path, named)
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize("name", ["nowhere", "unlocked"])
async def test_a_missing_folder_is_refused(name: str, tmp_path: Path) -> None:
    """It is not created silently somewhere else; and whatever its name is, nobody holds it."""
    await refused(tmp_path / name / "journal", r"unable to open .*No such file")


async def test_a_journal_that_is_not_open_says_so(tmp_path: Path) -> None:
    """Before and after."""
    journal = Journal.open(tmp_path / "journal")
    with pytest.raises(JournalError, match="not open"):
        await journal.sending(MINE, "a", SINCE)
    async with journal:
        await journal.sending(MINE, "a", SINCE)
    with pytest.raises(JournalError, match="not open"):
        await journal.summary()


@pytest.mark.parametrize("path", [3, None, b"journal", ["journal"]])
@pytest.mark.parametrize("opening", [Journal.open, Journal.read, Inbox.open, Inbox.read])
def test_what_is_no_path_is_told_at_once(opening: Callable[[Any], object], path: object) -> None:
    """Where it is given, not when it is entered."""
    with pytest.raises(TypeError, match=f"path must be .* not {type(path).__name__}"):
        opening(path)


# -- the thread -----------------------------------------------------------------------------------


class UnforeseenError(Exception):
    """What nobody thought of."""


def failing(error: BaseException) -> Callable[[sqlite3.Connection], None]:
    def job(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM journal")  # is undone
        rows = connection.execute("SELECT 1 UNION SELECT 2")
        rows.fetchone()  # and goes on holding the file, as long as the error holds this frame
        raise error

    return job


@pytest.mark.parametrize(
    "error",
    [UnforeseenError("why"), sqlite3.OperationalError("why"), UnicodeEncodeError("utf-8", "x", 0, 1, "why")],
)
async def test_a_job_that_fails_harms_no_other(error: Exception, tmp_path: Path) -> None:
    """It is told with file and row; the others of its group are written, and the thread lives on."""
    path = tmp_path / "journal"
    async with Journal.open(path) as journal:
        await journal.rows(MINE, [])
        group: list[Awaitable[Any]] = [
            journal.record(MINE, ended("a")),
            journal._storage.run(failing(error), "row-b"),
            journal.record(MINE, ended("c")),
        ]
        first, failed, third = await asyncio.gather(*group, return_exceptions=True)
        assert (first, third) == (None, None)
        assert isinstance(failed, JournalError)
        assert failed.__cause__ is error
        for named in (str(path), "'row-b'", "why"):
            assert named in str(failed)
        assert await journal.summary() == {"accepted": 2}
    assert names(tmp_path) == ["journal"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("outcome", "'acceptad'"),
        ("outcome", "x'ff'"),
        ("updated_at", "'yesterday'"),
        ("updated_at", "'2026-03-18T15:00:00'"),
        ("updated_at", "x'00'"),
        ("since", "'soon'"),
        ("billed_calls", "'many'"),
        ("outcome", "CAST(x'ff' AS TEXT)"),
    ],
)
async def test_a_damaged_row_is_told_when_it_is_read(column: str, value: str, tmp_path: Path) -> None:
    """By its name; what stands before it is read, and other references are served."""
    path = tmp_path / "journal"
    async with Journal.open(path) as journal:
        for reference in ("a", "blocked", "c"):
            await journal.record(MINE, ended(reference, Outcome.UNKNOWN))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"UPDATE journal SET {column}={value} WHERE external_reference='blocked'")  # noqa: S608
        connection.commit()
    async with Journal.open(path) as journal:
        assert set(await journal.rows(MINE, ["a", "c"])) == {"a", "c"}
        with pytest.raises(JournalError, match=rf"{path}.*the row of 'blocked' .*is damaged"):
            await journal.rows(MINE, ["a", "blocked", "c"])
        read = []
        with pytest.raises(JournalError, match=r"the row of 'blocked' .*is damaged"):
            async for row in journal:
                read.append(row.external_reference)  # noqa: PERF401 - as far as it goes
        assert read == ["a"]
        if column == "outcome":
            with pytest.raises(JournalError, match=r"the row of 'blocked' .*is damaged"):
                await journal.summary()
            with pytest.raises(JournalError, match=r"the row of 'blocked' .*is damaged"):
                await journal.sending(MINE, "blocked", SINCE, doubtful=True)
        await journal.record(MINE, ended("c"))


async def test_a_damaged_event_is_told_when_it_is_read(tmp_path: Path) -> None:
    """By its number; other references are served."""
    path = tmp_path / "inbox"
    async with Inbox.open(path) as inbox:
        for reference in ("a", "b"):
            await inbox.receive(EncoladoWebhook(external_reference=reference, creado="now"))
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE events SET payload='{' WHERE external_reference='a'")
        connection.commit()
    async with Inbox.read(path) as inbox:
        assert await inbox.state("b") is not None
        with pytest.raises(JournalError, match=f"{path}.*the event of row 1 is damaged"):
            await inbox.state("a")
        with pytest.raises(JournalError, match="the event of row 1 is damaged"):
            [state async for state in inbox.states()]


async def test_bad_input_is_told_where_it_is_given(tmp_path: Path) -> None:
    """A lone surrogate, a time without a zone: the caller's error, and nobody else's."""
    naive = datetime(2026, 3, 18)  # noqa: DTZ001
    async with Journal.open(tmp_path / "journal") as journal, Inbox.open(tmp_path / "inbox") as inbox:
        await journal.rows(MINE, [])
        with pytest.raises(InvalidReferenceError, match="lone surrogate"):
            await journal.rows(MINE, ["a", "\ud800"])
        with pytest.raises(InvalidReferenceError, match="lone surrogate"):
            await journal.sending(MINE, "\ud800", SINCE)
        with pytest.raises(InvalidReferenceError, match="lone surrogate"):
            await journal.record(MINE, ended("\ud800"))
        with pytest.raises(ValueError, match="since must have a time zone"):
            await journal.sending(MINE, "a", naive)
        assert await journal.sending(MINE, "a", SINCE) is None
        with pytest.raises(InvalidReferenceError, match="lone surrogate"):
            await inbox.receive(EncoladoWebhook(external_reference="\ud800"))
        with pytest.raises(InvalidReferenceError, match="lone surrogate"):
            await inbox.state("\ud800")
        for created in (naive, datetime.min.replace(tzinfo=EAST), datetime.max.replace(tzinfo=ARGENTINA)):
            with pytest.raises(ValueError, match="created_at"):
                await inbox.receive(EncoladoWebhook(external_reference="a", created_at=created))
        assert await inbox.receive(EncoladoWebhook(external_reference="a")) is True


async def test_an_error_that_quotes_what_no_file_can_hold_is_recorded(tmp_path: Path) -> None:
    """The service's text may have a lone surrogate: its outcome must not be lost for that."""
    refusal = RejectedError("the service said \ud800")
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.record(MINE, ReprocessResult("a", Outcome.REJECTED, error=refusal))
        row = (await journal.rows(MINE, ["a"]))["a"]
    assert (row.outcome, row.error) == (Outcome.REJECTED, "the service said \\ud800")


async def test_if_the_thread_dies_nobody_waits_for_it(tmp_path: Path) -> None:
    """Those of its group, those behind it, and those who come later are told; the file is free again."""
    path = tmp_path / "journal"
    async with Journal.open(path) as journal:
        await journal.rows(MINE, [])
        deadly = journal._storage.run(failing(SystemExit("gone")))
        waiting = [journal.record(MINE, ended(f"r{n}")) for n in range(1500)]
        ends = await asyncio.gather(deadly, *waiting, return_exceptions=True)
        assert {type(end) for end in ends} == {JournalError}
        with pytest.raises(JournalError, match=rf"the thread of the journal {path} has died.*gone"):
            await journal.sending(MINE, "a", SINCE)
    async with Journal.open(path) as journal:
        assert await journal.summary() == {}


def test_another_event_loop_is_told(tmp_path: Path) -> None:
    """Instead of waiting for ever."""
    journal = Journal.open(tmp_path / "journal")

    async def use() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await journal.summary()

    async def main() -> None:
        async with journal:
            other = asyncio.new_event_loop()
            thread = threading.Thread(target=lambda: other.run_until_complete(use()))
            thread.start()
            while thread.is_alive():
                await asyncio.sleep(0.001)
            other.close()

    asyncio.run(main())


@pytest.mark.parametrize("kind", [Journal, Inbox])
async def test_a_stuck_executor_delays_neither_opening_nor_closing(kind: Any, tmp_path: Path) -> None:
    """Name lookups that hang fill the loop's default executor; nothing of ours waits for its threads."""
    loop, release = asyncio.get_running_loop(), threading.Event()
    loop.set_default_executor(executor := ThreadPoolExecutor(2))
    stuck = [loop.run_in_executor(None, release.wait) for _ in range(4)]
    try:
        async with asyncio.timeout(60):
            async with kind.open(tmp_path / "file"):
                pass
            async with kind.read(tmp_path / "file"):
                pass
        assert not any(each.done() for each in stuck)
    finally:
        release.set()
        await asyncio.gather(*stuck)
        executor.shutdown()


def ours() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tusfacturas")]


@pytest.mark.parametrize("every_turn", [False, True], ids=["once", "at every turn"])
@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("kind", [Journal, Inbox])
async def test_cancelled_while_it_opens_or_closes_it_leaves_nothing_behind(
    kind: Any, turns: int, every_turn: bool, tmp_path: Path
) -> None:
    """No thread and no lock, also where a scope cancels again at every turn of the loop, as anyio's does."""
    path = tmp_path / "file"
    leaving = asyncio.Event()

    async def use() -> None:
        async with kind.open(path):
            leaving.set()

    async def cancelled(task: asyncio.Task[None]) -> None:
        task.cancel()
        while not task.done():
            await asyncio.sleep(0)
            if every_turn:
                task.cancel()
        await asyncio.wait([task])

    opening = asyncio.create_task(use())
    for _ in range(turns):
        await asyncio.sleep(0)
    await cancelled(opening)
    assert ours() == []
    closing = asyncio.create_task(use())
    await leaving.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    await cancelled(closing)
    assert (ours(), names(tmp_path)) == ([], ["file"])


async def test_what_fails_to_open_leaves_nothing_behind(tmp_path: Path) -> None:
    """No thread, no lock, no error that nobody asked for."""
    (tmp_path / "journal").write_text("no database" * 100)
    task = asyncio.create_task(free(tmp_path / "journal"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    gc.collect()
    await refused(tmp_path / "journal", "not a database")
    assert (ours(), names(tmp_path)) == ([], ["journal"])


# -- disks ----------------------------------------------------------------------------------------


async def test_a_journal_deleted_under_it_stops_the_batch(tmp_path: Path) -> None:
    """Writes to a deleted file would be lost in silence: it is an error, and nothing more is sent."""
    path = tmp_path / "journal"
    references = [f"r{n}" for n in range(200)]
    results = []
    async with Sandbox(references) as sandbox, sandbox.client(max_concurrency=4) as client:
        async with Journal.open(path) as journal:
            with pytest.raises(JournalError, match="deleted or replaced"):
                async with client.reprocess_many(references, journal=journal) as batch:
                    async for result in batch:
                        results.append(result)
                        if len(results) == 20:
                            path.unlink()
    assert sorted(r.external_reference for r in results) == sorted(references)
    sent = [r for r in results if r.outcome is Outcome.ACCEPTED]
    assert len(sent) == sandbox.queue.billed_calls < 40
    assert {r.outcome for r in results} == {Outcome.ACCEPTED, Outcome.HELD}


FULL_DISK = """
    import asyncio, resource, signal, sys
    from tusfacturas_async import Journal, JournalError, Outcome
    from tusfacturas_async.sandbox import Sandbox

    async def main(path):
        references = [f"reference-{n:04d}" for n in range(1000)]
        async with Sandbox(references) as sandbox, sandbox.client(max_concurrency=4) as client:
            async with Journal.open(path) as journal:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
                results, error = [], None
                try:
                    async with client.reprocess_many(references, journal=journal) as batch:
                        async for result in batch:
                            results.append(result)
                except JournalError as stopped:
                    error = stopped
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            assert error is not None
            assert len(results) == 1000
            sent = [r.external_reference for r in results if r.outcome is Outcome.ACCEPTED]
            assert sorted(sent) == sorted(sandbox.queue.resent), "what was sent is reported"
            assert 0 < len(sent) < 1000
            async with Journal.open(path) as journal:
                rows = {row.external_reference async for row in journal}
            assert set(sent) <= rows, "never a send without its record"
            async with Journal.open(path) as journal:
                again = await client.reprocess_all(references, journal=journal)
            assert sandbox.queue.billed_calls == 1000, "the next run finishes the rest, and repeats nothing"
            print("sent before the disk was full:", len(sent))

    asyncio.run(main(sys.argv[1]))
"""


def test_a_full_disk_stops_the_batch_and_loses_nothing(tmp_path: Path) -> None:
    """A file-size limit stands in for the full disk; the next run finishes the work."""
    command = [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path / "journal")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout[:27]) == (0, "sent before the disk was fu"), done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody who may not write")
def test_a_read_only_folder_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    """As a user without rights: an existing journal and a new one."""
    script = """
        import asyncio, os, sys
        from tusfacturas_async import Journal, JournalError

        async def main(path):
            async with Journal.open(path + "/old"):
                pass
            os.chmod(path + "/old", 0o444)
            os.chmod(path, 0o555)
            os.seteuid(65534)
            for name in ("old", "new"):
                try:
                    async with Journal.open(f"{path}/{name}"):
                        print("opened", name)
                except JournalError as error:
                    print("refused", name)

        asyncio.run(main(sys.argv[1]))
    """
    folder = tmp_path / "folder"
    folder.mkdir()
    for parent in (tmp_path, *tmp_path.parents[:3]):
        if parent != Path("/tmp"):  # noqa: S108
            parent.chmod(0o755)
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "refused old\nrefused new\n", done.stderr


async def test_many_writers_share_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Group commit: all that come while a commit runs cost one more."""
    commits: list[int] = []
    all_wait = threading.Event()
    original = writer.Storage._commit

    def slow(self: writer.Storage, connection: Any, places: Any, group: Any) -> Any:
        commits.append(len(group))
        all_wait.wait(10)
        return original(self, connection, places, group)

    monkeypatch.setattr(writer.Storage, "_commit", slow)
    async with Journal.open(tmp_path / "journal") as journal:
        all_wait.set()
        await journal.sending(MINE, "first", SINCE)
        all_wait.clear()
        commits.clear()
        sending = [journal.sending(MINE, f"r{n}", SINCE) for n in range(500)]
        all_wait.set()
        await asyncio.gather(*sending)
        assert (len(commits) <= 2, sum(commits)) == (True, 500)
        assert len([row async for row in journal]) == 501


def test_rows_that_follow_one_another_share_a_statement() -> None:
    """A hundred at most, and never past a job of another kind: the order of a group is kept."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (name, value)")
    said: list[str] = []
    connection.set_trace_callback(said.append)
    add = writer.Statement("INSERT INTO t VALUES {rows}", lambda *_: None)
    replace = writer.Statement("INSERT OR REPLACE INTO t VALUES {rows}", lambda *_: None)
    jobs = [(add, ("a", n)) for n in range(250)]
    count = lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]  # noqa: E731
    later = [(add, ("a", 1)), (replace, ("b", 2)), (add, ("a", 3))]
    results = writer._together(connection, [*jobs, count, *later, count])
    assert results == [None] * 250 + [250] + [None] * 3 + [253]
    assert [statement.count("(") for statement in said if "INSERT" in statement] == [100, 100, 50, 1, 1, 1]
    connection.close()
