"""The free lookup, read whole: by references in chunks, or any search page by page.

A lookup proves something only when all of it was read and understood, and only of references that it names to
the letter. What it proves of a call is ``call``'s to say.
"""

from __future__ import annotations

from collections import Counter
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from .._wire import answers
from .._wire import codec as wire
from ..errors import (
    AuthenticationError,
    NotSentError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from ..results import Evidence
from .exchange import About
from .retry import Unfinished
from .waiting import Deadline

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Sequence

    from ..models import Voucher
    from .channel import Channel

PAGE: Final = 500
"""Vouchers asked for at once; the service gives at most 1,000 (vendor, 2026)."""

_READINGS: Final = 5
"""How often a list that changes while it is read is read at most."""


class Found(NamedTuple):
    """What a lookup of references found.

    Attributes:
        vouchers: Those of exactly these references, in the service's order: newest first in each chunk.
        unclear: References of which the answer cannot tell, as it named others in their place.
    """

    vouchers: list[Voucher]
    unclear: set[str]

    def of(self, reference: str) -> list[Voucher] | None:
        """The vouchers of one of the references, none where there are none; ``None``: it cannot tell."""
        theirs = [voucher for voucher in self.vouchers if voucher.external_reference == reference]
        return None if not theirs and reference in self.unclear else theirs


async def find(
    channel: Channel, references: Sequence[str], deadline: Deadline, *, tries: int | None = None
) -> Found:
    """Find the vouchers of these references, free of charge, in chunks.

    Args:
        channel: The way to the service.
        references: Each to the letter: ``"A-1 "`` is not ``"A-1"``.
        deadline: The end of all of it.
        tries: How often each page is asked for at most; ``None`` for as often as the policy says.

    Raises:
        TusFacturasError: The service could not be asked or refused, or its answer could not be read whole.
    """
    found = Found([], set())
    wanted = list(dict.fromkeys(references))
    size = wire.LOOKUP_CHUNK
    chunks = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    while chunks:
        chunk = chunks.pop(0)
        try:
            vouchers = await _of_references(channel, chunk, deadline, tries)
        except TusFacturasError as error:
            if len(chunk) == 1 or not _too_long(error):
                raise
            middle = len(chunk) // 2
            chunks[:0] = [chunk[:middle], chunk[middle:]]
            continue
        ours = [voucher for voucher in vouchers if voucher.external_reference in chunk]
        found.vouchers.extend(ours)
        if len(ours) < len(vouchers):
            absent = set(chunk).difference(voucher.external_reference or "" for voucher in ours)
            if len(chunk) == 1:
                found.unclear.update(absent)
            else:  # whose place did a stranger take? each one alone can tell
                chunks[:0] = [[reference] for reference in chunk if reference in absent]
    return found


async def lookup(channel: Channel, references: Sequence[str], deadline: Deadline) -> list[Voucher]:
    """The vouchers of these references; see ``find``.

    Raises:
        TusFacturasError: As ``find``, and where the answer cannot tell of a reference.
    """
    found = await find(channel, references, deadline)
    for reference in found.unclear:
        raise UnexpectedResponseError(STRANGERS, external_reference=reference)
    return found.vouchers


_UNREADABLE: Final = "the lookup's answer cannot be read whole"

STRANGERS: Final = "the lookup's answer has vouchers of other references only, and so it cannot tell"


async def _of_references(
    channel: Channel, chunk: Sequence[str], deadline: Deadline, tries: int | None
) -> list[Voucher]:
    def ask(number: int) -> Awaitable[answers.Page]:
        body = channel.codec.lookup(chunk, page=number)
        about = About(wire.LOOKUP, chunk[0] if len(chunk) == 1 else None)
        return _ask(channel, body, deadline, about, divisible=len(chunk) > 1, tries=tries)

    return await _whole(_pages(ask, wire.LOOKUP_CHUNK))


async def lookup_pages(
    channel: Channel, search: wire.Search, seconds: float | None
) -> AsyncGenerator[Voucher, None]:
    """The vouchers of a search, page by page as they are asked for; each page has ``seconds`` of its own.

    The list is newest first, and a voucher that leaves or joins it meanwhile shifts the rest: then it is read
    again until nothing is missing, and what was not told yet comes last.

    Raises:
        TusFacturasError: The service could not be asked or refused, or its answers could not be read whole.
    """
    told: Counter[Voucher] = Counter()
    read: Counter[Voucher] = Counter()
    async for number, vouchers in _search(channel, search, seconds):
        on_page = Counter(vouchers)
        read = on_page if number == 0 else read + on_page
        for voucher in vouchers:  # what two pages show is one that was shifted, or one of two that are alike
            if told[voucher] < on_page[voucher]:
                told[voucher] += 1
                yield voucher
    for voucher in (read - told).elements():
        yield voucher


async def lookup_whole(channel: Channel, search: wire.Search, seconds: float | None) -> list[Voucher]:
    """The vouchers of a search, all of them in the service's own order; else as ``lookup_pages``."""
    return await _whole(_search(channel, search, seconds))


def _search(
    channel: Channel, search: wire.Search, seconds: float | None
) -> AsyncGenerator[tuple[int, list[Voucher]], None]:
    def ask(number: int) -> Awaitable[answers.Page]:
        body = channel.codec.search(search, page=number, limit=PAGE)
        return _ask(channel, body, Deadline(seconds), About(wire.LOOKUP), divisible=False)

    return _pages(ask, PAGE)


async def _whole(pages: AsyncIterable[tuple[int, list[Voucher]]]) -> list[Voucher]:
    vouchers: list[Voucher] = []
    async for number, page in pages:
        vouchers = page if number == 0 else vouchers + page
    return vouchers


async def _pages(
    ask: Callable[[int], Awaitable[answers.Page]], size: int
) -> AsyncGenerator[tuple[int, list[Voucher]], None]:
    """The pages of a list with their numbers; it begins again at 0 when the list changed while it was read.

    It ends when a reading is whole and nothing moved in it, or when two whole readings agree.
    """
    before: list[Voucher] | None = None
    for _ in range(_READINGS):
        reading: list[Voucher] = []
        totals: set[int | None] = set()
        seen: set[Voucher] = set()
        moved = False
        number = -1
        while True:
            number += 1
            page = await ask(number)
            if page.vouchers and page.vouchers == reading[-len(page.vouchers) :]:
                raise UnexpectedResponseError(f"{_UNREADABLE}: a page came twice")
            moved = moved or not seen.isdisjoint(page.vouchers)
            seen.update(page.vouchers)
            totals.add(page.total)
            reading += page.vouchers
            yield number, page.vouchers
            left = size if page.total is None else page.total - len(reading)
            if left <= 0 or not page.vouchers or (page.total is None and len(page.vouchers) < size):
                break
        whole = page.total in {None, len(reading)}
        if whole and (reading == before or not (moved or len(totals) > 1)):
            return
        if reading == before:
            break
        before = reading
    raise UnexpectedResponseError(f"{_UNREADABLE}: its pages do not add up to its total")


def _too_long(error: TusFacturasError) -> bool:
    """Whether the firewall may have refused the body for its length: "send fewer" (vendor, 2026)."""
    status = error.status_code if isinstance(error, AuthenticationError | UnexpectedResponseError) else None
    return status is not None and (status == HTTPStatus.OK or 402 <= status < 500)  # noqa: PLR2004


async def _ask(
    channel: Channel,
    body: bytes,
    deadline: Deadline,
    about: About,
    *,
    divisible: bool,
    tries: int | None = None,
) -> answers.Page:
    """Ask for one page; where its length may be the trouble, a ``divisible`` one is asked for once."""
    left = tries or channel.line.policy.attempts
    last: TusFacturasError = NotSentError("the lookup was not sent")

    async def step() -> answers.Page | Unfinished:
        nonlocal left, last
        exchange = await channel.ask(body, deadline, about.reference)
        if isinstance(exchange, TusFacturasError):
            raise exchange
        left -= 1
        answer = exchange.answer
        if isinstance(answer.error, VoucherNotFoundError):
            return answers.Page([], 0)
        if answer.payload is not None and answer.error is None:
            page = answers.read_page(answer.payload)
            if page is not None:
                return page
            strange = UnexpectedResponseError(f"{_UNREADABLE}: entries are missing, or of another shape")
            answer = answers.Answer(Evidence.MAYBE_SENT, error=strange)
        last = answer.error or last
        final = answer.evidence is Evidence.ANSWERED or (divisible and _too_long(last))
        if final or left <= 0:
            raise last
        return Unfinished(answer.retry_after)

    page = await channel.drive(
        step, deadline, lambda seconds, reason: channel.telling.wait(about, seconds, reason, last)
    )
    if isinstance(page, Unfinished):
        raise last
    return page
