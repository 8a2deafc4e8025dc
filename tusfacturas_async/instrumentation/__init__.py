"""Observers: who is told of attempts, waits, lookups and results, and three to use as they are.

Each of the three loads its library when one is made; nothing of them is loaded before its name is asked for.
"""

from typing import TYPE_CHECKING

from .._rooms import Dir, GetAttr, rooms
from .events import (
    AttemptEnded,
    CallEnded,
    CoolDownStarted,
    LookupEnded,
    RequestEnded,
    RequestStarted,
    Told,
    WaitStarted,
    WebhookReceived,
)
from .logs import LoggingObserver
from .observers import Observer

if TYPE_CHECKING:
    from .otel import OpenTelemetryObserver
    from .prometheus import PrometheusObserver

__all__ = [
    "AttemptEnded",
    "CallEnded",
    "CoolDownStarted",
    "LoggingObserver",
    "LookupEnded",
    "Observer",
    "OpenTelemetryObserver",
    "PrometheusObserver",
    "RequestEnded",
    "RequestStarted",
    "Told",
    "WaitStarted",
    "WebhookReceived",
]

__getattr__: GetAttr
__dir__: Dir
__getattr__, __dir__ = rooms(
    __name__, {"otel": ("OpenTelemetryObserver",), "prometheus": ("PrometheusObserver",)}
)
