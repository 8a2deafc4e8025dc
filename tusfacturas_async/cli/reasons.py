"""Why something was not accepted, in the chosen language: the package's errors speak English."""

from __future__ import annotations

from typing import Final

from ..errors import (
    AuthenticationError,
    InvalidReferenceError,
    JournalError,
    MaintenanceError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitError,
    ServiceError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from .texts import language, say, system

_KEYS: Final = {
    AuthenticationError: "error access",
    InvalidReferenceError: "error reference",
    JournalError: "error journal",
    MaintenanceError: "error maintenance",
    VoucherNotFoundError: "error not found",
    RateLimitError: "error rate",
    UnexpectedResponseError: "error unexpected",
    NotSentError: "error not sent",
    OutcomeUnknownError: "error unknown",
    ValueError: "error value",
}


def reason(error: BaseException) -> str:
    """What an error says; in Spanish with the English original behind it, for whoever looks it up.

    The service's own texts are Spanish already, and stay as they are.
    """
    told = str(error)
    if language() == "en" or (isinstance(error, ServiceError) and error.errores):
        return told
    if isinstance(error, OSError):
        why = system(error.errno)
        return told if why in told else f"{why} ({told})"
    key = next((key for kind, key in _KEYS.items() if isinstance(error, kind)), None)
    return told if key is None else say(key, told=told)
