"""``OpenTelemetryObserver``: what happens, as spans and metrics of OpenTelemetry's API.

The API is loaded when one is made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import urlsplit

from .._rooms import Later
from ..evidence import Attempt, Evidence
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
    from opentelemetry import context, metrics, trace
else:
    context, metrics, trace = map(
        Later, ("opentelemetry.context", "opentelemetry.metrics", "opentelemetry.trace")
    )

Attributes: TypeAlias = dict[str, str | bool | int | float]

_NAME: Final = "tusfacturas_async"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_AT_FAULT: Final = 400
"""The first HTTP status that is an error to a client (OpenTelemetry's HTTP conventions)."""


class OpenTelemetryObserver:
    """A span for each reference, one for each of its attempts below it, and metrics.

    The spans are made when the reference has come to its end, with the times at which everything happened,
    under the span that was current where the call, or the batch, was made. Attributes are those of
    OpenTelemetry's HTTP conventions (``http.request.method``, ``http.response.status_code``,
    ``http.request.resend_count``, ``server.address``, ``error.type``), and ``tusfacturas.*``.

    Metrics: ``tusfacturas.client.request.duration`` (s), ``tusfacturas.client.active_requests``,
    ``tusfacturas.client.wait.duration`` (s), ``tusfacturas.client.outcomes``,
    ``tusfacturas.client.billed_calls``, ``tusfacturas.client.cool_downs``, ``tusfacturas.webhooks``.

    Args:
        tracer_provider: Whose spans; ``None`` for the global one.
        meter_provider: Whose metrics; ``None`` for the global one.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_NAME, meter_provider=meter_provider)
        self._duration = meter.create_histogram(
            "tusfacturas.client.request.duration", "s", "From the slot to the answer's end."
        )
        self._active = meter.create_up_down_counter(
            "tusfacturas.client.active_requests", "{request}", "Requests in flight."
        )
        self._waits = meter.create_histogram(
            "tusfacturas.client.wait.duration", "s", "Waits for slot, spacing, backoff, maintenance."
        )
        self._outcomes = meter.create_counter(
            "tusfacturas.client.outcomes", "{reference}", "References that came to their end."
        )
        self._billed = meter.create_counter(
            "tusfacturas.client.billed_calls", "{request}", "Requests that may have been billed."
        )
        self._cool_downs = meter.create_counter(
            "tusfacturas.client.cool_downs", "{cool_down}", "Times that nothing was sent for a while."
        )
        self._webhooks = meter.create_counter(
            "tusfacturas.webhooks", "{event}", "Events that an inbox received."
        )

    # -- metrics ----------------------------------------------------------------------------------

    def on_start(self, event: RequestStarted) -> None:
        """One more in flight."""
        self._active.add(1, _of(event.operation))

    def on_attempt(self, event: AttemptEnded) -> None:
        """A billed request came to its end."""
        self._ended(event)

    def on_lookup(self, event: LookupEnded) -> None:
        """A lookup's request came to its end."""
        self._ended(event)

    def _ended(self, event: RequestEnded) -> None:
        self._active.add(-1, _of(event.operation))
        told = _of(event.operation) | _request(event.status_code, event.evidence, event.url)
        self._duration.record(event.elapsed, told)
        self._waits.record(event.waited_for_slot, {"tusfacturas.wait.reason": "slot"})
        self._waits.record(event.waited_for_spacing, {"tusfacturas.wait.reason": "spacing"})

    def on_wait(self, event: WaitStarted) -> None:
        """A call waits to try again."""
        self._waits.record(event.seconds, {"tusfacturas.wait.reason": event.reason})

    def on_cool_down(self, event: CoolDownStarted) -> None:
        """Nothing is sent for a while."""
        self._cool_downs.add(1, {"tusfacturas.cool_down.reason": event.reason})

    def on_webhook(self, event: WebhookReceived) -> None:
        """An inbox has received an event."""
        told: Attributes = {
            "tusfacturas.evento": known_evento(event),
            "tusfacturas.duplicate": event.duplicate,
        }
        self._webhooks.add(1, told)

    # -- spans ------------------------------------------------------------------------------------

    def on_result(self, event: CallEnded) -> None:
        """A reference came to its end."""
        ended = _of(event.operation) | {"tusfacturas.outcome": event.outcome}
        if event.settled_by is not None:
            ended["tusfacturas.settled_by"] = event.settled_by
        self._outcomes.add(1, ended)
        self._billed.add(event.billed_calls, _of(event.operation))
        span = self._tracer.start_span(
            f"tusfacturas {event.operation}", start_time=_nanoseconds(event.started_at), attributes=ended
        )
        if event.external_reference is not None:
            span.set_attribute("tusfacturas.external_reference", event.external_reference)
        span.set_attribute("tusfacturas.billed_calls", event.billed_calls)
        span.set_attribute("tusfacturas.fingerprint", event.fingerprint)
        if event.error is not None:
            self._fail(span, event.error_type or "", event.error)
        below = trace.set_span_in_context(span)
        for attempt in event.attempts:
            self._attempt(attempt, event.url, below)
        span.end(_nanoseconds(event.started_at + timedelta(seconds=event.elapsed)))

    def _attempt(self, attempt: Attempt, url: str, below: context.Context) -> None:
        told = _request(attempt.status_code, attempt.evidence, url)
        if attempt.number > 1:
            told["http.request.resend_count"] = attempt.number - 1
        if url:
            told["url.full"] = url
        span = self._tracer.start_span(
            "POST",
            below,
            trace.SpanKind.CLIENT,
            told,
            start_time=_nanoseconds(attempt.started_at),
        )
        if "error.type" in told:
            self._fail(span, str(told["error.type"]), attempt.error or "")
        span.end(_nanoseconds(attempt.started_at + timedelta(seconds=attempt.elapsed)))

    def _fail(self, span: trace.Span, kind: str, message: str) -> None:
        span.set_attribute("error.type", kind)
        span.set_status(trace.StatusCode.ERROR, message)


def _of(operation: str) -> Attributes:
    return {"tusfacturas.operation": operation}


def _request(status: int | None, evidence: Evidence, url: str) -> Attributes:
    told: Attributes = {"http.request.method": "POST", "tusfacturas.evidence": evidence.value}
    if url:
        to = urlsplit(url)
        told["server.address"] = to.hostname or ""
        told["server.port"] = to.port or (443 if to.scheme == "https" else 80)
    if status is not None:
        told["http.response.status_code"] = status
        if status >= _AT_FAULT:
            told["error.type"] = str(status)
    elif evidence is not Evidence.ANSWERED:
        told["error.type"] = evidence.value
    return told


def _nanoseconds(at: datetime) -> int:
    """Exact: a float of seconds would round to some hundred nanoseconds."""
    since = at - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
