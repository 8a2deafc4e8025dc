"""``Store``: the way to PostgreSQL: connections, statements by name, the schema's version. No vouchers.

What is run here may run twice: a connection can be lost after a commit and before its answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ..errors import JournalError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    Connection: TypeAlias = AsyncConnection[tuple[Any, ...]]

logger: logging.Logger = logging.getLogger(__name__)

T = TypeVar("T")

SCHEMA: Final = "tusfacturas"
"""The schema of everything that is ours."""

_SQL: Final = resources.files("tusfacturas_async.fleet").joinpath("sql")

ATTEMPT: Final = 5.0
"""Seconds after which a connection that does not answer is given up."""

_SHORTEST: Final = 1.0
"""Seconds that the last attempt has, though patience ends before."""

_SILENCE: Final = 15.0
"""Seconds without a word after which a connection that listens is asked whether it is there still."""

_CONNECTIONS: Final = 4

_SETTINGS: Final = b"""SET enable_seqscan = off; SET jit = off;
SET default_transaction_isolation = 'read committed';
SET idle_in_transaction_session_timeout = '5s';
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') IN ('off', 'local')"""
"""A silent transaction is a paused process's: it loses its locks, and is repeated when that one wakes."""

_LONGEST_NAME: Final = 500
"""Characters of a point of sale's name: an index holds it."""

_LOCK: Final = 0x74666666  # "tfff"
"""The advisory lock that lets one migration run at a time."""

_AWAY: Final = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
    psycopg.errors.ReadOnlySqlTransaction,  # a standby that is about to be promoted
    TimeoutError,
)


def _migrations() -> list[bytes]:
    files = [file for file in _SQL.iterdir() if file.name[0].isdigit()]
    return [file.read_bytes() for file in sorted(files, key=lambda file: file.name)]


def _queries() -> dict[str, bytes]:
    text = _SQL.joinpath("queries.sql").read_text("utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return {name: query.strip().encode() for name, query in zip(parts[::2], parts[1::2], strict=True)}


MIGRATIONS: Final = _migrations()
QUERIES: Final = _queries()


class Store:
    """A pool of connections that outlasts PostgreSQL's being away for a moment.

    Args:
        conninfo: As libpq takes it; an empty text for libpq's environment variables.
        patience: Seconds for which work is tried again while PostgreSQL is away.
    """

    def __init__(self, conninfo: str, *, patience: float) -> None:
        self._conninfo = conninfo
        self._patience = patience
        self._pool = AsyncConnectionPool(
            conninfo,
            min_size=1,
            max_size=_CONNECTIONS,
            timeout=ATTEMPT,
            kwargs={"autocommit": True, "application_name": SCHEMA},
            configure=_configure,
            name=SCHEMA,
            open=False,
        )

    async def open(self) -> None:
        """Connect, and see that the schema is the one that this package knows.

        Raises:
            JournalError: PostgreSQL cannot be reached, or its schema is older or newer than this package.
        """
        await self._pool.open()
        try:
            version = await self.run(_version, patience=ATTEMPT)
            check_version(version, exactly=True)
        except BaseException:
            await self._pool.close()
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, patience: float | None = None) -> T:
        """Do work that may be done twice; again, on another connection, while PostgreSQL is away.

        Raises:
            JournalError: PostgreSQL stayed away, or refused.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + (self._patience if patience is None else patience)
        pause = 0.02
        while True:
            try:
                attempt = max(min(ATTEMPT, ends - loop.time()), _SHORTEST)
                async with asyncio.timeout(attempt), self._pool.connection() as connection:
                    return await work(connection)
            except _AWAY as error:
                if loop.time() + pause > ends:
                    raise unusable(error) from error
                logger.info("PostgreSQL is away, it is tried again: %s", error)
            except psycopg.Error as error:
                raise unusable(error) from error
            await asyncio.sleep(pause)
            pause = min(2 * pause, 1.0)

    async def fetch(self, statement: str, /, **values: object) -> list[tuple[Any, ...]]:
        """The rows that a statement of ours returns.

        Raises:
            JournalError: As ``run``.
        """
        return await self.run(lambda connection: fetch(connection, statement, values))

    async def listen(self, channel: str) -> AsyncGenerator[None, None]:
        """A word for what is notified on a channel meanwhile; also when nothing was heard for a while."""
        while True:
            try:
                async with asyncio.timeout(ATTEMPT):
                    connection = await _connect(self._conninfo)
                async with connection:
                    await connection.execute(f"LISTEN {channel}".encode())
                    yield None
                    while True:
                        words = [word async for word in connection.notifies(timeout=_SILENCE, stop_after=1)]
                        if not words:
                            async with asyncio.timeout(ATTEMPT):  # a way that is gone tells nothing by itself
                                await connection.execute("SELECT 1")
                        yield None
            except _AWAY as error:
                logger.info("PostgreSQL is away, listening again soon: %s", error)
            await asyncio.sleep(1.0)


async def fetch(
    connection: Connection, statement: str, values: Mapping[str, object] = MappingProxyType({})
) -> list[tuple[Any, ...]]:
    """The rows that a statement of ours returns, on a connection."""
    cursor = await connection.execute(QUERIES[statement], dict(values))
    return await cursor.fetchall() if cursor.description else []


async def migrate(conninfo: str, also: Callable[[Connection], Awaitable[object]] | None = None) -> None:
    """Bring the schema up to this package's version, in one transaction; ``also`` has a part in it.

    Raises:
        JournalError: PostgreSQL cannot be reached or refused, or the schema is newer than this package.
    """
    try:
        async with await _connect(conninfo) as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            version = await _prepare(connection)
            check_version(version, exactly=False)
            for statements in MIGRATIONS[version:]:
                await connection.execute(statements)
            await connection.execute(b"UPDATE tusfacturas.version SET version = %s", [len(MIGRATIONS)])
            if also is not None:
                await also(connection)
    except psycopg.Error as error:
        raise unusable(error) from error


def check_version(version: int, *, exactly: bool) -> None:
    """Refuse a schema that is newer, and an older one if it has to be used."""
    known = len(MIGRATIONS)
    if version > known:
        raise JournalError(f"the fleet's schema has version {version}, this package knows {known}: update it")
    if exactly and version < known:
        found = f"has version {version}, this package needs {known}" if version else "is not there"
        raise JournalError(f"the fleet's schema {found}: run `tusfacturas fleet migrate`")


async def _version(connection: Connection) -> int:
    """The schema's version; 0 before there is one."""
    there = await (await connection.execute("SELECT to_regclass('tusfacturas.version')")).fetchone()
    if there == (None,):
        return 0
    (version,) = await (await connection.execute("SELECT version FROM tusfacturas.version")).fetchone() or (
        0,
    )
    return int(version)


async def _prepare(connection: Connection) -> int:
    """The schema and its version's table, made if need be: a role may own a schema and make none."""
    cursor = await connection.execute(
        "SELECT to_regnamespace('tusfacturas'), to_regclass('tusfacturas.version')"
    )
    schema, table = await cursor.fetchone() or (None, None)
    if schema is None:
        await connection.execute("CREATE SCHEMA tusfacturas")
    if table is None:
        await connection.execute("CREATE TABLE tusfacturas.version (version integer NOT NULL, jobs text)")
        await connection.execute("INSERT INTO tusfacturas.version (version) VALUES (0)")
    return await _version(connection)


async def _connect(conninfo: str) -> Connection:
    connection = await AsyncConnection.connect(conninfo, autocommit=True, application_name=SCHEMA)
    await _configure(connection)
    return connection


async def _configure(connection: Connection) -> None:
    """Whatever the role's or the database's settings are, "sending" is durable when it is answered.

    Statistics of a table that was just filled are of an empty one: no plan relies on them. One that has to
    read a whole table looks very dear then, which is no reason to compile it.
    """
    await connection.execute(_SETTINGS)


def unusable(error: Exception) -> JournalError:
    """What a user is told of PostgreSQL's error."""
    reason = " ".join(str(error).split()) or "it did not answer in time"
    return JournalError(f"the journal in PostgreSQL cannot be used: {reason}")


def point_name(name: object) -> str:
    """The name of a point of sale, if PostgreSQL can hold it.

    Raises:
        TypeError: It is no text.
        ValueError: It is empty, too long, or has a NUL character or a lone surrogate.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, the point of sale's, not {type(name).__name__}")
    if (
        not 0 < len(name) <= _LONGEST_NAME
        or "\0" in name
        or any("\ud800" <= each <= "\udfff" for each in name)
    ):
        raise ValueError(
            f"name must have 1 to {_LONGEST_NAME} characters, and no NUL or lone surrogate among them: "
            f"{name[:32]!r}"
        )
    return name


def counts(rows: list[tuple[Any, ...]]) -> Mapping[str, int]:
    """Rows of a name and a number as a mapping."""
    return {str(name): int(number) for name, number, *_ in rows}
