"""``tusfacturas fleet``: many workers on PostgreSQL.

Where that is, the environment tells: its address can hold a password, and a command line is for all to see.
"""

from __future__ import annotations

import os
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..client import AsyncClient
from ..models import Credentials
from . import connection
from .given import lanes_of, requests
from .references import COLUMN, read_references
from .screen import put_line
from .status import FINE, SOME_NOT, UsageError
from .texts import say
from .visible import visible, visible_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..fleet import Fleet
    from ..fleet.worker import Resolve

_DATABASE: Final = "TUSFACTURAS_DATABASE"
_NOBODY: Final = Credentials(apikey="none", apitoken="none", usertoken="none")
"""A client has credentials; a worker's are resolved for each point of sale, and these are never sent."""


def _fleet(**options: Any) -> Fleet:
    from ..fleet import Fleet  # noqa: PLC0415 - it needs an extra of its own

    if _DATABASE not in os.environ:
        raise UsageError(say("no database"))
    return Fleet(os.environ[_DATABASE], **options)


def migrate() -> Coroutine[Any, Any, None]:
    """Make the schema, or bring it up to this version; run it before workers of a new version start.

    For example, where every command of the fleet finds PostgreSQL by this variable:

      $ TUSFACTURAS_DATABASE="host=db dbname=invoices" tusfacturas fleet migrate
    """
    return _fleet().migrate()


def submit(
    name: str,
    file: Path,
    /,
    *,
    column: str = COLUMN,
    lane_column: tuple[str, ...] = (),
    encoding: str | None = None,
) -> Coroutine[Any, Any, None]:
    """Take the vouchers in that FILE names, and tell how many were new.

    For example:

      $ tusfacturas fleet submit pdv-12 references.csv --lane-column punto_venta --lane-column tipo

    Args:
        name: The point of sale's.
        file: As for reprocess.
        column: The CSV column with the references.
        lane_column: A CSV column that tells the lane; may be given twice.
        encoding: How the file is written, as cp1252.
    """
    rows = read_references(str(file), column, lane_column, encoding=encoding)
    requests(rows, any_characters=False)  # none is taken in where one cannot be sent
    return _submit(name, lanes_of(rows))


def status(name: str | None = None, /, *, json: bool = False) -> Coroutine[Any, Any, int]:
    """Show how many vouchers there are of each outcome; exit status 1 while some are open.

    Also which points of sale cannot be worked on, and why.

    For example:

      $ tusfacturas fleet status pdv-12

    Args:
        name: Of one point of sale; of all when left out.
        json: As one JSON object.
    """
    return _status(name, as_line=json)


def results(name: str, /) -> Coroutine[Any, Any, None]:
    """Print each voucher of a point of sale, one JSON object a line.

    For example:

      $ tusfacturas fleet results pdv-12 > results.jsonl

    Args:
        name: The point of sale's.
    """
    return _results(name)


def worker(
    *,
    resolve: str,
    points: int = 50,
    concurrency: int = 50,
    interval: float = 0.1,
    lease: float = 15.0,
) -> Coroutine[Any, Any, None]:
    """Send until SIGTERM, then drain: what is in flight is finished and recorded.

    For example, with the function ``of`` of shop/credentials.py:

      $ tusfacturas fleet worker --resolve shop.credentials:of

    Args:
        resolve: MODULE:FUNCTION that tells the credentials of a point of sale from its name.
        points: Points of sale at once.
        concurrency: Requests in flight at most.
        interval: Seconds between the starts of two requests of one point of sale.
        lease: Seconds after which another worker takes over when this one is gone.
    """
    return _work(
        *(_named(resolve), points, lease),
        max_concurrency=concurrency,
        min_interval=interval,
        timeout=connection.timeout(),
    )


async def _submit(name: str, lanes: Mapping[str, tuple[str, ...] | None]) -> None:
    async with _fleet() as entered:
        put_line(str(await entered.submit(name, lanes, lane=lanes.get)))


async def _status(name: str | None, *, as_line: bool) -> int:
    async with _fleet() as entered:
        progress = await entered.progress(name)
    if as_line:
        counts = {**progress.counts, "billed_calls": progress.billed_calls}
        put_line(visible_json({**counts, "troubles": progress.troubles}))
    else:
        for outcome, count in progress.counts.items():
            put_line(f"{count:>9} {say(outcome, count=count)}")
        put_line(say("billed calls", count=progress.billed_calls))
        for point, why in progress.troubles.items():
            put_line(visible(f"{point}: {why}"))
    return SOME_NOT if progress.open else FINE


async def _results(name: str) -> None:
    async with _fleet() as entered:
        async for row in entered.results(name):
            outcome = "waiting" if row.waiting else row.outcome or "sending"
            told: dict[str, object] = {"external_reference": row.external_reference, "outcome": outcome}
            told |= {"settled_by": row.settled_by, "billed_calls": row.billed_calls, "error": row.error}
            put_line(visible_json(told))


async def _work(resolve: Resolve, points: int, lease: float, **options: Any) -> None:
    from ..fleet import Worker  # noqa: PLC0415 - it needs an extra of its own

    base_url = connection.base_url()
    async with AsyncClient(_NOBODY, base_url=base_url, **options) as client, _fleet(lease=lease) as entered:
        await Worker(entered, client, resolve, points=points).run()


def _named(path: str) -> Resolve:
    module, _, name = path.partition(":")
    try:
        found: Resolve = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(say("no function", path=path, why=error)) from error
    return found
