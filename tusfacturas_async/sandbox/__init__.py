"""A local stand-in for the service, to test backends with. The service has none (``api-facts``)."""

from .app import SANDBOX_CREDENTIALS, WEBHOOK_TOKEN, Sandbox
from .delivery import REDELIVERIES, Delivered, WebhookSender
from .queue import Event, Queue, State, StoredVoucher
from .server import LoopbackServer
from .service import Call
from .switches import Switches

__all__ = [
    "REDELIVERIES",
    "SANDBOX_CREDENTIALS",
    "WEBHOOK_TOKEN",
    "Call",
    "Delivered",
    "Event",
    "LoopbackServer",
    "Queue",
    "Sandbox",
    "State",
    "StoredVoucher",
    "Switches",
    "WebhookSender",
]
