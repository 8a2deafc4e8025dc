"""A PostgreSQL for the tests that need one; where there is none they skip, and say so."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from tests.fleet.postgres import Postgres, binaries

NO_POSTGRES = "there is no PostgreSQL here: apt-get install postgresql, or have initdb on the path"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests; each has a database of its own."""
    programs = binaries()
    if programs is None:
        pytest.skip(NO_POSTGRES)
    pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")
    with Postgres(programs) as server:
        yield server


@pytest.fixture
def empty(postgres: Postgres) -> str:
    """How to connect to a database that has nothing yet."""
    return postgres.database(f"test{next(_numbers)}")


@pytest.fixture(scope="session")
def migrated(postgres: Postgres) -> str:
    """The name of a database with the fleet's schema, to be copied."""
    from tusfacturas_async.fleet import Fleet

    asyncio.run(Fleet(postgres.database("migrated")).migrate())
    return "migrated"


@pytest.fixture
def conninfo(postgres: Postgres, migrated: str) -> str:
    """How to connect to a database with the fleet's schema."""
    return postgres.database(f"test{next(_numbers)}", like=migrated)
