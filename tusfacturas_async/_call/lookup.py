"""The free lookup: by references in chunks, or any search page by page."""

from __future__ import annotations

import itertools
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from .._wire import codec as wire
from ..errors import (
    AuthenticationError,
    NotSentError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from ..results import Evidence
from .channel import Deadline
from .retry import Unfinished

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from ..models import Voucher
    from .channel import Channel

PAGE: Final = 500
"""Vouchers asked for at once; the service gives at most 1,000 (vendor, 2026)."""


async def lookup(channel: Channel, references: Sequence[str], deadline: Deadline) -> list[Voucher]:
    """Find the vouchers of these references, free of charge, in chunks.

    Raises:
        TusFacturasError: The service could not be asked, or refused.
    """
    found: list[Voucher] = []
    chunks = [
        list(references[start : start + wire.LOOKUP_CHUNK])
        for start in range(0, len(references), wire.LOOKUP_CHUNK)
    ]
    while chunks:
        chunk = chunks.pop(0)
        try:
            page = await _search(channel, channel.codec.lookup(chunk), deadline, divisible=len(chunk) > 1)
        except TusFacturasError as error:
            if len(chunk) == 1 or not _too_long(error):
                raise
            middle = len(chunk) // 2
            chunks[:0] = [chunk[:middle], chunk[middle:]]
        else:
            found += page.vouchers
    return found


async def lookup_pages(
    channel: Channel, kind: str, wanted: Mapping[str, object], seconds: float | None
) -> AsyncGenerator[Voucher, None]:
    """The vouchers of a search, page by page as they are asked for; each page has ``seconds`` of its own.

    The list is newest first, so a voucher that is issued meanwhile moves the rest down by one: what was on
    the page before is left out.

    Raises:
        TusFacturasError: The service could not be asked, or refused.
    """
    seen = 0
    before: set[Voucher] = set()
    for number in itertools.count():
        body = channel.codec.search(kind, wanted, page=number, limit=PAGE)
        page = await _search(channel, body, Deadline(seconds), divisible=False)
        for voucher in page.vouchers:
            if voucher not in before:
                yield voucher
        before = set(page.vouchers)
        seen += len(page.vouchers)
        if not page.vouchers or (len(page.vouchers) < PAGE if page.total is None else seen >= page.total):
            return


def _too_long(error: TusFacturasError) -> bool:
    """Whether the firewall may have refused the body for its length: "send fewer" (vendor, 2026)."""
    status = error.status_code if isinstance(error, AuthenticationError | UnexpectedResponseError) else None
    return status is not None and (status == HTTPStatus.OK or 402 <= status < 500)  # noqa: PLR2004


async def _search(channel: Channel, body: bytes, deadline: Deadline, *, divisible: bool) -> wire.Page:
    """Make one lookup; one that is ``divisible`` is not tried again where its length may be the trouble."""
    tries = 0
    last: TusFacturasError = NotSentError("the lookup was not sent")

    async def step() -> wire.Page | Unfinished:
        nonlocal tries, last
        exchange = await channel.exchange(wire.LOOKUP, body, deadline)
        if isinstance(exchange, TusFacturasError):
            raise exchange
        tries += 1
        answer = exchange.answer
        if answer.payload is not None and answer.error is None:
            page = wire.read_page(answer.payload)
            if page is None:
                raise UnexpectedResponseError("the lookup's answer has no list of vouchers")
            return page
        if isinstance(answer.error, VoucherNotFoundError):
            return wire.Page([], 0)
        last = answer.error or last
        final = answer.evidence is Evidence.ANSWERED or (divisible and _too_long(last))
        if final or tries >= channel.line.policy.attempts:
            raise last
        return Unfinished(answer.retry_after)

    page = await channel.drive(step, deadline)
    if isinstance(page, Unfinished):
        raise last
    return page
