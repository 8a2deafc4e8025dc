"""What a sweep is about: read from a file or found by its dates, and how much of it would be sent."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from ..errors import InvalidReferenceError
from ..journal import Journal
from ..models import MAX_REFERENCE_LENGTH, ReprocessRequest, Voucher
from ..results import Outcome
from . import connection
from .references import Row, read_references
from .signals import raising
from .status import UsageError
from .story import ended_well
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from ..client import AsyncClient
    from .options import Options

Item: TypeAlias = ReprocessRequest | Voucher

_SQLITE: Final = b"SQLite format 3\0"
_MOST_TOLD: Final = 20
"""Invalid references that are told one by one."""


class Given(NamedTuple):
    """The input.

    Attributes:
        items: What is to be sent, in the order of the input; a reference that it repeats is here once.
        lane: What tells the lane of each; ``None``: no order asked for.
        copies: How often the input has each reference.
    """

    items: Sequence[Item]
    lane: Callable[[Any], Hashable] | None
    copies: Mapping[str, int]

    @classmethod
    def once(cls, items: Sequence[Item], lane: Callable[[Any], Hashable] | None) -> Given:
        """Each reference once: a batch tells repeats only while it has the first of them in hand."""
        first: dict[object, Item] = {}
        for place, item in enumerate(items):
            first.setdefault(item.external_reference or place, item)
        copies = Counter(reference for item in items if (reference := item.external_reference))
        return cls(list(first.values()), lane, copies)

    @property
    def total(self) -> int:
        """References in the input, repeats included."""
        return sum(self.copies.get(item.external_reference or "", 1) for item in self.items)

    @property
    def references(self) -> dict[str, None]:
        """Each reference that can be sent, once, in its order."""
        return {reference: None for item in self.items if (reference := item.external_reference)}


def is_journal(file: str) -> bool:
    """Whether ``file`` is one of SQLite's, as a journal is."""
    try:
        with Path(file).open("rb") as opened:
            return opened.read(len(_SQLITE)) == _SQLITE
    except OSError:  # told by whoever reads it
        return False


async def read(options: Options) -> Given:
    """What the file names.

    Raises:
        UsageError: It cannot be read, or holds references that cannot be sent: all of them are named.
        JournalError: It is a journal that cannot be read.
    """
    file = options.file
    assert file is not None  # noqa: S101 - the caller has looked
    if is_journal(file):
        rows = await _of_journal(Path(file), options)
    else:
        with raising():  # standard input may keep the loop waiting
            rows = read_references(file, options.column, options.lane_column, encoding=options.encoding)
    if options.failed:
        rows = _failed(file, rows)
    sent = requests(rows, any_characters=options.any_characters)
    if options.in_order:
        return Given.once(sent, lambda _: "all")
    lanes = lanes_of(rows)
    return Given.once(sent, (lambda each: lanes[each.external_reference]) if options.lane_column else None)


def lanes_of(rows: Sequence[Row]) -> dict[str, tuple[str, ...] | None]:
    """Each reference once, in its order, and its lane: that of the first row that names it."""
    lanes: dict[str, tuple[str, ...] | None] = {}
    for row in rows:
        lanes.setdefault(row.reference, row.lane)
    return lanes


async def _of_journal(path: Path, options: Options) -> list[Row]:
    """The rows of the point of sale that is called; all of them where that is a sandbox's."""
    fingerprint = None if options.sandbox else connection.Service.chosen().credentials.fingerprint
    async with Journal.read(path) as journal:
        rows = [row async for row in journal]
    return [
        Row(row.external_reference, None, number, (row.outcome or Outcome.UNKNOWN, ""))
        for number, row in enumerate(rows, 1)
        if fingerprint in {None, row.fingerprint}
    ]


def _failed(file: str, rows: Sequence[Row]) -> list[Row]:
    """Those that did not end well, each once: the last line about a reference tells what became of it."""
    if any(row.outcome is None for row in rows):
        raise UsageError(say("nothing told", path=file))
    last = {row.reference: row for row in rows}
    return [row for row in last.values() if row.outcome is not None and not ended_well(*row.outcome)]


def requests(rows: Sequence[Row], *, any_characters: bool) -> list[ReprocessRequest]:
    """What can be sent of these rows.

    Raises:
        UsageError: Some cannot: all of them are named, with their lines.
    """
    made, refused = [], []
    for row in rows:
        try:
            made.append(ReprocessRequest(row.reference, any_characters=any_characters))
        except InvalidReferenceError:
            refused.append(say("line", line=row.line, why=_refusal(row.reference, any_characters)))
    if refused:
        told = [say("cannot be sent", count=len(refused)), *refused[:_MOST_TOLD]]
        if len(refused) > _MOST_TOLD:
            told.append(say("and more", count=len(refused) - _MOST_TOLD))
        if not any_characters:
            told.append(say("any characters"))
        raise UsageError("\n".join(told))
    return made


def _refusal(reference: str, any_characters: bool) -> str:  # noqa: FBT001 - an option's value
    """Why a reference is refused, in the chosen language."""
    if not reference:
        return say("reference empty")
    if len(reference) > MAX_REFERENCE_LENGTH:
        return say("reference long", length=len(reference))
    if any_characters:
        return say("reference surrogate", reference=reference)
    wrong = re.search(r"[^A-Za-z0-9_-]", reference)
    assert wrong is not None  # noqa: S101 - no other rule is left
    return say("reference characters", reference=reference, character=wrong[0], position=wrong.start())


async def errored(client: AsyncClient, options: Options, fingerprint: str) -> Given:
    """What is errored on the dates, in the vendor's order; behind it, what the journal has in doubt.

    That may have arrived since, and then it is errored no more.
    """
    assert options.errored_since is not None  # noqa: S101 - the caller has looked
    items: list[Item] = [voucher async for voucher in client.errored(options.errored_since, options.until)]
    if options.journal is not None and options.journal.exists():
        async with Journal.read(options.journal) as journal:
            items += [
                ReprocessRequest(row.external_reference, any_characters=True)
                async for row in journal
                if row.doubtful and row.fingerprint == fingerprint
            ]
    return Given.once(items, lambda item: "all" if options.in_order else getattr(item, "lane", None))


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
