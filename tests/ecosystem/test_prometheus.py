"""``prometheus_client``, with a registry of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tusfacturas_async import EncoladoWebhook, Inbox, RetryPolicy, UnknownWebhook
from tusfacturas_async.instrumentation import PrometheusObserver
from tusfacturas_async.sandbox import Sandbox


async def test_metrics(tmp_path: Path, hasty: RetryPolicy) -> None:
    """Attempts, lookups, waits, outcomes, billed calls, webhooks; nothing left in flight."""
    registry = CollectorRegistry()
    observer = PrometheusObserver(registry)
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client(observers=[observer], retry=hasty) as client:
        sandbox.lose_answer("a")
        await client.reprocess_all(["a", "b", "nobody"])
    async with Inbox.open(tmp_path / "inbox.db", observers=[observer]) as inbox:
        await inbox.receive(EncoladoWebhook(external_reference="a"))
        await inbox.receive(UnknownWebhook(evento="from outside"))

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"tusfacturas_{name}", labels)

    again = {"operation": "reprocess"}
    assert sample("attempts_total", **again, evidence="answered", status="200") == 2
    assert sample("attempts_total", **again, evidence="maybe_sent", status="524") == 1
    assert sample("lookups_total", evidence="answered", status="200") == 1
    assert sample("outcomes_total", **again, outcome="accepted", settled_by="lookup") == 1
    assert sample("outcomes_total", **again, outcome="accepted", settled_by="response") == 1
    assert sample("outcomes_total", **again, outcome="not_found", settled_by="response") == 1
    assert sample("billed_calls_total", **again) == 3
    assert sample("wait_seconds_count", reason="backoff") == 1
    assert sample("wait_seconds_count", reason="slot") == 4
    assert (sample("in_flight", **again), sample("in_flight", operation="lookup")) == (0, 0)
    assert sample("webhooks_total", evento="encolado", duplicate="false") == 1
    assert sample("webhooks_total", evento="other", duplicate="false") == 1
    assert b'"a"' not in generate_latest(registry), "no label holds a reference"


def test_one_observer_for_all_clients() -> None:
    """The library itself says so of a second one in the same registry."""
    registry = CollectorRegistry()
    PrometheusObserver(registry)
    with pytest.raises(ValueError, match="tusfacturas_attempts"):
        PrometheusObserver(registry)
