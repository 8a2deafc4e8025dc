"""What need not be sent: told by the journal, or by a free lookup ahead of the sending."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._call.lookup import lookup
from ..errors import TusFacturasError, VoucherNotFoundError
from ..results import Outcome, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from .._call.channel import Channel, Deadline
    from ..journal import Journal, JournalRow
    from ..models import Voucher


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
    journal: Journal | None,
    deadline: Deadline,
    *,
    check_first: bool,
) -> Screened:
    """Ask the journal, then the free lookup if told to. A verdict of the lookup is journaled.

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
        looked_up = await _look(channel, unknown, deadline)
        if journal is not None:
            for verdict in looked_up.values():
                await journal.record(channel.identity, verdict)
        verdicts |= looked_up
    return Screened(verdicts, doubtful)


def on_record(row: JournalRow) -> ReprocessResult:
    """The result of a reference that a journal's final row lets nobody send again."""
    return ReprocessResult(
        row.external_reference, Outcome.SKIPPED, settled_by="journal", recorded=row.outcome
    )


async def _look(
    channel: Channel, references: Sequence[str], deadline: Deadline
) -> dict[str, ReprocessResult]:
    try:
        found = await lookup(channel, references, deadline)
    except TusFacturasError as error:  # sending unchecked is not what was asked for
        return {
            reference: ReprocessResult(reference, Outcome.NOT_SENT, error=error) for reference in references
        }
    by_reference: dict[str | None, list[Voucher]] = {}
    for voucher in found:
        by_reference.setdefault(voucher.external_reference, []).append(voucher)
    verdicts = ((reference, _verdict(reference, by_reference.get(reference, []))) for reference in references)
    return {reference: verdict for reference, verdict in verdicts if verdict is not None}


def _verdict(reference: str, found: Sequence[Voucher]) -> ReprocessResult | None:
    if any(voucher.errored for voucher in found):
        return None
    if found:
        return ReprocessResult(reference, Outcome.SKIPPED, settled_by="lookup", voucher=found[0])
    absent = VoucherNotFoundError(
        "the lookup finds no voucher with this reference", external_reference=reference
    )
    return ReprocessResult(reference, Outcome.NOT_FOUND, settled_by="lookup", error=absent)
