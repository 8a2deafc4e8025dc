"""What happened: the outcome of one reference, the report of a batch.

Nothing here travels on the wire (that is ``models``), and nothing here decides (that is ``_call``).
What one attempt proves is ``evidence``; it is named here, too, as a part of what happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from attrs import field, frozen

from ._data import Data
from .errors import TusFacturasError
from .evidence import Attempt, Evidence
from .models import ReprocessResponse, Voucher

__all__ = [
    "Attempt",
    "BatchReport",
    "CallResult",
    "DateChangeResult",
    "DeletionResult",
    "Evidence",
    "Outcome",
    "Progress",
    "ReprocessResult",
    "SettledBy",
]

SettledBy = Literal["response", "lookup", "journal", "webhook"]
"""Who told the outcome."""


class Outcome(StrEnum):
    """What became of one reference; exactly one, and a true one."""

    ACCEPTED = "accepted"
    """The voucher is in the queue again, or further."""
    NOT_FOUND = "not_found"
    """No errored voucher has this reference; confirmed by lookup where an attempt may have arrived."""
    REJECTED = "rejected"
    """The service refused this voucher, or the reference can't be sent: change it before another try."""
    NOT_SENT = "not_sent"
    """It was not re-sent (unreachable, rate-limited, no access, maintenance): safe to run again."""
    UNKNOWN = "unknown"
    """It may have arrived, and nobody could tell: look it up before another try."""
    SKIPPED = "skipped"
    """Nothing to do: already settled in the journal, or not errored at the check."""
    HELD = "held"
    """Not sent, because its lane or its batch stopped before it."""


@frozen
class CallResult(Data):
    """The whole story of one request about one voucher.

    Attributes:
        external_reference: As given.
        outcome: What became of it.
        response: The envelope that answered it, or ``None``.
        settled_by: Who told the outcome; ``None`` when nobody did.
        attempts: Each billed request that was tried, in order (free lookups are not among them).
        error: What ``raise_for_outcome`` raises; ``None`` when there is nothing to raise.
        voucher: The voucher as a lookup showed it, or ``None`` when no lookup was made.
        recorded: Where the journal settled it: the outcome that it has on record.
        shared: The call is told by another result, for the same reference: so this one has no attempts.
    """

    external_reference: str
    outcome: Outcome
    response: ReprocessResponse | None = None
    settled_by: SettledBy | None = None
    attempts: tuple[Attempt, ...] = ()
    error: TusFacturasError | None = field(default=None, eq=False)
    voucher: Voucher | None = None
    recorded: Outcome | None = None
    shared: bool = False

    @property
    def billed_calls(self) -> int:
        """Attempts that may have been billed: all but those that provably never arrived."""
        return sum(attempt.evidence is not Evidence.NOT_SENT for attempt in self.attempts)

    @property
    def error_type(self) -> str | None:
        """The name of the class of ``error``, or ``None``: what is left of it as data is its message."""
        return None if self.error is None else type(self.error).__name__

    def raise_for_outcome(self) -> None:
        """Raise ``error`` if there is one.

        Raises:
            TusFacturasError: The class tells the outcome; see ``errors``.
        """
        if self.error is not None:
            raise self.error


# These add nothing, so attrs need not generate their methods again: that is a third of this module's import.


class ReprocessResult(CallResult):
    """What became of a re-send (``reprocess``)."""

    __slots__ = ()


class DeletionResult(CallResult):
    """What became of a deletion (``delete``); ``response`` is a ``DeletionResponse``."""

    __slots__ = ()


class DateChangeResult(CallResult):
    """What became of a change of date (``change_date``)."""

    __slots__ = ()


@frozen
class BatchReport(Data):
    """What became of a batch: its results in the order in which they ended."""

    results: tuple[ReprocessResult, ...]

    @property
    def counts(self) -> Mapping[Outcome, int]:
        """How many references ended as each outcome; outcomes that did not occur are absent."""
        return Counter(result.outcome for result in self.results)

    @property
    def billed_calls(self) -> int:
        """Requests that may have been billed, over all references."""
        return sum(result.billed_calls for result in self.results)

    @property
    def saved_calls(self) -> int:
        """Billed calls that the free check ahead of the sending made unnecessary (``check_first``).

        A repeat that shares what the check told would not have been billed anyway.
        """
        return sum(
            result.settled_by == "lookup"
            and not result.attempts
            and not result.shared
            and result.outcome is not Outcome.ACCEPTED
            for result in self.results
        )


@frozen
class Progress(Data):
    """How far a batch is. What is neither ``done`` nor ``in_flight`` was not begun.

    Attributes:
        done: References that ended, by outcome; each repeat counts.
        in_flight: References whose sending was begun and whose outcome is not known yet, each once. After a
            batch that was left, those that a second cancellation gave up.
        billed_calls: Requests that may have been billed, of the references that ended; a repeat adds none.
        total: References in all, where the input tells its length; else ``None``.
    """

    done: Mapping[Outcome, int]
    in_flight: int
    billed_calls: int
    total: int | None
