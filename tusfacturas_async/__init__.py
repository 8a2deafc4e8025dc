"""Re-send the errored vouchers of a TusFacturasAPP queue, and know what became of each."""

from ._retry import RetryPolicy
from .batch import Batch
from .client import AsyncClient
from .errors import (
    AuthenticationError,
    InvalidReferenceError,
    InvalidWebhookTokenError,
    JournalError,
    MaintenanceError,
    MalformedWebhookError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitError,
    RejectedError,
    ServiceError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
    WebhookError,
)
from .journal import Journal, JournalRow
from .models import (
    Credentials,
    ErrorDetail,
    ReprocessRequest,
    ReprocessResponse,
    Voucher,
    VoucherStatus,
)
from .results import Attempt, BatchReport, Evidence, Outcome, Progress, ReprocessResult
from .webhooks import EncoladoWebhook, parse_webhook

__all__ = [
    "AsyncClient",
    "Attempt",
    "AuthenticationError",
    "Batch",
    "BatchReport",
    "Credentials",
    "EncoladoWebhook",
    "ErrorDetail",
    "Evidence",
    "InvalidReferenceError",
    "InvalidWebhookTokenError",
    "Journal",
    "JournalError",
    "JournalRow",
    "MaintenanceError",
    "MalformedWebhookError",
    "NotSentError",
    "Outcome",
    "OutcomeUnknownError",
    "Progress",
    "RateLimitError",
    "RejectedError",
    "ReprocessRequest",
    "ReprocessResponse",
    "ReprocessResult",
    "RetryPolicy",
    "ServiceError",
    "TusFacturasError",
    "UnexpectedResponseError",
    "Voucher",
    "VoucherNotFoundError",
    "VoucherStatus",
    "WebhookError",
    "parse_webhook",
]
