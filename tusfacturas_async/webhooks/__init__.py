"""Webhooks: what the service tells by itself. Verified, parsed, kept once, in order."""

from .events import (
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
from .inbox import Inbox
from .receiver import WebhookReceiver
from .stored import InboxReader
from .tokens import SignedWebhook, receive_webhook, sign_webhook, verify_webhook

__all__ = [
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
