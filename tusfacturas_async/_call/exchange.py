"""One request: what it is about, and what it proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..results import Attempt

if TYPE_CHECKING:
    from datetime import datetime

    from .._wire import answers


class About(NamedTuple):
    """What a request is about.

    Attributes:
        path: Below the base URL.
        reference: Its voucher, if it is about one.
        number: The how manyth billed request of its call it is.
    """

    path: str
    reference: str | None = None
    number: int = 0


class Exchange(NamedTuple):
    """One HTTP request and what it proved."""

    started_at: datetime
    elapsed: float
    answer: answers.Answer
    status_code: int | None = None

    def as_attempt(self, number: int) -> Attempt:
        """The public record of it."""
        return Attempt(
            number=number,
            started_at=self.started_at,
            elapsed=self.elapsed,
            evidence=self.answer.evidence,
            status_code=self.status_code,
            error=None if self.answer.error is None else str(self.answer.error),
        )
