"""The journal: what it remembers, what it claims, what settles a doubt."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from tests.loopback import Loopback
from tests.loopback.faults import LOST
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import (
    AsyncClient,
    Attempt,
    Credentials,
    EncoladoWebhook,
    Evidence,
    Identity,
    InvalidReferenceError,
    Journal,
    Outcome,
    ReprocessRequest,
    ReprocessResult,
    RetryPolicy,
    _journal_rows,
)
from tusfacturas_async._batch.sender import Sender
from tusfacturas_async.sandbox import Queue, Sandbox, State

MINE, OTHER = CREDENTIALS.identity, Identity("0" * 16, "1" * 16)
SINCE = datetime(2026, 3, 18, 18, 0, tzinfo=UTC)


def ended(reference: str, outcome: Outcome) -> ReprocessResult:
    return ReprocessResult(reference, outcome)


def billed(reference: str, outcome: Outcome) -> ReprocessResult:
    attempt = Attempt(1, SINCE, 0.1, Evidence.MAYBE_SENT)
    return ReprocessResult(reference, outcome, attempts=(attempt,))


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
            journal.release(MINE, "a")  # as a run that was killed
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
        journal.release(MINE, "a")
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
            journal.release(sandbox.credentials.identity, "a")
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


def encolado(after: float | None = 0, reference: str = "a") -> EncoladoWebhook:
    created = None if after is None else SINCE + timedelta(seconds=after)
    return EncoladoWebhook(external_reference=reference, created_at=created)


@pytest.mark.parametrize(
    ("after", "settled"), [(0, True), (5, True), (-1, False), (-90, False), (None, False)]
)
async def test_an_encolado_webhook_settles_a_doubt(
    after: float | None, settled: bool, tmp_path: Path
) -> None:
    """Unless it is older than the sending, or does not say how old: then it proves nothing."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        assert await journal.settle(encolado(after)) is settled
        rows = await journal.rows(MINE, ["a"])
        assert (rows["a"].outcome, rows["a"].settled_by, rows["a"].since) == (
            (Outcome.ACCEPTED, "webhook", SINCE) if settled else (None, None, SINCE)
        )
        assert await journal.settle(encolado(after)) is False, "once"


async def test_the_sending_of_an_unknown_row_is_what_an_event_is_compared_with(tmp_path: Path) -> None:
    """Not the moment at which its outcome was recorded."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        await journal.record(MINE, ended("a", Outcome.UNKNOWN))
        assert await journal.settle(encolado(-1)) is False
        assert await journal.settle(encolado(1)) is True


async def test_an_event_of_two_points_of_sale_needs_to_know_whose_it_is(tmp_path: Path) -> None:
    """It settles nothing by guess."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        await journal.sending(OTHER, "a", SINCE)
        assert await journal.settle(encolado()) is False
        assert await journal.settle(encolado(), CREDENTIALS) is True
        assert await journal.summary() == {"accepted": 1, "sending": 1}


async def test_an_event_that_no_file_could_hold_is_told_where_it_is_given(tmp_path: Path) -> None:
    """A time without a zone, a lone surrogate: an error of that call, and the next one works."""
    naive = EncoladoWebhook(external_reference="a", created_at=datetime(2026, 3, 18))  # noqa: DTZ001
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        with pytest.raises(ValueError, match="created_at must have a time zone"):
            await journal.settle(naive)
        with pytest.raises(InvalidReferenceError, match="lone surrogate"):
            await journal.settle(encolado(reference="\ud800"))
        assert await journal.settle(encolado()) is True


async def test_settling_binds_its_values_by_name(tmp_path: Path) -> None:
    """By position is deprecated from Python 3.12 on, and would be an error there under ``-W error``."""
    bound: list[object] = []

    class Connection(sqlite3.Connection):
        def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
            if ":" in statement:
                bound.append(type(values))
            assert "?1" not in statement
            return super().execute(statement, values)

    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
    with contextlib.closing(sqlite3.connect(tmp_path / "journal", factory=Connection)) as connection:
        settled = _journal_rows.settle(connection, "a", SINCE, None)
    assert (settled, set(bound)) == ((True, False), {dict})


# -- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [*Outcome])
async def test_a_row_is_claimed_unless_it_forbids_it(outcome: Outcome, tmp_path: Path) -> None:
    """Final: the row comes back, untouched. In doubt: only who says to look it up first gets it."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.record(MINE, ended("a", outcome))
        rows = await journal.rows(MINE, ["a"])
        blindly = await journal.sending(MINE, "a", SINCE)
        journal.release(MINE, "a")
        assert blindly == (rows["a"] if rows["a"].decided else None)
        knowing = await journal.sending(MINE, "a", SINCE, doubtful=True)
        assert knowing == (rows["a"] if rows["a"].final else None)
        standing = (await journal.rows(MINE, ["a"]))["a"]
        assert standing.outcome is (outcome if rows["a"].final else None)


async def test_what_is_being_sent_is_claimed_once(tmp_path: Path) -> None:
    """The second one is given the row, until the first records, or lets go."""
    async with Journal.open(tmp_path / "journal") as journal:
        first, second = await asyncio.gather(
            *(journal.sending(MINE, "a", SINCE, doubtful=True) for _ in range(2))
        )
        assert first is None
        assert second is not None
        assert (second.external_reference, second.outcome) == ("a", None)
        assert await journal.sending(OTHER, "a", SINCE) is None, "another point of sale"
        journal.release(MINE, "a")
        assert await journal.sending(MINE, "a", SINCE, doubtful=True) is None
        recorded = journal.record(MINE, ended("a", Outcome.NOT_SENT))
        again = journal.sending(MINE, "a", SINCE)  # behind the record, so it finds it
        assert (await recorded, await again) == (None, None)


async def test_who_is_cancelled_while_claiming_keeps_no_claim(tmp_path: Path) -> None:
    """Nor takes the claim of who came after."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.rows(MINE, [])
        claiming = asyncio.ensure_future(journal.sending(MINE, "a", SINCE))
        claiming.cancel()
        journal.release(MINE, "a")
        assert await journal.sending(MINE, "a", SINCE, doubtful=True) is None
        assert await journal.sending(MINE, "a", SINCE, doubtful=True) is not None, "it is held"
        claiming = asyncio.ensure_future(journal.sending(MINE, "b", SINCE))
        claiming.cancel()
        await journal.summary()
        assert await journal.sending(MINE, "b", SINCE, doubtful=True) is None


async def test_what_is_accepted_is_never_lowered(tmp_path: Path) -> None:
    """A webhook settled it while its request was under way: that stands, and what was billed adds up."""
    async with Journal.open(tmp_path / "journal") as journal:
        for reference in ("a", "b"):
            await journal.sending(MINE, reference, SINCE)
        assert await journal.settle(encolado()) is True
        stands, recorded, raised = await asyncio.gather(
            journal.record(MINE, billed("a", Outcome.UNKNOWN)),
            journal.record(MINE, billed("b", Outcome.NOT_FOUND)),
            journal.record(MINE, billed("b", Outcome.ACCEPTED)),
        )
        assert stands is not None
        assert (stands.outcome, stands.settled_by, stands.billed_calls) == (Outcome.ACCEPTED, "webhook", 1)
        assert (recorded, raised) == (None, None)
        rows = await journal.rows(MINE, ["a", "b"])
    told = {reference: (row.outcome, row.billed_calls) for reference, row in rows.items()}
    assert told == {"a": (Outcome.ACCEPTED, 1), "b": (Outcome.ACCEPTED, 2)}


async def test_two_batches_with_one_journal_bill_each_reference_once(tmp_path: Path) -> None:
    """Also where they are of two clients, which know nothing of each other."""
    references = [f"r{n}" for n in range(50)]
    async with Loopback(Queue(references)) as server:
        server.latency = 0.02
        async with (
            Journal.open(tmp_path / "journal") as journal,
            AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=8) as one,
            AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=8) as two,
        ):
            reports = await asyncio.gather(
                one.reprocess_all(references, journal=journal), two.reprocess_all(references, journal=journal)
            )
            assert await journal.summary() == {"accepted": 50}
    assert sorted(server.resends) == sorted(references)
    assert sum(report.billed_calls for report in reports) == 50


@pytest.mark.parametrize("settled", [False, True], ids=["being sent", "settled"])
async def test_a_check_says_nothing_of_what_was_begun_meanwhile(settled: bool, tmp_path: Path) -> None:
    """What another client's batch claimed or settled meanwhile stays: a third run bills nothing blindly."""
    looking, looked, answer = asyncio.Event(), asyncio.Event(), asyncio.Event()
    billed: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("consulta_avanzada"):
            looking.set()
            await looked.wait()
            return httpx.Response(405)  # "not sent", of all of them
        billed.append("a")
        await answer.wait()
        return httpx.Response(200, json={"error": "N", "errores": []})

    def client() -> AsyncClient:
        return AsyncClient(CREDENTIALS, transport=httpx.MockTransport(handler), min_interval=0)

    async with (
        Journal.open(tmp_path / "journal") as journal,
        client() as one,
        client() as two,
        client() as three,
    ):
        checking = asyncio.create_task(two.reprocess_all(["a"], journal=journal, check_first=True))
        await looking.wait()
        sending = asyncio.create_task(one.reprocess_all(["a"], journal=journal))
        while not billed:
            await asyncio.sleep(0)
        if settled:
            answer.set()
            await sending
        looked.set()
        checked = (await checking).counts
        third = (await three.reprocess_all(["a"], journal=journal)).counts
        answer.set()
        assert (await sending).counts == {Outcome.ACCEPTED: 1}
    expected = {Outcome.SKIPPED: 1} if settled else {Outcome.NOT_SENT: 1}
    assert (billed, checked, third) == (["a"], expected, expected)


async def test_a_batch_that_is_cancelled_keeps_no_claim(tmp_path: Path) -> None:
    """With the journal still open, the next batch looks up what the cancelled one had in flight."""
    async with Loopback(Queue(["a"])) as server, Journal.open(tmp_path / "journal") as journal:
        server.latency = 0.3
        async with AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0) as client:
            task = asyncio.create_task(client.reprocess_all(["a"], journal=journal))
            while not server.resends:
                await asyncio.sleep(0.001)
            for _ in range(3):  # more than once: it gives up what is in flight
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
            server.latency = 0
            (result,) = (await client.reprocess_all(["a"], journal=journal)).results
    assert (result.outcome, sorted(set(server.resends))) == (Outcome.ACCEPTED, ["a"])


async def test_what_became_doubtful_since_it_was_screened_is_looked_up(tmp_path: Path) -> None:
    """Another batch sent it meanwhile and ended without knowing: no blind repeat."""
    async with Loopback(Queue([])) as server:
        async with (
            Journal.open(tmp_path / "journal") as journal,
            AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0) as client,
        ):
            sender = Sender(
                client._channel, journal, deadline=None, patience=None, check_first=False, confirmations=None
            )
            await sender.screen(["a"])
            await journal.sending(MINE, "a", SINCE)
            await journal.record(MINE, ended("a", Outcome.UNKNOWN))
            result = await sender.send(
                ReprocessRequest("a"), doubtful=False, expectation=None, decide=lambda r: r
            )
    assert (result.outcome, server.resends, server.lookups) == (Outcome.NOT_FOUND, [], 1)


# -- renewed tokens -------------------------------------------------------------------------------

RENEWED = Credentials(apikey=CREDENTIALS.apikey, apitoken="renewed-token", usertoken="renewed-user")


@pytest.mark.parametrize("on_record", [None, Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN])
async def test_what_other_tokens_sent_is_neither_believed_nor_forgotten(
    on_record: Outcome | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes out as doubtful, and one warning says so, without a secret."""
    async with Journal.open(tmp_path / "journal") as journal:
        for reference in ("a", "b"):
            await journal.sending(MINE, reference, SINCE)
            if on_record is not None:
                await journal.record(MINE, ended(reference, on_record))
        await journal.record(MINE, ended("c", Outcome.NOT_SENT))
        rows = await journal.rows(RENEWED.identity, ["a", "b", "c", "d"])
        await journal.rows(RENEWED.identity, ["a"])
        assert {reference: row.outcome for reference, row in rows.items()} == {
            "a": Outcome.UNKNOWN,
            "b": Outcome.UNKNOWN,
        }
        assert await journal.sending(RENEWED.identity, "a", SINCE, doubtful=True) is None
        await journal.record(RENEWED.identity, ended("a", Outcome.NOT_SENT))
        assert (await journal.rows(RENEWED.identity, ["a"]))["a"].doubtful, "nothing was settled by that"
        await journal.record(RENEWED.identity, ended("a", Outcome.NOT_FOUND))
        settled = (await journal.rows(RENEWED.identity, ["a"]))["a"]
        assert (settled.outcome, settled.fingerprint) == (Outcome.NOT_FOUND, RENEWED.fingerprint)
        own = (await journal.rows(MINE, ["b"]))["b"]
        assert (own.outcome, own.fingerprint) == (on_record, CREDENTIALS.fingerprint)
        assert await journal.rows(OTHER, ["a", "b"]) == {}, "another apikey"
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "other tokens of the same apikey" in warning
    for secret in (*attrs.astuple(CREDENTIALS), *attrs.astuple(RENEWED)):
        assert secret not in warning.replace(str(tmp_path), "")


async def test_a_sweep_with_renewed_tokens_looks_up_what_the_old_ones_sent(tmp_path: Path) -> None:
    """What is queued is accepted for nothing, what is still errored is sent."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        old = Credentials(apikey=sandbox.credentials.apikey, apitoken="old-token", usertoken="old-user")
        async with Journal.open(tmp_path / "journal") as journal:
            sandbox.queue.reprocess("a")
            for reference in ("a", "b"):
                await journal.record(old.identity, ended(reference, Outcome.ACCEPTED))
            before = sandbox.queue.billed_calls
            report = await client.reprocess_all(["a", "b"], journal=journal)
    told = {result.external_reference: (result.outcome, result.settled_by) for result in report.results}
    assert told == {"a": (Outcome.ACCEPTED, "lookup"), "b": (Outcome.ACCEPTED, "response")}
    assert sandbox.queue.billed_calls - before == 1


async def test_an_event_does_not_settle_what_other_tokens_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Likely it is the same point of sale, but not certain: told, and left to the lookup."""
    async with Journal.open(tmp_path / "journal") as journal:
        await journal.sending(MINE, "a", SINCE)
        assert await journal.settle(encolado(), RENEWED) is False
        assert "other tokens of the same apikey" in caplog.text
        assert await journal.settle(encolado(), CREDENTIALS) is True


# -- files of older versions ----------------------------------------------------------------------

FIRST_VERSION = """
    PRAGMA journal_mode=WAL;
    CREATE TABLE journal (
        fingerprint TEXT NOT NULL,
        external_reference TEXT NOT NULL,
        outcome TEXT,
        settled_by TEXT,
        billed_calls INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        updated_at TEXT NOT NULL,
        PRIMARY KEY (fingerprint, external_reference)
    ) WITHOUT ROWID;
    PRAGMA application_id=0x74666a31;
    PRAGMA user_version=1;
"""


def first_version(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(FIRST_VERSION)
        for reference, outcome in (("a", "accepted"), ("b", None), ("c", None)):
            values = (CREDENTIALS.fingerprint, reference, outcome, None, 1, None, SINCE.isoformat())
            connection.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()


async def test_a_file_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """Its rows count; its events are compared with the row's own time; its apikey is learnt in use."""
    path = tmp_path / "journal"
    first_version(path)
    async with Journal.read(path) as reader:
        assert dict(await reader.summary()) == {"accepted": 1, "sending": 2}
        assert [row.since async for row in reader] == [None] * 3
    async with Journal.open(path) as journal:
        assert await journal.settle(encolado(-1, "b")) is False
        assert await journal.settle(encolado(0, "b")) is True
        assert await journal.rows(RENEWED.identity, ["a"]) == {}, "nobody knows its apikey yet"
        rows = await journal.rows(MINE, ["a", "c"])
        assert (rows["a"].final, rows["c"].doubtful, rows["a"].billed_calls) == (True, True, 1)
    async with Journal.open(path) as journal:
        assert (await journal.rows(RENEWED.identity, ["a"]))["a"].doubtful
        assert await journal.summary() == {"accepted": 2, "sending": 1}


# -- cancelled -------------------------------------------------------------------------------------


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
