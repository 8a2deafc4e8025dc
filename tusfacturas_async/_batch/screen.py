"""What need not be sent: told by the journal, or by a free lookup ahead of the sending."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from .._call.lookup import STRANGERS, find
from ..errors import (
    MaintenanceError,
    NotSentError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from ..results import Outcome, ReprocessResult
from .claim import Claim

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from .._call.channel import Channel
    from .._call.waiting import Deadline
    from .._journal_rows import JournalRow
    from ..models import Voucher
    from .recorder import Recorder


class Screened(NamedTuple):
    """What is known of some references before anything is sent.

    Attributes:
        verdicts: The results of those that are not to be sent.
        doubtful: Those of which a request of an earlier process may have arrived.
    """

    verdicts: dict[str, ReprocessResult]
    doubtful: Collection[str] = ()


async def screen(
    channel: Channel,
    references: Sequence[str],
    journal: Recorder | None,
    deadline: Deadline,
    *,
    check_first: bool,
    outlast: Callable[[MaintenanceError], Awaitable[bool]],
) -> Screened:
    """Ask the journal, then the free lookup if told to.

    A verdict of the lookup is journaled, unless the row was claimed or settled while it was made.

    Args:
        channel: The way to the service.
        references: What is to be sent.
        journal: What was sent before, or ``None``.
        deadline: The end of the lookup.
        check_first: Whether to look up.
        outlast: Waits for the end of maintenance; whether it did.

    Raises:
        JournalError: The journal cannot be used.
    """
    rows = {} if journal is None else await journal.rows(channel.identity, references)
    verdicts = {reference: on_record(row) for reference, row in rows.items() if row.final}
    doubtful = {reference for reference, row in rows.items() if row.doubtful}
    unknown = [
        reference for reference in references if reference not in verdicts and reference not in doubtful
    ]
    if check_first and unknown:
        looked_up = await _look(channel, unknown, deadline, outlast)
        notes = [_note(Claim(journal, channel, each), verdict) for each, verdict in looked_up.items()]
        stands = await asyncio.gather(*notes, return_exceptions=True)
        for (reference, verdict), row in zip(looked_up.items(), stands, strict=True):
            if isinstance(row, BaseException):
                raise row
            if row is None or row.final:
                verdicts[reference] = verdict if row is None else on_record(row)
            else:
                doubtful.add(reference)  # it was begun while we looked: its sender or the next lookup tells
    return Screened(verdicts, doubtful)


async def _note(claim: Claim, verdict: ReprocessResult) -> JournalRow | None:
    """Journal what the check says; else the row that another batch or a webhook has made meanwhile."""
    try:
        return await claim.make(doubtful=False) or await claim.record(verdict)
    finally:
        claim.release()


def on_record(row: JournalRow) -> ReprocessResult:
    """The result of a reference that a journal's final row lets nobody send again."""
    return ReprocessResult(
        row.external_reference, Outcome.SKIPPED, settled_by="journal", recorded=row.outcome
    )


async def _look(
    channel: Channel,
    references: Sequence[str],
    deadline: Deadline,
    outlast: Callable[[MaintenanceError], Awaitable[bool]],
) -> dict[str, ReprocessResult]:
    while True:
        try:
            found = await find(channel, references, deadline)
        except TusFacturasError as error:
            if isinstance(error, MaintenanceError) and await outlast(error):
                continue
            # Sending unchecked is not what was asked for.
            return {r: ReprocessResult(r, Outcome.NOT_SENT, error=error) for r in references}
        verdicts = {reference: _verdict(reference, found.of(reference)) for reference in references}
        return {reference: verdict for reference, verdict in verdicts.items() if verdict is not None}


def _verdict(reference: str, found: Sequence[Voucher] | None) -> ReprocessResult | None:
    """What the check says of one reference; ``None``: it is errored, so send it."""
    if found is None:
        stranger = UnexpectedResponseError(STRANGERS, external_reference=reference)
        return ReprocessResult(reference, Outcome.NOT_SENT, error=stranger)
    if not found:
        absent = VoucherNotFoundError(
            "the lookup finds no voucher with this reference", external_reference=reference
        )
        return ReprocessResult(reference, Outcome.NOT_FOUND, settled_by="lookup", error=absent)
    if any(voucher.errored for voucher in found):
        return None
    strange = [voucher for voucher in found if not voucher.accepted]
    if strange:  # what nobody documented may need a re-send tomorrow
        unknown = NotSentError(
            f"not sent: it is not known to be errored, as the lookup shows the status {strange[0].status!r}, "
            "which nobody documented",
            external_reference=reference,
        )
        return ReprocessResult(reference, Outcome.NOT_SENT, error=unknown, voucher=strange[0])
    return ReprocessResult(reference, Outcome.SKIPPED, settled_by="lookup", voucher=found[0])
