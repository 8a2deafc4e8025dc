"""What becomes of an exception in a batch: who may catch it, and what it carries to the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._cancellation import is_cancellation
from ..errors import OutcomeUnknownError
from ..results import BatchReport, Outcome, ReprocessResult

if TYPE_CHECKING:
    from ..models import ReprocessRequest


def must_pass(error: BaseException) -> bool:
    """Whether it is the word to end, and not a failure: this task is cancelled, or the user wants out.

    A ``CancelledError`` may also come from an input or a journal of the user's own, out of something that was
    cancelled in there: then nobody has asked this task to end.
    """
    return is_cancellation(error) or isinstance(error, KeyboardInterrupt)


def broken_off(request: ReprocessRequest, error: BaseException) -> ReprocessResult:
    """The result of a reference whose sending raised what nothing of ours raises."""
    reference = request.external_reference
    unknown = OutcomeUnknownError(
        f"the re-send of {reference!r} was broken off by {type(error).__name__}, and may have arrived: "
        "look it up before sending it again",
        external_reference=reference,
    )
    unknown.__cause__ = error
    return ReprocessResult(reference, Outcome.UNKNOWN, error=unknown)


def attach(error: BaseException, report: BatchReport) -> None:
    """Let the error carry the report as ``report``; a class that refuses attributes gets it in words."""
    try:
        error.report = report  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - whatever a user's own class raises
        counts = ", ".join(f"{count} {outcome}" for outcome, count in report.counts.items())
        notes = [*getattr(error, "__notes__", ()), f"the batch until then: {counts or 'nothing'}"]
        BaseException.__setattr__(error, "__notes__", notes)  # add_note would be refused alike
