"""Every exception that this package raises about the service. Of ours it needs ``evidence`` alone.

TusFacturasError
├── InvalidReferenceError (also ValueError)
├── ServiceError                      the service said "S"
│   ├── VoucherNotFoundError
│   ├── MaintenanceError
│   ├── PartialDeletionError          procesados
│   └── RejectedError
├── AuthenticationError               401, 403
├── RateLimitError                    429 to the end
├── UnexpectedResponseError           any other status, or an envelope nobody documented
├── NotSentError                      nothing left this machine; safe to call again
├── OutcomeUnknownError               it may have arrived, and the lookup could not tell
├── JournalError                      the journal's file cannot be used
│   └── JournalInUseError             another holds it
└── WebhookError
    ├── InvalidWebhookTokenError
    └── MalformedWebhookError

An error holds plain data and never a credential. It pickles: every argument after the message is a
keyword with a default, so the standard rebuilding (class, message, attributes) is enough.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ._data import Data
from .evidence import Attempt


@frozen
class ErrorDetail(Data):
    """One entry of the envelope's ``error_details``."""

    code: str
    text: str


class TusFacturasError(Exception):
    """The base of every error of this package.

    Attributes:
        external_reference: The reference that the failing call was about, or ``None``.
        attempts: What was tried, in order; empty when nothing was.
        report: Where ``reprocess_all`` was stopped by this error, the ``BatchReport`` up to then; else
            ``None``. A report holds results, and a result its error: so it has no type of its own here.
    """

    external_reference: str | None
    attempts: tuple[Attempt, ...]
    report: Any = None

    def __init__(
        self,
        message: str = "",
        *,
        external_reference: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.external_reference = external_reference
        self.attempts = attempts


class InvalidReferenceError(TusFacturasError, ValueError):
    """A reference that the service cannot take; the message names what is wrong. Nothing was sent."""


class ServiceError(TusFacturasError):
    """The service answered ``"error": "S"``.

    Attributes:
        errores: The service's own texts, stripped; it can be empty (``api-facts``: "S" with no texts).
        details: The service's ``error_details``, often empty.
    """

    errores: tuple[str, ...]
    details: tuple[ErrorDetail, ...]

    def __init__(
        self,
        message: str = "",
        *,
        errores: tuple[str, ...] = (),
        details: tuple[ErrorDetail, ...] = (),
        external_reference: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message, external_reference=external_reference, attempts=attempts)
        self.errores = errores
        self.details = details


class VoucherNotFoundError(ServiceError):
    """No errored voucher has this reference ("No se han encontrado comprobantes.")."""


class MaintenanceError(ServiceError):
    """The service is closed for planned maintenance; the voucher was not processed.

    Attributes:
        until: When the service expects to be back (aware, UTC-3), or ``None`` when it did not say.
    """

    until: datetime | None

    def __init__(
        self,
        message: str = "",
        *,
        until: datetime | None = None,
        errores: tuple[str, ...] = (),
        details: tuple[ErrorDetail, ...] = (),
        external_reference: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(
            message,
            errores=errores,
            details=details,
            external_reference=external_reference,
            attempts=attempts,
        )
        self.until = until


class RejectedError(ServiceError):
    """The service refused this voucher, with its reasons in ``errores``."""


class PartialDeletionError(ServiceError):
    """The service deleted a part of what has this reference, and refused the rest (``errores``).

    Attributes:
        procesados: Texts that say what was deleted.
    """

    procesados: tuple[str, ...] = ()


class _StatusError(TusFacturasError):
    """An answer that is told by its HTTP status.

    Attributes:
        status_code: The HTTP status, or ``None`` when no status line came.
    """

    status_code: int | None

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        external_reference: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message, external_reference=external_reference, attempts=attempts)
        self.status_code = status_code


class AuthenticationError(_StatusError):
    """HTTP 401 or 403: these credentials have no access. It concerns every reference alike."""


class RateLimitError(_StatusError):
    """HTTP 429 to the last attempt: the edge refused every one unprocessed.

    Attributes:
        retry_after: Seconds that the service asked to wait, or ``None`` when it did not say.
    """

    retry_after: float | None

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: float | None = None,
        status_code: int | None = 429,
        external_reference: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(
            message, status_code=status_code, external_reference=external_reference, attempts=attempts
        )
        self.retry_after = retry_after


class UnexpectedResponseError(_StatusError):
    """A status or an envelope that the service does not document."""


class NotSentError(TusFacturasError):
    """Nothing left this machine; it is safe to call again."""


class OutcomeUnknownError(TusFacturasError):
    """The request may have arrived, its answer was lost, and the lookup could not tell.

    Look the reference up before sending it again.
    """


class JournalError(TusFacturasError):
    """The journal's file cannot be opened or written; the message says why. Nothing is sent without it."""


class JournalInUseError(JournalError):
    """Another holds the journal, or the inbox: another process, or another part of this one.

    It is free again when that one closes it or ends; of a fleet's point of sale, when its lease ends.
    """


class WebhookError(TusFacturasError):
    """A webhook delivery that must not be believed or cannot be read."""


class InvalidWebhookTokenError(WebhookError):
    """The delivery carries no token that is configured."""


class MalformedWebhookError(WebhookError):
    """The delivery's body is not a webhook of this service; the message names what is wrong."""
