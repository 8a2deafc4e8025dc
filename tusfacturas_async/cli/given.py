"""What a sweep is about: read from a file or found by its dates, and how much of it would be sent."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import InvalidReferenceError
from ..journal import Journal
from ..models import ReprocessRequest, Voucher
from .references import read_references
from .screen import tell
from .status import UsageError
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from ..client import AsyncClient
    from .references import Row
    from .sweep import Options

_MOST_TOLD: Final = 20
"""Invalid references that are told one by one."""


class Given(NamedTuple):
    """The input in its order, and what tells the lane of each."""

    items: Sequence[ReprocessRequest | Voucher]
    lane: Callable[[Any], Hashable] | None

    @property
    def references(self) -> dict[str, None]:
        """Each reference that can be sent, once, in its order."""
        return {reference: None for item in self.items if (reference := item.external_reference)}


def read(options: Options) -> Given:
    """What the file names.

    Raises:
        UsageError: It cannot be read, or holds references that cannot be sent: all of them are named.
    """
    assert options.file is not None  # noqa: S101 - the caller has looked
    rows, blank = read_references(
        options.file, options.column, options.lane_columns, encoding=options.encoding
    )
    if blank:
        tell(say("blank", count=blank))
    requests = _requests(rows, any_characters=options.any_characters)
    if options.in_order:
        return Given(requests, lambda _: "all")
    if not options.lane_columns:
        return Given(requests, None)
    lanes: dict[ReprocessRequest, Hashable] = {}
    for request, row in zip(requests, rows, strict=True):
        lanes.setdefault(request, row.lane)
    return Given(requests, lanes.get)


def _requests(rows: Sequence[Row], *, any_characters: bool) -> list[ReprocessRequest]:
    requests, refused = [], []
    for row in rows:
        try:
            requests.append(ReprocessRequest(row.reference, any_characters=any_characters))
        except InvalidReferenceError as error:
            refused.append(say("line", line=row.line, why=error))
    if refused:
        told = [say("cannot be sent", count=len(refused)), *refused[:_MOST_TOLD]]
        if len(refused) > _MOST_TOLD:
            told.append(say("and more", count=len(refused) - _MOST_TOLD))
        if not any_characters:
            told.append(say("any characters"))
        raise UsageError("\n".join(told))
    return requests


async def errored(client: AsyncClient, options: Options) -> Given:
    """What is errored on the dates, in the vendor's order."""
    assert options.errored_since is not None  # noqa: S101 - the caller has looked
    found = client.errored(options.errored_since, options.errored_until)
    lane = (lambda _: "all") if options.in_order else attrgetter("lane")
    return Given([voucher async for voucher in found], lane)


async def to_send(client: AsyncClient, given: Given, options: Options, fingerprint: str) -> dict[str, None]:
    """The references that would be sent, by what the journal says and, if asked for, by a free lookup."""
    send = given.references
    if options.journal is not None and options.journal.exists():
        async with Journal.read(options.journal) as journal:
            async for row in journal:
                if row.final and row.fingerprint == fingerprint:
                    send.pop(row.external_reference, None)
    if options.check_first and options.dry_run and send:
        found = await client.lookup(*(ReprocessRequest(each, any_characters=True) for each in send))
        errored = {voucher.external_reference for voucher in found if voucher.errored}
        send = {reference: None for reference in send if reference in errored}
    return send
