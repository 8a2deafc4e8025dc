"""``PrometheusObserver``: what happens, as metrics of ``prometheus_client``.

It is loaded when one is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._rooms import Later
from .events import (
    AttemptEnded,
    CallEnded,
    CoolDownStarted,
    LookupEnded,
    RequestEnded,
    RequestStarted,
    WaitStarted,
    WebhookReceived,
    known_evento,
)

if TYPE_CHECKING:
    import prometheus_client
else:
    prometheus_client = Later("prometheus_client")

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)


class PrometheusObserver:
    """Counts for Prometheus. Make one, and give it to every client and inbox of the process.

    No label holds a reference or a fingerprint: the number of series is bounded.

    ``tusfacturas_attempts_total`` (operation, evidence, status), ``tusfacturas_lookups_total`` (evidence,
    status), ``tusfacturas_request_duration_seconds`` (operation), ``tusfacturas_wait_seconds`` (reason: slot,
    spacing, backoff, retry_after, maintenance), ``tusfacturas_outcomes_total`` (operation, outcome,
    settled_by), ``tusfacturas_billed_calls_total`` (operation), ``tusfacturas_in_flight`` (operation),
    ``tusfacturas_cool_downs_total`` (reason), ``tusfacturas_webhooks_total`` (evento, duplicate).

    Args:
        registry: Where the metrics are registered; ``None`` for the library's own.

    Raises:
        ImportError: ``prometheus_client`` is not installed.
        ValueError: The registry has these metrics already.
    """

    def __init__(self, registry: prometheus_client.CollectorRegistry | None = None) -> None:
        counter, histogram = prometheus_client.Counter, prometheus_client.Histogram
        to = prometheus_client.REGISTRY if registry is None else registry
        self._attempts = counter(
            "tusfacturas_attempts", "Billed requests.", ["operation", "evidence", "status"], registry=to
        )
        self._lookups = counter(
            "tusfacturas_lookups", "Requests of free lookups.", ["evidence", "status"], registry=to
        )
        self._duration = histogram(
            "tusfacturas_request_duration_seconds",
            "From the slot to the answer's end.",
            ["operation"],
            buckets=_SECONDS,
            registry=to,
        )
        self._waits = histogram(
            "tusfacturas_wait_seconds", "What was waited for.", ["reason"], buckets=_SECONDS, registry=to
        )
        self._outcomes = counter(
            "tusfacturas_outcomes",
            "References that came to their end.",
            ["operation", "outcome", "settled_by"],
            registry=to,
        )
        self._billed = counter(
            "tusfacturas_billed_calls", "Requests that may have been billed.", ["operation"], registry=to
        )
        self._in_flight = prometheus_client.Gauge(
            "tusfacturas_in_flight", "Requests in flight.", ["operation"], registry=to
        )
        self._cool_downs = counter(
            "tusfacturas_cool_downs", "Times that nothing was sent for a while.", ["reason"], registry=to
        )
        self._webhooks = counter(
            "tusfacturas_webhooks", "Events that an inbox received.", ["evento", "duplicate"], registry=to
        )

    def on_start(self, event: RequestStarted) -> None:
        """One more in flight."""
        self._in_flight.labels(event.operation).inc()

    def on_attempt(self, event: AttemptEnded) -> None:
        """A billed request came to its end."""
        self._attempts.labels(event.operation, event.evidence.value, _status(event)).inc()
        self._ended(event)

    def on_lookup(self, event: LookupEnded) -> None:
        """A lookup's request came to its end."""
        self._lookups.labels(event.evidence.value, _status(event)).inc()
        self._ended(event)

    def _ended(self, event: RequestEnded) -> None:
        self._in_flight.labels(event.operation).dec()
        self._duration.labels(event.operation).observe(event.elapsed)
        self._waits.labels("slot").observe(event.waited_for_slot)
        self._waits.labels("spacing").observe(event.waited_for_spacing)

    def on_wait(self, event: WaitStarted) -> None:
        """A call waits to try again."""
        self._waits.labels(event.reason).observe(event.seconds)

    def on_result(self, event: CallEnded) -> None:
        """A reference came to its end."""
        self._outcomes.labels(event.operation, event.outcome, event.settled_by or "").inc()
        self._billed.labels(event.operation).inc(event.billed_calls)

    def on_cool_down(self, event: CoolDownStarted) -> None:
        """Nothing is sent for a while."""
        self._cool_downs.labels(event.reason).inc()

    def on_webhook(self, event: WebhookReceived) -> None:
        """An inbox has received an event."""
        self._webhooks.labels(known_evento(event), str(event.duplicate).lower()).inc()


def _status(event: RequestEnded) -> str:
    return "" if event.status_code is None else str(event.status_code)
