"""``LoggingObserver``: what happens, as records of the standard library's logging."""

from __future__ import annotations

import logging

from .._data import Data
from .events import CallEnded, CoolDownStarted, WaitStarted


class LoggingObserver:
    """The default observer: a record for each reference's end, and for what delays one.

    INFO for each end and each wait before a retry; WARNING for what ended ``UNKNOWN``, for cool-downs and for
    maintenance. Each record carries the event's fields as ``extra``, ready for JSON, so that structlog's
    ``ExtraAdder`` and JSON formatters keep them.

    Args:
        logger: Where to; ``None`` for the logger ``"tusfacturas_async"``.
    """

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logging.getLogger("tusfacturas_async") if logger is None else logger

    @property
    def unread(self) -> bool:
        """Whether nobody reads INFO: then no event need be made of what went well."""
        return not self._logger.isEnabledFor(logging.INFO)

    def on_result(self, event: CallEnded) -> None:
        """INFO, or WARNING where it ended ``UNKNOWN``."""
        level = logging.WARNING if event.outcome == "unknown" else logging.INFO
        why = "" if event.error is None else f": {event.error}"
        self._log(
            level,
            event,
            "%s of %s: %s after %d billed calls, %.3f s%s",
            *(event.operation, event.external_reference, event.outcome, event.billed_calls),
            *(event.elapsed, why),
        )

    def on_wait(self, event: WaitStarted) -> None:
        """INFO."""
        told = (event.operation, event.external_reference, event.seconds, event.reason, event.error)
        self._log(logging.INFO, event, "%s of %s: tries again in %.3f s (%s): %s", *told)

    def on_cool_down(self, event: CoolDownStarted) -> None:
        """WARNING."""
        told = (event.fingerprint, event.seconds, event.reason, event.error)
        self._log(logging.WARNING, event, "credentials %s: nothing is sent for %.1f s (%s): %s", *told)

    def _log(self, level: int, event: Data, message: str, *told: object) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, *told, extra=event.to_dict())
