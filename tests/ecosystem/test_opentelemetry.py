"""OpenTelemetry's real SDK, its spans and metrics in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tusfacturas_async import EncoladoWebhook, Inbox, RetryPolicy, UnknownWebhook, VoucherNotFoundError
from tusfacturas_async.instrumentation import OpenTelemetryObserver
from tusfacturas_async.sandbox import Sandbox


class Telemetry:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.observer = OpenTelemetryObserver(self.tracers, self.meters)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def metric(self, name: str) -> list[tuple[dict[str, Any], float]]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            (dict(point.attributes or {}), point.count if hasattr(point, "count") else point.value)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.tracers.shutdown()
    telemetry.meters.shutdown()


def parent(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


async def test_a_span_for_a_reference_and_one_for_its_attempt(telemetry: Telemetry) -> None:
    """The attempt below the reference, the reference below the caller; HTTP's own attribute names."""
    tracer = telemetry.tracers.get_tracer("caller")
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[telemetry.observer]) as client:
        with tracer.start_as_current_span("caller") as caller:
            await client.reprocess("ref")
    (reference,), (attempt,) = telemetry.spans("tusfacturas reprocess"), telemetry.spans("POST")
    assert (parent(reference), parent(attempt)) == (
        caller.get_span_context().span_id,
        reference.context.span_id,
    )
    assert attempt.kind is trace.SpanKind.CLIENT
    assert dict(attempt.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "www.tusfacturas.app",
        "server.port": 443,
        "url.full": "https://www.tusfacturas.app/app/api/v2/facturacion/reenviar_encolado",
        "tusfacturas.evidence": "answered",
    }
    told = dict(reference.attributes or {})
    assert told["tusfacturas.outcome"] == "accepted"
    assert (told["tusfacturas.external_reference"], told["tusfacturas.billed_calls"]) == ("ref", 1)
    starts = [span.start_time or 0 for span in (reference, attempt)]
    ends = [span.end_time or 0 for span in (attempt, reference)]
    assert starts == sorted(starts)
    assert ends == sorted(ends)


async def test_a_batch_is_below_its_caller(telemetry: Telemetry) -> None:
    """Also from the workers: every reference's span has the span that was current at the ``async with``."""
    tracer = telemetry.tracers.get_tracer("caller")
    references = [f"ref-{n}" for n in range(30)]
    async with Sandbox(references) as sandbox, sandbox.client(observers=[telemetry.observer]) as client:
        with tracer.start_as_current_span("sweep") as sweep:
            await client.reprocess_all(references)
    spans = telemetry.spans("tusfacturas reprocess")
    assert len(spans) == 30
    assert {parent(span) for span in spans} == {sweep.get_span_context().span_id}


async def test_retries_and_refusals(telemetry: Telemetry, hasty: RetryPolicy) -> None:
    """A lost answer is an error of its attempt alone; a refusal is one of its reference."""
    async with (
        Sandbox(["lost"]) as sandbox,
        sandbox.client(observers=[telemetry.observer], retry=hasty) as client,
    ):
        sandbox.lose_answer("lost")
        await client.reprocess("lost")
        with pytest.raises(VoucherNotFoundError):
            await client.change_date("nobody", date(2026, 7, 1), date(2026, 7, 1))
    lost, _ = telemetry.spans("POST")
    assert (lost.attributes or {})["error.type"] == "524"
    assert lost.status.status_code is trace.StatusCode.ERROR
    (settled,) = telemetry.spans("tusfacturas reprocess")
    assert settled.status.status_code is trace.StatusCode.UNSET
    assert (settled.attributes or {})["tusfacturas.settled_by"] == "lookup"
    (refused,) = telemetry.spans("tusfacturas change_date")
    assert (refused.attributes or {})["error.type"] == "VoucherNotFoundError"


async def test_metrics(telemetry: Telemetry, hasty: RetryPolicy) -> None:
    """Attempts, waits, outcomes, billed calls, and nothing left in flight."""
    async with (
        Sandbox(["a", "b"]) as sandbox,
        sandbox.client(observers=[telemetry.observer], retry=hasty) as client,
    ):
        sandbox.lose_answer("a")
        await client.reprocess_all(["a", "b", "nobody"])
    prefix = "tusfacturas.client."
    by_status = {
        (told["tusfacturas.operation"], told.get("http.response.status_code")): count
        for told, count in telemetry.metric(f"{prefix}request.duration")
    }
    assert by_status == {("reprocess", 524): 1, ("reprocess", 200): 2, ("lookup", 200): 1}
    outcomes = [
        (told["tusfacturas.outcome"], told["tusfacturas.settled_by"], count)
        for told, count in telemetry.metric(f"{prefix}outcomes")
    ]
    assert sorted(outcomes) == [
        ("accepted", "lookup", 1),
        ("accepted", "response", 1),
        ("not_found", "response", 1),
    ]
    assert [count for _, count in telemetry.metric(f"{prefix}billed_calls")] == [3]
    assert {count for _, count in telemetry.metric(f"{prefix}active_requests")} == {0}
    reasons = {told["tusfacturas.wait.reason"] for told, _ in telemetry.metric(f"{prefix}wait.duration")}
    assert reasons == {"slot", "spacing", "backoff"}


async def test_what_comes_from_outside_makes_no_series(telemetry: Telemetry, tmp_path: Path) -> None:
    """Every event of no known name is counted as one."""
    async with Inbox.open(tmp_path / "inbox.db", observers=[telemetry.observer]) as inbox:
        await inbox.receive(EncoladoWebhook(external_reference="a"))
        for number in range(3):
            await inbox.receive(UnknownWebhook(evento=f"from outside {number}"))
    counted = {told["tusfacturas.evento"]: count for told, count in telemetry.metric("tusfacturas.webhooks")}
    assert counted == {"encolado": 1, "other": 3}


async def test_the_global_providers_are_the_default() -> None:
    """Without an SDK nothing is recorded, and nothing fails."""
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[OpenTelemetryObserver()]) as client:
        await client.reprocess("ref")
