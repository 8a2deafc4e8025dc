"""What one request proves: its evidence, and the attempt that holds it. It needs nothing but ``_data``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import frozen

from ._data import Data


class Evidence(StrEnum):
    """What one attempt proves about the request."""

    NOT_SENT = "not_sent"
    """Provably no request byte left (DNS, connect, TLS), or HTTP 429, refused unprocessed at the edge."""
    MAYBE_SENT = "maybe_sent"
    """Bytes left and no usable answer came: timeout, disconnect, garbage, HTML, 5xx."""
    ANSWERED = "answered"
    """A well-formed envelope, or 400, 401, 403, 404, 405."""


@frozen
class Attempt(Data):
    """One billed request that was tried.

    Attributes:
        number: 1 for the first.
        started_at: When it got its slot (aware, UTC).
        elapsed: Seconds from then to its end.
        evidence: What it proves.
        status_code: The HTTP status, or ``None`` when none came.
        error: Why there was no acceptance, in words, or ``None``.
    """

    number: int
    started_at: datetime
    elapsed: float
    evidence: Evidence
    status_code: int | None = None
    error: str | None = None
