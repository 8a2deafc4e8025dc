"""The schema: who may make it, which version is refused, and that a call's statements stay cheap."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any, Final

import pytest

psycopg = pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.postgres import Postgres
from tests.fleet.service import Service
from tests.fleet.test_fence import sql
from tests.fleet.test_fleet import until_done, working
from tusfacturas_async import JournalError
from tusfacturas_async.fleet import Fleet, store
from tusfacturas_async.fleet.writer import Claim, Record, Writer

NOW = datetime.now(UTC)


async def test_migrating_twice_changes_nothing(empty: str) -> None:
    """Each numbered file is applied once, and so are Procrastinate's."""
    for _ in range(2):
        await Fleet(empty).migrate()
    async with Fleet(empty) as fleet:
        ((version, jobs),) = await sql(fleet, "SELECT version, jobs FROM tusfacturas.version")
    assert version == len(store.MIGRATIONS) == 4
    assert jobs is not None


async def test_an_older_schema_is_brought_up(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was there stays, and the missing files are applied in order."""
    every = store.MIGRATIONS
    monkeypatch.setattr(store, "MIGRATIONS", every[:1])
    await Fleet(empty).migrate()
    monkeypatch.setattr(store, "MIGRATIONS", every)
    with pytest.raises(
        JournalError, match=r"has version 1, this package needs 4: run `tusfacturas fleet migrate`"
    ):
        async with Fleet(empty):
            pass
    await Fleet(empty).migrate()
    async with Fleet(empty) as fleet:
        assert await sql(fleet, "SELECT to_regclass('tusfacturas.event') IS NOT NULL") == [(True,)]


async def test_hosts_that_migrate_at_once_do_it_once(empty: str) -> None:
    """Each waits for the other, and finds nothing left to do."""
    await asyncio.gather(*(Fleet(empty).migrate() for _ in range(4)))
    async with Fleet(empty) as fleet:
        assert await sql(fleet, "SELECT version FROM tusfacturas.version") == [(len(store.MIGRATIONS),)]


async def test_a_migration_that_postgresql_does_not_survive_leaves_nothing(
    empty: str, postgres: Postgres
) -> None:
    """It is told, and made anew."""

    async def crash(_: object) -> None:
        await asyncio.to_thread(postgres.restart, "immediate")

    with pytest.raises(JournalError, match="cannot be used"):
        await store.migrate(empty, also=crash)
    with pytest.raises(JournalError, match="is not there"):
        async with Fleet(empty):
            pass
    await Fleet(empty).migrate()
    async with Fleet(empty) as fleet:
        assert await fleet.submit("p", ["a"]) == 1


async def test_a_newer_schema_is_refused(conninfo: str) -> None:
    """By who would use it, and by who would migrate it."""
    async with Fleet(conninfo) as fleet:
        await sql(fleet, "UPDATE tusfacturas.version SET version = 99")
    with pytest.raises(JournalError, match="has version 99, this package knows 4: update it"):
        async with Fleet(conninfo):
            pass
    with pytest.raises(JournalError, match="has version 99"):
        await Fleet(conninfo).migrate()


async def test_without_a_schema_it_says_what_to_do(empty: str) -> None:
    """The command is named."""
    with pytest.raises(JournalError, match="is not there: run `tusfacturas fleet migrate`"):
        async with Fleet(empty):
            pass


async def test_a_role_that_may_create_nothing_migrates_the_schema_it_owns(
    postgres: Postgres, empty: str
) -> None:
    """It is no superuser, and it needs no right on the database but to connect."""
    name = re.search(r"dbname=(\S+)", empty)
    assert name is not None
    with psycopg.connect(postgres.conninfo(name[1], "admin"), autocommit=True) as connection:
        connection.execute("CREATE ROLE modest LOGIN")
        connection.execute("CREATE SCHEMA tusfacturas AUTHORIZATION modest")
    modest = postgres.conninfo(name[1], "modest")
    await Fleet(modest).migrate()
    async with Fleet(modest) as fleet:
        assert await fleet.submit("p", ["a"]) == 1


async def test_what_is_written_is_durable_whatever_the_role_is_set_to(
    conninfo: str, postgres: Postgres
) -> None:
    """Who does not wait for its commits would lose "sending" in a crash, and send a voucher twice."""
    name = conninfo.partition("dbname=")[2].partition(" ")[0]
    with psycopg.connect(postgres.conninfo(name, "admin"), autocommit=True) as connection:
        for setting in ("synchronous_commit = off", "default_transaction_isolation = 'repeatable read'"):
            connection.execute(f'ALTER DATABASE "{name}" SET {setting}'.encode())
    async with Fleet(conninfo) as fleet:
        assert await sql(fleet, "SHOW synchronous_commit") == [("on",)]
        assert await sql(fleet, "SHOW transaction_isolation") == [("read committed",)]


async def test_a_password_is_not_told(postgres: Postgres) -> None:
    """Neither by the error of a connection that fails nor by a repr."""
    fleet = Fleet(f"host={postgres.folder} dbname=none user=none password=hunter2")
    with pytest.raises(JournalError, match="cannot be used") as raised:
        async with fleet:
            pass
    assert "hunter2" not in f"{raised.value}{raised.value!r}{fleet!r}{fleet.__dict__['_app']!r}"


async def test_every_update_is_heap_only(conninfo: str) -> None:
    """What changes with each call has no index on it, and room in its page."""
    references = [f"r{number}" for number in range(3000)]
    async with Service({"p": [[ref] for ref in references]}) as service, Fleet(conninfo) as fleet:
        service.think = 0.0
        await fleet.submit("p", references)
        # Patiently: what a busy machine makes time out is asked about again, and written again.
        async with working(fleet, service, min_interval=0.0, max_concurrency=50, timeout=60.0):
            await until_done(fleet)
        statistics = """SELECT relname, n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
            WHERE relname IN ('work', 'point') ORDER BY relname"""
        async with asyncio.timeout(90):
            while (found := await sql(fleet, statistics))[1][1] < 6000:
                await asyncio.sleep(0.1)
    figures = {name: (updates, hot) for name, updates, hot in found}
    assert figures["work"] == (6000, 6000)
    updates, hot = figures["point"]
    assert updates - hot <= 1, "the fingerprint, which has an index, is written once"


CALLS: Final = (
    *("claim", "record", "adopt", "rows", "settle", "open_page", "doubtful_lanes", "page", "take", "renew"),
    *("bind", "give_back", "held", "swept", "sweep", "put_off", "find_point", "know"),
)
"""What runs for each call or each run of a point of sale."""

SOME: dict[str, Any] = {
    "points": [1, 1],
    "epochs": [1, 1],
    "references": ["r1", "r2"],
    "sinces": [NOW, NOW],
    "claims": [1, 0],
    "doubtful": [False, True],
    "newest": [None, 5],
    "outcomes": ["accepted"] * 2,
    "settled_by": [None, None],
    "errors": [None] * 2,
    "billed_calls": [1, 1],
    "point": 1,
    "epoch": 1,
    "after": 0,
    "limit": 500,
    "cooling": [0.0, 0.0],
    "seconds": 1.0,
    "reference": "r1",
    "name": "p",
    "created_at": None,
    "holder": "h",
    "fingerprint": "f",
    "last_position": 1,
    "headway": True,
    "pause": True,
    "shortest": 1.0,
    "longest": 2.0,
    "trouble": None,
}


async def explained(fleet: Fleet, statement: str) -> str:
    """How PostgreSQL would run it."""
    others: dict[str, dict[str, Any]] = {
        "give_back": {"cooling": 0.0},
        "settle": {"name": None},
        "open_page": {"newest": 20_000},
    }
    some = SOME | others.get(statement, {})

    async def explain(connection: Any) -> str:
        cursor = await connection.execute(b"EXPLAIN " + store.QUERIES[statement], some)
        return "\n".join(line for (line,) in await cursor.fetchall())

    return await fleet._store.run(explain)


async def test_no_statement_of_a_call_reads_a_whole_table(conninfo: str) -> None:
    """As PostgreSQL plans it, with a table large enough that it would matter."""
    async with Fleet(conninfo) as fleet:
        for name in ("p", "q"):
            await fleet.submit(name, (f"r{number}" for number in range(20_000)))
        await sql(fleet, "ANALYZE tusfacturas.work")
        plans = {statement: await explained(fleet, statement) for statement in CALLS}
    assert [name for name, plan in plans.items() if "Scan" not in plan] == ["know"]
    assert {name: plan for name, plan in plans.items() if "Seq Scan on" in plan} == {}


async def test_many_callers_share_one_round_trip(conninfo: str) -> None:
    """At 50 in flight a voucher costs a quarter of a round-trip at most: one claim, one record."""
    async with Fleet(conninfo) as fleet:
        held = await fleet._leases.take("p")
        assert held is not None
        writer = Writer(fleet._store)

        async def one(number: int) -> None:
            reference = f"r{number}"
            for _ in range(10):
                claimed = await writer.claim(
                    Claim(held.point, held.epoch, reference, NOW, doubtful=False, adopt=True)
                )
                assert claimed is not None
                outcome = ("not_sent", None, None, 0)
                await writer.record(
                    Record(held.point, held.epoch, reference, *outcome, claim=claimed[3], adopt=True)
                )

        await asyncio.gather(*map(one, range(50)))
        await writer.aclose()
    print(f"{writer.groups / 500:.3f} round-trips for each voucher")
    assert writer.groups / 500 <= 0.25


async def test_behind_pgbouncer_in_session_mode(conninfo: str, postgres: Postgres) -> None:
    """Statements, COPY, NOTIFY and Procrastinate's workers go through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("there is no PgBouncer here: apt-get install pgbouncer")
    folder = postgres.folder
    settings = f"""[databases]
* = host={folder} port=5432 user=fleet
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = any
pool_mode = session
"""
    (folder / "pgbouncer.ini").write_text(settings)
    (folder / "pgbouncer.ini").chmod(0o644)
    with subprocess.Popen([program, "-q", str(folder / "pgbouncer.ini")], **postgres.as_user()) as bouncer:
        try:
            while not (folder / ".s.PGSQL.6432").exists():
                assert bouncer.poll() is None
                await asyncio.sleep(0.02)
            behind = conninfo.replace("port=5432", "port=6432")
            references = [f"r{number}" for number in range(200)]
            async with Service({"p": [[ref] for ref in references]}) as service, Fleet(behind) as fleet:
                await fleet.submit("p", references)
                async with working(fleet, service, timeout=60.0):
                    await until_done(fleet)
        finally:
            bouncer.kill()
    assert dict(service.sent) == dict.fromkeys(references, 1)
