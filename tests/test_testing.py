"""The plugin's parts by themselves; ``tests/ecosystem`` runs them as a user's pytest does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import httpx
import pytest

from tests.loopback import Loopback
from tests.loops import not_on_uvloop
from tusfacturas_async import AsyncClient, Credentials, TusFacturasError, WebhookEvent, WebhookReceiver
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, WEBHOOK_TOKEN, Queue, Sandbox
from tusfacturas_async.testing.guard import NetworkGuard
from tusfacturas_async.testing.plugin import tusfacturas_sandbox, tusfacturas_webhooks
from tusfacturas_async.testing.webhooks import Webhooks

__all__ = ["tusfacturas_sandbox", "tusfacturas_webhooks"]

ELSEWHERE = "https://service.invalid/app/api/"


async def test_clients_that_go_their_own_way_are_left_alone(tusfacturas_sandbox: Sandbox) -> None:
    """What has a transport or a loopback ``base_url`` is somebody's purpose; all else goes to the sandbox."""
    credentials = Credentials.from_env()
    tusfacturas_sandbox.queue.add("a")
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"error": "N", "errores": []}))
    async with Loopback(Queue(["a"])) as server:
        for options in ({"transport": answer}, {"base_url": server.url}):
            async with AsyncClient(credentials, **options) as client:
                await client.reprocess("a")
    assert len(tusfacturas_sandbox.calls) == 0
    async with AsyncClient(credentials, base_url=ELSEWHERE, min_interval=60, transport=None) as client:
        await client.reprocess("a")
        await client.lookup("a")
    assert len(tusfacturas_sandbox.calls) == 2


async def test_events_reach_the_app_under_test(tusfacturas_webhooks: Webhooks) -> None:
    """Signed, at the path that is named; what the app raises is raised."""
    told: list[WebhookEvent] = []

    async def on_event(event: WebhookEvent) -> None:
        told.append(event)

    async def broken(*_: object) -> None:
        raise LookupError("the app's own")

    with pytest.raises(RuntimeError, match="connect"):
        await tusfacturas_webhooks.deliver("emitido", "a")
    tusfacturas_webhooks.connect(WebhookReceiver(on_event, tokens=WEBHOOK_TOKEN), "/hook")
    assert await tusfacturas_webhooks.deliver("emitido", "a") == 200
    assert [(event.evento, event.external_reference) for event in told] == [("emitido", "a")]
    tusfacturas_webhooks.connect(broken)
    with pytest.raises(LookupError, match="the app's own"):
        await tusfacturas_webhooks.deliver("emitido", "a")


async def test_what_a_test_leaves_under_way_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the fixture's end, in the loop that it belongs to."""
    make = tusfacturas_sandbox.__wrapped__  # type: ignore[attr-defined]
    fixture: Iterator[Sandbox] = make(monkeypatch)
    sandbox = next(fixture)
    sandbox.queue.add("a")
    sandbox.switches.process_after = 3600
    async with sandbox.client() as client:
        await client.reprocess("a")
    (task,) = sandbox.at_work()
    next(fixture, None)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()


class Foreign(httpx.AsyncBaseTransport):
    """A transport that tells nothing of what it does."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.open_connection("192.0.2.1", 443)
        raise AssertionError


@pytest.mark.parametrize("transport", [None, httpx.AsyncHTTPTransport, Foreign])
async def test_the_guard_notices_a_connection(transport: type[httpx.AsyncBaseTransport] | None) -> None:
    """Before a name is looked up or a byte leaves; on loopback, and when it is over, it does not mind."""
    if transport is Foreign:
        not_on_uvloop("Python's audit does not see where it connects")
    guard = NetworkGuard("marker")
    judged = guard.pytest_runtest_call()
    next(judged)
    credentials = SANDBOX_CREDENTIALS
    way = None if transport is None else transport()
    try:
        async with AsyncClient(credentials, base_url=ELSEWHERE, transport=way) as client:
            with contextlib.suppress(TusFacturasError, pytest.fail.Exception):
                await client.reprocess("a")
        async with Loopback(Queue(["a"])) as server:
            async with AsyncClient(credentials, base_url=server.url) as client:
                await client.reprocess("a")
        with pytest.raises(pytest.fail.Exception, match=r"connected to service\.invalid"):
            judged.send(None)
    finally:
        guard.pytest_unconfigure()
