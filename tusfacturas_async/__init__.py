"""Re-send the errored vouchers of a TusFacturasAPP queue, and know what became of each."""

from typing import TYPE_CHECKING

from ._data import Data, jsonable
from ._rooms import Dir, GetAttr, rooms
from .errors import (
    AuthenticationError,
    ErrorDetail,
    InvalidReferenceError,
    InvalidWebhookTokenError,
    JournalError,
    JournalInUseError,
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
    from .journal import Journal, JournalReader, JournalRow
    from .models import (
        Credentials,
        DeletionResponse,
        Identity,
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
    "Identity",
    "Inbox",
    "InboxReader",
    "InvalidReferenceError",
    "InvalidWebhookTokenError",
    "Journal",
    "JournalError",
    "JournalInUseError",
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

__version__ = "0.1.0"
"""Of this package; the build takes it from here."""


# Who parses webhooks needs no client. ``errors`` needs little, and ``triage`` shares its name with its
# function: these are there at once.
__getattr__: GetAttr
__dir__: Dir
__getattr__, __dir__ = rooms(
    __name__,
    {
        "_call.retry": ("RetryPolicy",),
        "_http.direct": ("DirectTransport",),
        "_http.slots": ("SlotsTransport",),
        "batch": ("Batch",),
        "client": ("AsyncClient",),
        "errors": (),
        "instrumentation": (),
        "journal": ("Journal", "JournalReader", "JournalRow"),
        "models": (
            "Credentials",
            "DeletionResponse",
            "Identity",
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
            "InboxReader",
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
