"""anyio's pytest plugin: tests of a project without pytest-asyncio."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.runs import run_pytest

SOURCE = """
    import anyio
    import pytest
    from tusfacturas_async import AsyncClient, Credentials, WebhookReceiver
    from tusfacturas_async.sandbox import WEBHOOK_TOKEN

    pytestmark = pytest.mark.anyio

    @pytest.fixture(params=[("asyncio", {}), ("asyncio", {"use_uvloop": True})], ids=["asyncio", "uvloop"])
    def anyio_backend(request):
        return request.param

    @pytest.fixture
    async def client(tusfacturas_sandbox):
        async with AsyncClient(Credentials.from_env()) as client:
            yield client

    async def test_in_one_task_group(client, tusfacturas_sandbox, tusfacturas_webhooks):
        told = []

        async def on_event(event):
            await anyio.sleep(0)
            told.append(event.evento)

        tusfacturas_webhooks.connect(WebhookReceiver(on_event, tokens=WEBHOOK_TOKEN))
        tusfacturas_sandbox.switches.process_after = 0
        for number in range(5):
            tusfacturas_sandbox.queue.add(f"r{number}")
        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(client.reprocess, f"r{number}")
        with anyio.fail_after(10):
            await tusfacturas_sandbox.drain()
        assert sorted(told) == ["emitido"] * 5 + ["encolado"] * 5

    async def test_a_cancelled_delivery(tusfacturas_webhooks):
        ended = []

        async def slow(event):
            try:
                await anyio.sleep(60)
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                ended.append("cleaned up")

        tusfacturas_webhooks.connect(WebhookReceiver(slow, tokens=WEBHOOK_TOKEN))
        with anyio.move_on_after(0.05) as scope:
            await tusfacturas_webhooks.deliver("encolado", "a")
        assert (scope.cancelled_caught, ended) == (True, ["cleaned up"])

    async def test_a_handler_of_a_cancelled_scope_of_its_own(tusfacturas_webhooks):
        async def handler(event):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await anyio.sleep(1)

        tusfacturas_webhooks.connect(WebhookReceiver(handler, tokens=WEBHOOK_TOKEN))
        assert await tusfacturas_webhooks.deliver("encolado", "a") == 200
"""


def test_the_fixtures_and_the_receiver_under_anyio(tmp_path: Path) -> None:
    """On asyncio's loop and on uvloop, in task groups and cancelled scopes; without pytest-asyncio."""
    run = run_pytest(tmp_path, SOURCE, "-p", "no:asyncio")
    assert set(run.outcomes.values()) == {"passed"}, run.printed
    assert len(run.outcomes) == 6
