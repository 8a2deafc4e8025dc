"""A PostgreSQL for the tests that need one; where there is none they skip, and say so."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

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


@pytest.fixture
async def conninfo(empty: str) -> AsyncIterator[str]:
    """How to connect to a database with the fleet's schema."""
    from tusfacturas_async.fleet import Fleet

    await Fleet(empty).migrate()
    yield empty
