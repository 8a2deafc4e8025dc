"""Webhooks: what the service tells by itself. Verified, parsed, kept once, in order."""

from typing import TYPE_CHECKING

from .._rooms import Dir, GetAttr, rooms
from .events import (
    AnyWebhookEvent,
    CambioFechaWebhook,
    EliminadoWebhook,
    EmitidoWebhook,
    EncoladoWebhook,
    ErrorWebhook,
    TestWebhook,
    UnknownWebhook,
    WebhookEvent,
    parse_webhook,
)

if TYPE_CHECKING:
    from .inbox import Inbox
    from .receiver import WebhookReceiver
    from .stored import InboxReader
    from .tokens import SignedWebhook, receive_webhook, sign_webhook, verify_webhook

__all__ = [
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
]

# Who verifies and parses loads no database.
__getattr__: GetAttr
__dir__: Dir
__getattr__, __dir__ = rooms(
    __name__,
    {
        "inbox": ("Inbox",),
        "receiver": ("WebhookReceiver",),
        "stored": ("InboxReader",),
        "tokens": ("SignedWebhook", "receive_webhook", "sign_webhook", "verify_webhook"),
    },
)
