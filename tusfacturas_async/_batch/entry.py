"""One reference on its way through a batch, and all who share its outcome. It sends nothing."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from datetime import datetime
from typing import Final

from attrs import define, evolve, field

from ..errors import OutcomeUnknownError
from ..models import ReprocessRequest, Voucher
from ..results import Outcome, ReprocessResult

_OF_ONE_ALONE: Final = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
"""What one call can tell of one voucher only. The other outcomes hold for all that have the reference."""


@define(eq=False)
class Entry:
    """One reference on its way.

    Attributes:
        request: What is sent.
        lane: The key of its lane; ``None`` for no order.
        copies: Results that the consumer has yet to take for it.
        doubtful: A request of an earlier process may have arrived.
        in_room: It holds a place among the results that may wait for the consumer.
        in_flight: Its sending was begun, and its result is not handed out.
        began_at: When that was (aware, UTC).
        verdict: Its result where it need not be sent.
        result: Its result, once it is handed out.
    """

    request: ReprocessRequest
    lane: Hashable = None
    copies: int = 1
    doubtful: bool = False
    in_room: bool = False
    in_flight: bool = False
    began_at: datetime | None = None
    verdict: ReprocessResult | None = None
    result: ReprocessResult | None = None
    _vouchers: list[Voucher] = field(factory=list)
    _sharing: list[bool] = field(factory=list)
    _contestants: int | None = None

    @classmethod
    def of(cls, request: ReprocessRequest, given: object) -> Entry:
        """The first of its reference."""
        entry = cls(request)
        if isinstance(given, Voucher):
            entry._vouchers.append(given)
        return entry

    def share(self, given: object) -> bool:
        """Another one with this reference: it shares the outcome. Returns whether it is another voucher."""
        self.copies += 1
        another = False
        if isinstance(given, Voucher):
            if given not in self._vouchers:
                self._vouchers.append(given)
            another = given != self._vouchers[0]
        if self.result is None:
            self._sharing.append(another)
        return another

    @property
    def decided(self) -> bool:
        """Whether the outcome stands: a voucher that comes now changes nothing of it."""
        return self._contestants is not None

    @property
    def contested(self) -> bool:
        """Whether the outcome was decided among several vouchers."""
        return self._contestants is not None and self._contestants > 1

    def decide(self, result: ReprocessResult) -> ReprocessResult:
        """The outcome, just before it is recorded: of several vouchers nobody knows which one was meant."""
        if self._contestants is None:
            self._contestants = len(self._vouchers)
        return _contest(result, len(self._vouchers)) if self.contested else result

    def end(self, result: ReprocessResult) -> Iterator[ReprocessResult]:
        """Its result, and those of all who share it up to now."""
        self.result = result if self.decided else self.decide(result)
        yield self.result
        for another in self._sharing:
            yield self.shared(another=another)
        self._sharing.clear()

    def shared(self, *, another: bool) -> ReprocessResult:
        """The result of one who shares: the call, and what it cost, are told by the first."""
        result = self.result
        assert result is not None  # noqa: S101 - it has ended
        if not another:
            return evolve(result, attempts=(), shared=True)
        told = result if self.contested else _contest(result, len(self._vouchers))
        return evolve(told, attempts=(), response=None, shared=True)


def _contest(result: ReprocessResult, vouchers: int) -> ReprocessResult:
    """What is known of each of so many vouchers after one call: that one of them was meant, and not which."""
    if result.outcome not in _OF_ONE_ALONE:
        return result
    reference = result.external_reference
    answered = result.outcome if result.error is None else f"{result.outcome}: {result.error}"
    unknown = OutcomeUnknownError(
        f"{vouchers} vouchers share the reference {reference!r}: the service takes the first it finds, and "
        f"the one call came out as {answered}. Look them up before sending again",
        external_reference=reference,
        attempts=result.attempts,
    )
    unknown.__cause__ = result.error
    return evolve(result, outcome=Outcome.UNKNOWN, settled_by=None, error=unknown)
