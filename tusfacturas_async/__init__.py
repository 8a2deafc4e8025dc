"""Re-send the errored vouchers of a TusFacturasAPP queue, and know what became of each."""

from typing import TYPE_CHECKING

from ._data import Data, jsonable
from ._rooms import rooms
from .errors import (
    AuthenticationError,
    ErrorDetail,
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
from .evidence import Attempt, Evidence
from .triage import Advice, Remedy, triage

if TYPE_CHECKING:
    from ._call.retry import RetryPolicy
    from ._http.direct import DirectTransport
    from ._http.slots import SlotsTransport
    from .batch import Batch
    from .client import AsyncClient
    from .journal import Journal, JournalRow
    from .models import (
        Credentials,
        DeletionResponse,
        ReprocessRequest,
        ReprocessResponse,
        Voucher,
        VoucherStatus,
    )
    from .results import (
        BatchReport,
        CallResult,
        DateChangeResult,
        DeletionResult,
        Outcome,
        Progress,
        ReprocessResult,
    )
    from .webhooks import (
        AnyWebhookEvent,
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

__all__ = [
    "Advice",
    "AnyWebhookEvent",
    "AsyncClient",
    "Attempt",
    "AuthenticationError",
    "Batch",
    "BatchReport",
    "CallResult",
    "CambioFechaWebhook",
    "Credentials",
    "Data",
    "DateChangeResult",
    "DeletionResponse",
    "DeletionResult",
    "DirectTransport",
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
    "SlotsTransport",
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
    "jsonable",
    "parse_webhook",
    "receive_webhook",
    "sign_webhook",
    "triage",
    "verify_webhook",
]


# Who parses webhooks needs no client. ``errors`` needs little, and ``triage`` shares its name with its
# function: these are there at once.
__getattr__, __dir__ = rooms(
    __name__,
    {
        "_call.retry": ("RetryPolicy",),
        "_http.direct": ("DirectTransport",),
        "_http.slots": ("SlotsTransport",),
        "batch": ("Batch",),
        "client": ("AsyncClient",),
        "instrumentation": (),
        "journal": ("Journal", "JournalRow"),
        "models": (
            "Credentials",
            "DeletionResponse",
            "ReprocessRequest",
            "ReprocessResponse",
            "Voucher",
            "VoucherStatus",
        ),
        "results": (
            "BatchReport",
            "CallResult",
            "DateChangeResult",
            "DeletionResult",
            "Outcome",
            "Progress",
            "ReprocessResult",
        ),
        "sandbox": (),
        "webhooks": (
            "AnyWebhookEvent",
            "CambioFechaWebhook",
            "EliminadoWebhook",
            "EmitidoWebhook",
            "EncoladoWebhook",
            "ErrorWebhook",
            "Inbox",
            "SignedWebhook",
            "TestWebhook",
            "UnknownWebhook",
            "WebhookEvent",
            "WebhookReceiver",
            "parse_webhook",
            "receive_webhook",
            "sign_webhook",
            "verify_webhook",
        ),
    },
)
