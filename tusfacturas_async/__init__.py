"""Re-send the errored vouchers of a TusFacturasAPP queue, and know what became of each."""

from importlib import import_module
from typing import TYPE_CHECKING

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
    PartialDeletionError,
    RateLimitError,
    RejectedError,
    ServiceError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
    WebhookError,
)
from .models import (
    Credentials,
    DeletionResponse,
    ErrorDetail,
    ReprocessRequest,
    ReprocessResponse,
    Voucher,
    VoucherStatus,
)
from .results import (
    Attempt,
    BatchReport,
    CallResult,
    DateChangeResult,
    DeletionResult,
    Evidence,
    Outcome,
    Progress,
    ReprocessResult,
)
from .triage import Advice, Remedy, triage

if TYPE_CHECKING:
    from .journal import Journal, JournalRow
    from .webhooks import (
        CambioFechaWebhook,
        EliminadoWebhook,
        EmitidoWebhook,
        EncoladoWebhook,
        ErrorWebhook,
        Inbox,
        SignedWebhook,
        TestWebhook,
        UnknownWebhook,
        WebhookEvent,
        WebhookReceiver,
        parse_webhook,
        receive_webhook,
        sign_webhook,
        verify_webhook,
    )

_ROOMS = frozenset({"journal", "webhooks"})
_JOURNAL = frozenset({"Journal", "JournalRow"})

__all__ = [
    "Advice",
    "AsyncClient",
    "Attempt",
    "AuthenticationError",
    "Batch",
    "BatchReport",
    "CallResult",
    "CambioFechaWebhook",
    "Credentials",
    "DateChangeResult",
    "DeletionResponse",
    "DeletionResult",
    "EliminadoWebhook",
    "EmitidoWebhook",
    "EncoladoWebhook",
    "ErrorDetail",
    "ErrorWebhook",
    "Evidence",
    "Inbox",
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
    "PartialDeletionError",
    "Progress",
    "RateLimitError",
    "RejectedError",
    "Remedy",
    "ReprocessRequest",
    "ReprocessResponse",
    "ReprocessResult",
    "RetryPolicy",
    "ServiceError",
    "SignedWebhook",
    "TestWebhook",
    "TusFacturasError",
    "UnexpectedResponseError",
    "UnknownWebhook",
    "Voucher",
    "VoucherNotFoundError",
    "VoucherStatus",
    "WebhookError",
    "WebhookEvent",
    "WebhookReceiver",
    "parse_webhook",
    "receive_webhook",
    "sign_webhook",
    "triage",
    "verify_webhook",
]


def __getattr__(name: str) -> object:
    """Load the journal and the webhooks when they are first asked for (PEP 562): not everyone uses them."""
    if name in _ROOMS:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(".journal" if name in _JOURNAL else ".webhooks", __name__), name)
    globals()[name] = value
    return value
