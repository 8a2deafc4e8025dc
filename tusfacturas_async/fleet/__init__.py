"""Many workers, one truth: PostgreSQL holds it, Procrastinate spreads it. It needs the extra ``fleet``.

One job for each point of sale; below a fenced lease on it, ``Batch``, lanes and pace run as in one process.
"""

from __future__ import annotations

try:
    from .fleet import Fleet, FleetProgress
    from .inbox import PostgresInbox
    from .journal import PostgresJournal, WorkRow
    from .run import Run
    from .worker import Worker
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] in {"procrastinate", "psycopg", "psycopg_pool"}:
        raise ModuleNotFoundError(
            f"tusfacturas_async.fleet needs {_error.name}: pip install 'tusfacturas-async[fleet]'",
            name=_error.name,
        ) from _error
    raise

__all__ = ["Fleet", "FleetProgress", "PostgresInbox", "PostgresJournal", "Run", "WorkRow", "Worker"]
