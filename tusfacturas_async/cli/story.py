"""What a run came to: its results, and the numbers in which every reference of the input is counted once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from ..results import BatchReport, Outcome, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import Sequence


_KINDS: Final = {
    Outcome.NOT_FOUND: "n not found",
    Outcome.REJECTED: "n rejected",
    Outcome.NOT_SENT: "n not sent",
    Outcome.HELD: "n not sent",
    Outcome.UNKNOWN: "n unclear",
}
_ALWAYS: Final = ("n done", "n not sent", "n unclear", "n not found", "n in flight")


@define
class Story:
    """What a run came to.

    Attributes:
        given: References in the input, repeats included.
        copies: How often the input has a reference that the batch is given once; 1 where it is not named.
        results: One for each that ended, repeats included.
        counts: How many of them ended how.
        taken: How many the batch has told.
        billed_calls: As the batch counted them: once for a call that repeats share.
        in_flight: References that were being sent when it ended; 0 when they were let finish.
        signal: Which signal ended it, or ``None``.
        stopped_by: What concerns every voucher, and ended it.
        not_written: Why an output is not whole, in words.
        lost: Why standard output took no more, in words, or ``None``.
    """

    given: int
    copies: Mapping[str, int] = field(factory=dict)
    results: list[ReprocessResult] = field(factory=list, init=False)
    counts: Counter[Outcome] = field(factory=Counter, init=False)
    taken: int = field(default=0, init=False)
    billed_calls: int = 0
    in_flight: int = 0
    signal: int | None = None
    stopped_by: BaseException | None = None
    not_written: list[str] = field(factory=list)
    lost: str | None = None

    def take(self, result: ReprocessResult) -> Sequence[ReprocessResult]:
        """Note a result of the batch; returns it, and what each repeat in the input is told."""
        repeats = self.copies.get(result.external_reference, 1) - 1
        told = [result, *[evolve(result, shared=True, attempts=())] * repeats]
        self.results += told
        self.counts[result.outcome] += len(told)
        self.taken += 1
        return told

    @property
    def report(self) -> BatchReport:
        """The results up to now."""
        return BatchReport(tuple(self.results))

    def reckoning(self) -> Mapping[str, int]:
        """How many of the input are done, not sent, unclear and so on; they add up to ``given``."""
        counted: Counter[str] = Counter(dict.fromkeys(_ALWAYS, 0))
        counted.update("n done" if well(result) else _kind(result) for result in self.results)
        counted["n in flight"] = self.in_flight
        counted["n not sent"] += self.given - counted.total()
        return counted


def well(result: ReprocessResult) -> bool:
    """Whether there is nothing left to do: accepted now or before, or not errored at the check."""
    return ended_well(result.outcome, result.recorded)


def ended_well(outcome: str, recorded: str | None) -> bool:
    """As ``well``, of an outcome and what the journal had on record (``None`` or empty: nothing)."""
    if outcome == Outcome.SKIPPED:
        return not recorded or recorded in {Outcome.ACCEPTED, Outcome.SKIPPED}
    return outcome == Outcome.ACCEPTED


def _kind(result: ReprocessResult) -> str:
    told = result.outcome if result.recorded is None else result.recorded
    return _KINDS.get(told, "n not sent")
