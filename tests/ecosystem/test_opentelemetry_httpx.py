"""opentelemetry-instrumentation-httpx: it wraps ``httpx.AsyncHTTPTransport``."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.ecosystem.counting import ONCE, counting
from tests.helpers import ended
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import AsyncClient, Evidence


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


async def test_a_span_for_each_request(spans: InMemorySpanExporter) -> None:
    """And the service is sent its ``traceparent``."""
    async with counting() as (server, client):
        await client.reprocess("r0")
        await client.lookup("r0")
    found = spans.get_finished_spans()
    assert [span.name for span in found] == ["POST", "POST"]
    parents = [head["traceparent"].split("-")[2] for head in server.heads]
    assert parents == [f"{span.context.span_id:016x}" for span in found if span.context]
    assert CREDENTIALS.apitoken not in "".join(span.to_json() for span in found)


async def test_a_refused_connection_stays_proven(spans: InMemorySpanExporter) -> None:
    """The wrapper changes neither the transport's class nor the trace."""
    async with counting() as (server, _):
        url = server.url
    async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE) as client:
        result = await ended(client)
    assert [attempt.evidence for attempt in result.attempts] == [Evidence.NOT_SENT]
    assert len(spans.get_finished_spans()) == 1


async def test_a_users_client_that_is_instrumented_alone() -> None:
    """``instrument_client`` replaces its transport; it is only less certain, never untrue."""
    async with httpx.AsyncClient() as theirs, counting(http_client=theirs) as (server, client):
        HTTPXClientInstrumentor.instrument_client(theirs, tracer_provider=TracerProvider())
        await client.reprocess("r0")
    assert "traceparent" in server.heads[0]
