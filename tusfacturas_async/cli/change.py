"""``delete`` and ``change-date``: one billed change of one voucher, agreed to before it is made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..models import ReprocessRequest
from .ask import agreed, cost, where
from .connection import Service
from .screen import put_line, tell
from .show import print_vouchers
from .signals import end_at_once, first_of, noticing
from .status import FINE, UsageError, ended_by
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import date

    from ..client import AsyncClient
    from ..results import CallResult

_DONE: Final = {"delete": "deleted", "change_date": "date changed"}


async def delete(reference: str, fecha: date, *, yes: bool, dry_run: bool) -> int:
    """Delete one voucher from the queue."""
    request = ReprocessRequest(reference, any_characters=True)
    names = {"reference": reference, "fecha": fecha}
    return await _change("delete", names, lambda c: c.delete(request, fecha), yes=yes, dry_run=dry_run)


async def change_date(reference: str, fecha: date, due: date, *, yes: bool, dry_run: bool) -> int:
    """Change one voucher's dates.

    Raises:
        UsageError: The due date comes first.
    """
    if due < fecha:
        raise UsageError(say("due first"))
    request = ReprocessRequest(reference, any_characters=True)
    names = {"reference": reference, "fecha": fecha, "due": due}
    return await _change(
        "change_date", names, lambda c: c.change_date(request, fecha, due), yes=yes, dry_run=dry_run
    )


async def _change(
    what: str,
    names: dict[str, object],
    work: Callable[[AsyncClient], Awaitable[CallResult]],
    *,
    yes: bool,
    dry_run: bool,
) -> int:
    service = Service.chosen()
    async with service.client() as client:
        if dry_run:
            request = ReprocessRequest(str(names["reference"]), any_characters=True)
            print_vouchers(await client.lookup(request), as_lines=False)
            put_line(say(f"dry run {what}", cost=cost(1), **names))
            return FINE
        if not agreed(f"{where(service)} {say(f'ask {what}', **names)}", cost(1), yes=yes):
            return FINE
        with noticing() as noted:
            changing = asyncio.ensure_future(work(client))
            await first_of(changing, noted.once)
            if not changing.done():
                tell(say("stopping", count=1))
                await first_of(changing, noted.twice)
            if not changing.done():
                tell(say("one interrupted", reference=names["reference"]))
                end_at_once(noted)
            changing.result()
    put_line(say(_DONE[what], reference=names["reference"]))
    return FINE if noted.number is None else ended_by(noted.number)
