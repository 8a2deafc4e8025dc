"""PostgreSQL's primary is lost, and its standby promoted: a synchronous one, and one that lags.

The standby is a real one that streams; the worker's address names both, as libpq takes it.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest

pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.conftest import NO_POSTGRES
from tests.fleet.postgres import Postgres, binaries
from tests.fleet.proxy import Proxy
from tests.fleet.service import Service
from tests.fleet.test_fleet import until_done, working
from tusfacturas_async.fleet import Fleet

REFERENCES = [f"r{number}" for number in range(60)]


@pytest.fixture
def primary() -> Iterator[Postgres]:
    programs = binaries()
    if programs is None:
        pytest.skip(NO_POSTGRES)
    with Postgres(programs) as server:
        yield server


@pytest.mark.parametrize("synchronous", [True, False])
async def test_a_fail_over(primary: Postgres, synchronous: bool) -> None:
    """What the new primary never heard of is sent again; synchronous, there is no such thing."""
    conninfo = primary.database("fleet")
    await Fleet(conninfo).migrate()
    async with Proxy(primary.folder) as way, Service({"p": [[ref] for ref in REFERENCES]}) as service:
        standby = await asyncio.to_thread(primary.standby, way.folder)
        try:
            await asyncio.to_thread(standby.start)
            if synchronous:
                primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
                primary.run("SELECT pg_reload_conf()")
            both = f"{conninfo} target_session_attrs=read-write".replace(
                f"{primary.folder}", f"{primary.folder},{standby.folder}"
            )
            async with Fleet(both, lease=2.0) as fleet:
                await fleet.submit("p", REFERENCES)
                async with working(fleet, service, min_interval=0.05):
                    while len(service.sent) < 10:
                        await asyncio.sleep(0.01)
                    way.flows.clear()  # from here on the standby hears nothing
                    await asyncio.sleep(1.0)
                    sent = len(service.sent)
                    await asyncio.to_thread(primary.stop, "immediate")
                    await asyncio.to_thread(standby.run, "SELECT pg_promote()")
                    await until_done(fleet)
        finally:
            standby.stop("immediate")
            shutil.rmtree(standby.folder)
    print(f"{sent} were sent when the primary was lost; sent again blindly: {len(service.blind)}")
    assert service.left == []
    assert (not service.blind) is synchronous
