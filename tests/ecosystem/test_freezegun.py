"""freezegun: a test that stops the clock ends, and is told the stopped time."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.runs import run_pytest

SOURCE = """
    import time
    from datetime import UTC, datetime

    import pytest
    from freezegun import freeze_time
    from tusfacturas_async import AsyncClient, Credentials, RetryPolicy, Inbox, WebhookReceiver
    from tusfacturas_async.sandbox import WEBHOOK_TOKEN, Sandbox

    HASTY = RetryPolicy(backoff=0.01)
    THEN = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)
    FREEZES = [{}, {"tick": True}, {"real_asyncio": True}, {"auto_tick_seconds": 1}]
    NAMES = ["stopped", "ticking", "real_asyncio", "auto_tick"]

    @pytest.mark.parametrize("options", FREEZES, ids=NAMES)
    async def test_spacing(options, tusfacturas_sandbox):
        sandbox = tusfacturas_sandbox
        begun = time.clock_gettime(time.CLOCK_MONOTONIC)
        with freeze_time(THEN, **options):
            async with sandbox.client(min_interval=0.05, retry=HASTY) as client:
                for reference in "abc":
                    sandbox.queue.add(reference)
                    await client.reprocess(reference)
        if "auto_tick_seconds" not in options:  # there each look at the clock moves it
            assert time.clock_gettime(time.CLOCK_MONOTONIC) - begun >= 0.09
        assert sandbox.queue.billed_calls == 3

    @pytest.mark.parametrize("options", FREEZES, ids=NAMES)
    async def test_retries_and_cool_downs(options, tusfacturas_sandbox):
        sandbox = tusfacturas_sandbox
        sandbox.queue.add("a")
        sandbox.switches.latency = 0.01
        sandbox.switches.lose_before = 1.0
        with freeze_time(THEN, **options):
            async with sandbox.client(retry=HASTY) as client:
                (result,) = (await client.reprocess_all(["a"])).results
                assert len(result.attempts) == 4
                sandbox.switches.lose_before = 0
                client._channel.pace.cool_down(0.05)
                assert (await client.reprocess("a")).outcome == "accepted"

    async def test_a_sandbox_that_goes_on_by_itself(tmp_path):
        told = []

        async def on_event(event):
            told.append((event.evento, event.created_at))

        with freeze_time(THEN):
            receiver = WebhookReceiver(on_event, tokens=WEBHOOK_TOKEN)
            async with Sandbox(["a"], webhook=receiver, process_after=36, time_scale=3600) as sandbox:
                async with sandbox.client() as client:
                    await client.reprocess("a")
                await sandbox.drain()
        assert told == [("encolado", THEN), ("emitido", THEN)]
"""


def test_nothing_hangs_while_the_clock_stands_still(tmp_path: Path) -> None:
    """Spacing, backoff and cool-down are waited for in real time; dates are the frozen one."""
    run = run_pytest(tmp_path, SOURCE, "-o", "asyncio_mode=auto")
    assert set(run.outcomes.values()) == {"passed"}, run.printed
    assert len(run.outcomes) == 9
