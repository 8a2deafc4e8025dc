"""The journal: what it refuses, what it remembers, what it does when its disk fails it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.loopback import Loopback
from tests.loopback.faults import LOST
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import (
    AsyncClient,
    Credentials,
    EncoladoWebhook,
    Identity,
    Journal,
    JournalError,
    Outcome,
    ReprocessResult,
    RetryPolicy,
    _storage,
)
from tusfacturas_async._call.channel import utcnow
from tusfacturas_async.sandbox import Queue, Sandbox, State

MINE, OTHER = CREDENTIALS.identity, Identity("0" * 16, "1" * 16)
SINCE = datetime(2026, 3, 18, 18, 0, tzinfo=UTC)


def ended(reference: str, outcome: Outcome) -> ReprocessResult:
    return ReprocessResult(reference, outcome)


# -- opening --------------------------------------------------------------------------------------


def foreign_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (x)")
    connection.commit()
    connection.close()


def newer_journal(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id={0x74666A31}")
    connection.execute("PRAGMA user_version=99")
    connection.commit()
    connection.close()


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
    with pytest.raises(JournalError, match=named):
        async with Journal.open(path):
            raise AssertionError
    assert (path.read_bytes() if path.is_file() else b"") == before


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """It is not created silently somewhere else."""
    with pytest.raises(JournalError, match="unable to open"):
        async with Journal.open(tmp_path / "nowhere" / "journal"):
            raise AssertionError


async def test_one_process_holds_it(tmp_path: Path) -> None:
    """A second process, and a second opening in this one, are told so; after the end it is free."""
    path = tmp_path / "journal"
    script = f"""
        import asyncio
        from tusfacturas_async import Journal
        async def main():
            async with Journal.open({str(path)!r}):
                print("opened")
        asyncio.run(main())
    """

    def other() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", textwrap.dedent(script)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    async with Journal.open(path):
        second = await asyncio.to_thread(other)
        assert "in use by another process" in second.stderr
        with pytest.raises(JournalError, match="in use"):
            async with Journal.open(path):
                raise AssertionError
    assert (await asyncio.to_thread(other)).stdout == "opened\n"


async def test_a_journal_that_is_not_open_says_so(tmp_path: Path) -> None:
    """Before and after."""
    journal = Journal.open(tmp_path / "journal")
    with pytest.raises(JournalError, match="not open"):
        await journal.sending(MINE, "a", SINCE)
    async with journal:
        await journal.sending(MINE, "a", SINCE)
    with pytest.raises(JournalError, match="not open"):
        await journal.summary()


# -- remembering ----------------------------------------------------------------------------------


async def test_rows_summary_and_iteration(tmp_path: Path) -> None:
    """Keyed by reference and credentials; the states are told apart."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        await journal.sending(MINE, "b", SINCE)
        await journal.record(MINE, ended("b", Outcome.ACCEPTED))
        await journal.sending(OTHER, "b", SINCE)
        for n in range(1200):
            await journal.record(OTHER, ended(f"many-{n}", Outcome.NOT_SENT))
        rows = await journal.rows(MINE, ["a", "b", "c"])
        assert {reference: (row.final, row.doubtful) for reference, row in rows.items()} == {
            "a": (False, True),
            "b": (True, False),
        }
        assert await journal.summary() == {"accepted": 1, "not_sent": 1200, "sending": 2}
        listed = [row async for row in journal]
    assert len({(row.fingerprint, row.external_reference) for row in listed}) == 1203
    assert listed[0].updated_at.utcoffset() == timedelta(0)


async def test_the_file_holds_no_credential(tmp_path: Path) -> None:
    """Only their fingerprint."""
    secret = Credentials(apikey="9182736455", apitoken="SECRET-token", usertoken="SECRET-user")

    def files() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.iterdir())

    async with Sandbox(credentials=secret) as sandbox, sandbox.client() as client:
        async with Journal.open(tmp_path / "journal") as journal:
            await client.reprocess_all(["a", "b"], journal=journal)
            content = await asyncio.to_thread(files)
    assert secret.fingerprint.encode() in content
    for value in (b"9182736455", b"SECRET"):
        assert value not in content


async def test_what_is_final_is_not_sent_again(tmp_path: Path) -> None:
    """It comes out as SKIPPED, with what is on record; the rest goes on."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        async with Journal.open(tmp_path / "journal") as journal:
            await client.reprocess_all(["a", "nobody"], journal=journal)
        async with Journal.open(tmp_path / "journal") as journal:
            report = await client.reprocess_all(["a", "b", "nobody"], journal=journal)
            rows = await journal.rows(sandbox.credentials.identity, ["a", "b", "nobody"])
    told = {r.external_reference: (str(r.outcome), r.settled_by, r.recorded) for r in report.results}
    assert told == {
        "a": ("skipped", "journal", Outcome.ACCEPTED),
        "nobody": ("skipped", "journal", Outcome.NOT_FOUND),
        "b": ("accepted", "response", None),
    }
    assert sandbox.queue.billed_calls == 3
    assert {reference: row.billed_calls for reference, row in rows.items()} == {"a": 1, "b": 1, "nobody": 1}


async def test_other_credentials_are_another_matter(tmp_path: Path) -> None:
    """The same reference of another point of sale is sent."""
    other = Credentials(apikey="2", apitoken="other-token", usertoken="other-user")
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        sandbox.add_point_of_sale(other, ["a"])
        async with Journal.open(tmp_path / "journal") as journal:
            await client.reprocess_all(["a"], journal=journal)
            report = await client.with_credentials(other).reprocess_all(["a"], journal=journal)
    assert report.counts == {Outcome.ACCEPTED: 1}


@pytest.mark.parametrize("doubt", ["sending", "unknown"])
@pytest.mark.parametrize(
    ("arrived", "outcome", "resends"),
    [(True, Outcome.ACCEPTED, 0), (False, Outcome.ACCEPTED, 1), (None, Outcome.NOT_FOUND, 0)],
)
async def test_what_was_sending_is_looked_up_first(
    doubt: str, arrived: bool | None, outcome: Outcome, resends: int, tmp_path: Path
) -> None:
    """Queued: accepted without a call. Errored: sent. Absent: not found."""
    async with Loopback(Queue([] if arrived is None else ["a"])) as server:
        if arrived:
            server.queue.reprocess("a")
        async with (
            Journal.open(tmp_path / "journal") as journal,
            AsyncClient(CREDENTIALS, base_url=server.url) as client,
        ):
            await journal.sending(MINE, "a", SINCE)
            if doubt == "unknown":
                await journal.record(MINE, ended("a", Outcome.UNKNOWN))
            (result,) = (await client.reprocess_all(["a"], journal=journal)).results
    assert (result.outcome, len(server.resends), server.lookups) == (outcome, resends, 1)


async def test_doubt_that_the_lookup_cannot_settle_is_not_sent(tmp_path: Path) -> None:
    """It stays UNKNOWN: no blind repeat."""
    policy = RetryPolicy(attempts=2, backoff=0)
    async with (
        Loopback(Queue(["a"]), (), [LOST[0]] * 2) as server,
        Journal.open(tmp_path / "journal") as journal,
        AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0, retry=policy) as client,
    ):
        await journal.sending(MINE, "a", SINCE)
        (result,) = (await client.reprocess_all(["a"], journal=journal)).results
        again = await client.reprocess_all(["a"], journal=journal)
    assert (result.outcome, server.resends) == (Outcome.UNKNOWN, ["a"])
    assert again.counts == {Outcome.ACCEPTED: 1}


async def test_a_late_effect_of_the_lost_request_is_not_taken_for_not_found(tmp_path: Path) -> None:
    """The lookup says errored, then the lost request takes effect: "not found" is looked up, not believed."""
    async with Sandbox(["a"]) as sandbox:

        async def app(scope: dict[str, object], receive: object, send: object) -> None:
            if str(scope["path"]).endswith("reenviar_encolado"):
                sandbox.queue.reprocess("a")  # the lost one arrives at last
            await sandbox(scope, receive, send)  # type: ignore[arg-type]

        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with (
            Journal.open(tmp_path / "journal") as journal,
            AsyncClient(sandbox.credentials, transport=transport, min_interval=0) as client,
        ):
            await journal.sending(sandbox.credentials.identity, "a", SINCE)
            (result,) = (await client.reprocess_all(["a"], journal=journal)).results
    assert (result.outcome, result.settled_by) == (Outcome.ACCEPTED, "lookup")


async def test_sending_is_durable_before_the_request_leaves_and_the_outcome_before_it_is_told(
    tmp_path: Path,
) -> None:
    """Seen from a copy of the files, which is what a crash would leave."""
    path = tmp_path / "journal"
    seen: list[dict[str, int]] = []

    def as_left_by_a_crash(name: str) -> dict[str, int]:
        copy = tmp_path / name
        for suffix in ("", "-wal"):
            Path(f"{copy}{suffix}").write_bytes(Path(f"{path}{suffix}").read_bytes())
        connection = sqlite3.connect(copy)
        rows = connection.execute("SELECT coalesce(outcome, 'sending'), count(*) FROM journal GROUP BY 1")
        found = dict(rows.fetchall())
        connection.close()
        return found

    async with Sandbox(["a", "b", "c"]) as sandbox:

        async def app(scope: object, receive: object, send: object) -> None:
            seen.append(as_left_by_a_crash(f"at-{len(seen)}"))
            await sandbox(scope, receive, send)  # type: ignore[arg-type]

        transport = httpx.ASGITransport(app=app)
        async with (
            Journal.open(path) as journal,
            AsyncClient(
                sandbox.credentials, transport=transport, min_interval=0, max_concurrency=1
            ) as client,
        ):
            told = 0
            async with client.reprocess_many(["a", "b", "c"], journal=journal) as batch:
                async for _ in batch:
                    told += 1
                    assert as_left_by_a_crash(f"told-{told}").get("accepted", 0) >= told
    assert [found["sending"] for found in seen] == [1, 1, 1]


async def test_check_first_is_journaled(tmp_path: Path) -> None:
    """What the check settled is final in the journal as well."""
    async with Sandbox() as sandbox, sandbox.client() as client:
        async with Journal.open(tmp_path / "journal") as journal:
            await client.reprocess_all(["a"], journal=journal, check_first=True)
            assert await journal.summary() == {"not_found": 1}


# -- webhooks -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "settled"), [(timedelta(), True), (timedelta(minutes=30), False), (None, True)]
)
async def test_an_encolado_webhook_settles_a_doubt(
    age: timedelta | None, settled: bool, tmp_path: Path
) -> None:
    """Unless it is older than the sending: a redelivery of an earlier day."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        event = EncoladoWebhook(external_reference="a", created_at=None if age is None else utcnow() - age)
        assert await journal.settle(event) is settled
        rows = await journal.rows(MINE, ["a"])
        assert (rows["a"].outcome, rows["a"].settled_by) == (
            (Outcome.ACCEPTED, "webhook") if settled else (None, None)
        )
        assert await journal.settle(event) is False, "once"


async def test_an_event_of_two_points_of_sale_needs_to_know_whose_it_is(tmp_path: Path) -> None:
    """It settles nothing by guess."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        await journal.sending(OTHER, "a", SINCE)
        assert await journal.settle(EncoladoWebhook(external_reference="a")) is False
        assert await journal.settle(EncoladoWebhook(external_reference="a"), CREDENTIALS) is True
        assert await journal.summary() == {"accepted": 1, "sending": 1}


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
    """Group commit: 500 concurrent records cost a few commits."""
    async with Journal.open(tmp_path / "journal") as journal:
        storage = journal._storage
        commits = 0
        original = storage._commit

        def counted(connection: sqlite3.Connection, group: list[object]) -> object:
            nonlocal commits
            commits += 1
            return original(connection, group)  # type: ignore[arg-type]

        monkeypatch.setattr(storage, "_commit", counted)
        await asyncio.gather(*(journal.sending(MINE, f"r{n}", SINCE) for n in range(500)))
        assert len([row async for row in journal]) == 500
    assert commits < 100


def test_rows_that_follow_one_another_share_a_statement() -> None:
    """A hundred at most, and never past a job of another kind: the order of a group is kept."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (name, value)")
    said: list[str] = []
    connection.set_trace_callback(said.append)
    add, replace = "INSERT INTO t VALUES {rows}", "INSERT OR REPLACE INTO t VALUES {rows}"
    jobs = [_storage.Row(add, ("a", n)) for n in range(250)]
    count = lambda c: c.execute("SELECT count(*) FROM t").fetchone()[0]  # noqa: E731
    later = [_storage.Row(add, ("a", 1)), _storage.Row(replace, ("b", 2)), _storage.Row(add, ("a", 3))]
    results = _storage._run(connection, [*jobs, count, *later, count])
    assert results == [None] * 250 + [250] + [None] * 3 + [253]
    assert [statement.count("(") for statement in said if "INSERT" in statement] == [100, 100, 50, 1, 1, 1]
    connection.close()


async def test_a_cancelled_writer_harms_nobody(tmp_path: Path) -> None:
    """Its row may be there or not; the others' are."""
    async with Journal.open(tmp_path / "journal") as journal:
        tasks = [asyncio.ensure_future(journal.sending(MINE, f"r{n}", SINCE)) for n in range(100)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rows = await journal.rows(MINE, [f"r{n}" for n in range(1, 100, 2)])
    assert len(rows) == 50


async def test_a_batch_cancelled_in_the_middle_goes_on_with_its_journal(tmp_path: Path) -> None:
    """Cancelled at random moments over and over: each voucher takes effect once, none is sent blindly."""
    references = [f"r{n}" for n in range(120)]
    async with Loopback(Queue(references)) as server:
        server.latency = 0.05
        runs = 0
        while True:
            runs += 1
            async with (
                AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=8) as client,
                Journal.open(tmp_path / "journal") as journal,
            ):
                task = asyncio.create_task(client.reprocess_all(references, journal=journal))
                await asyncio.wait([task], timeout=0.05 * (1 + runs % 4) + 0.002 * runs)
                if task.done():
                    break
                task.cancel()
                if runs % 3 == 0:
                    await asyncio.sleep(0)
                    task.cancel()
                await asyncio.wait([task])
        assert {v.state for v in server.queue.vouchers} == {State.QUEUED}
        assert sorted(server.queue.resent) == sorted(references)
        assert runs > 3
