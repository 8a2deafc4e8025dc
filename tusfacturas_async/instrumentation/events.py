"""What observers are told: frozen records of plain data. No credential is in any of them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

from attrs import frozen

from .._data import Data
from ..evidence import Attempt, Evidence

WaitReason = Literal["backoff", "retry_after", "maintenance"]
CoolDownReason = Literal["rate_limit", "maintenance"]

_EVENTOS: Final = frozenset({"encolado", "emitido", "error", "eliminado", "cambio_fecha", "test"})


@frozen(kw_only=True)
class Told(Data):
    """What every event of a client has.

    Attributes:
        fingerprint: 16 hexadecimal digits that tell one set of credentials from others.
        operation: ``"reprocess"``, ``"delete"``, ``"change_date"`` or ``"lookup"``.
        external_reference: The voucher's reference; ``None`` where a lookup is about several, or about none.
    """

    fingerprint: str
    operation: str
    external_reference: str | None = None


@frozen(kw_only=True)
class RequestStarted(Told):
    """A request has its slot and is about to leave; one ``on_attempt`` or ``on_lookup`` follows, always."""


@frozen(kw_only=True)
class RequestEnded(Told):
    """A request came to its end, with an answer, without one, or cancelled.

    Attributes:
        started_at: When it got its slot (aware, UTC).
        elapsed: Seconds from then to its end.
        evidence: What it proves about the request.
        status_code: The HTTP status, or ``None`` when none came.
        error: Why there was no plain success, in words, or ``None``.
        waited_for_slot: Seconds that it waited, first in line, for one of ``max_concurrency`` slots.
        waited_for_spacing: Seconds that it stood in line, for ``min_interval`` and cool-downs, before that.
        url: Where it went, without its query.
    """

    started_at: datetime
    elapsed: float
    evidence: Evidence
    status_code: int | None = None
    error: str | None = None
    waited_for_slot: float = 0.0
    waited_for_spacing: float = 0.0
    url: str = ""


@frozen(kw_only=True)
class AttemptEnded(RequestEnded):
    """A billed request came to its end.

    Attributes:
        number: 1 for the first of its call.
    """

    number: int


@frozen(kw_only=True)
class LookupEnded(RequestEnded):
    """A free lookup's request came to its end; also one that settles a lost answer."""


@frozen(kw_only=True)
class WaitStarted(Told):
    """A call waits before it tries again.

    Attributes:
        number: How many billed requests of this call have come to their end.
        seconds: How long it will wait.
        reason: ``"backoff"``, ``"retry_after"`` (the service asked for it) or ``"maintenance"``.
        error: What it tries again for, in words, or ``None``.
    """

    number: int
    seconds: float
    reason: WaitReason
    error: str | None = None


@frozen(kw_only=True)
class CallEnded(Told):
    """A reference came to its end: once for each caller, also where nothing was sent for it.

    A call that is cancelled has no end that could be told; its attempt was, as ``MAYBE_SENT``.

    Attributes:
        outcome: What became of it, as ``Outcome`` has it.
        settled_by: Who told the outcome, or ``None`` when nobody did.
        billed_calls: Requests that may have been billed.
        attempts: Each billed request, in order.
        started_at: When the call began (aware, UTC).
        elapsed: Seconds from then to its end.
        error: The message of its error, or ``None``.
        error_type: The name of that error's class, or ``None``.
        url: Where its requests went, without their query.
    """

    outcome: str
    settled_by: str | None = None
    billed_calls: int = 0
    attempts: tuple[Attempt, ...] = ()
    started_at: datetime
    elapsed: float = 0.0
    error: str | None = None
    error_type: str | None = None
    url: str = ""


@frozen(kw_only=True)
class CoolDownStarted(Data):
    """Nothing of these credentials is sent for a while.

    Attributes:
        fingerprint: Whose.
        seconds: How long, as far as is known.
        reason: ``"rate_limit"`` (HTTP 429) or ``"maintenance"``.
        error: What the service said, in words, or ``None``.
    """

    fingerprint: str
    seconds: float
    reason: CoolDownReason
    error: str | None = None


@frozen(kw_only=True)
class WebhookReceived(Data):
    """An inbox has stored an event, or found that it has it already.

    Attributes:
        evento: The wire's name of it.
        recurso: What it is about.
        external_reference: The voucher's reference, or ``None``.
        hook_id: The wire's identifier, or ``None``.
        intento: The wire's counter, or ``None``.
        created_at: When it happened, by the service's clock (aware, UTC-3), or ``None``.
        duplicate: Whether it was stored before.
    """

    evento: str
    recurso: str
    external_reference: str | None = None
    hook_id: str | None = None
    intento: int | None = None
    created_at: datetime | None = None
    duplicate: bool = False


def known_evento(event: WebhookReceived) -> str:
    """Its name for a metric: what comes from outside must not make series without end."""
    evento = event.evento.lower()
    return evento if evento in _EVENTOS else "other"
