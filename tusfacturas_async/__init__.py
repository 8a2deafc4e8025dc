"""Re-send the errored vouchers of a TusFacturasAPP queue, and know what became of each."""

from importlib import import_module
from typing import TYPE_CHECKING

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
from .triage import Advice, Remedy, triage

if TYPE_CHECKING:
    from ._call.retry import RetryPolicy
    from .batch import Batch
    from .client import AsyncClient
    from .journal import Journal, JournalReader, JournalRow
    from .models import (
        Credentials,
        DeletionResponse,
        ErrorDetail,
        Identity,
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
    from .webhooks import (
        CambioFechaWebhook,
        EliminadoWebhook,
        EmitidoWebhook,
        EncoladoWebhook,
        ErrorWebhook,
        Inbox,
        InboxReader,
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

_ROOMS = {
    "_call.retry": ("RetryPolicy",),
    "batch": ("Batch",),
    "client": ("AsyncClient",),
    "journal": ("Journal", "JournalReader", "JournalRow"),
    "models": (
        "Credentials",
        "DeletionResponse",
        "ErrorDetail",
        "Identity",
        "ReprocessRequest",
        "ReprocessResponse",
        "Voucher",
        "VoucherStatus",
    ),
    "results": (
        "Attempt",
        "BatchReport",
        "CallResult",
        "DateChangeResult",
        "DeletionResult",
        "Evidence",
        "Outcome",
        "Progress",
        "ReprocessResult",
    ),
}
"""Where the names are that load when they are first asked for; all others are of the webhooks."""

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
    "Identity",
    "Inbox",
    "InboxReader",
    "InvalidReferenceError",
    "InvalidWebhookTokenError",
    "Journal",
    "JournalError",
    "JournalReader",
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
    """Load a room when something of it is first asked for (PEP 562): who parses webhooks needs no client.

    ``errors`` needs nothing, and ``triage`` shares its name with its function: these are there at once.
    """
    if name in {*_ROOMS, "webhooks"}:
        return import_module(f".{name}", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = next((room for room, names in _ROOMS.items() if name in names), "webhooks")
    value: object = getattr(import_module(f".{room}", __name__), name)
    globals()[name] = value
    return value
