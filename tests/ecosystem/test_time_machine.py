"""time-machine: a test that travels ends, and is told the time that it travelled to."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.runs import run_pytest

SOURCE = """
    from datetime import UTC, datetime, timedelta

    import pytest
    import time_machine
    from tusfacturas_async import MaintenanceError, RetryPolicy

    THEN = datetime(2026, 3, 18, 12, 0, tzinfo=UTC)

    @pytest.mark.parametrize("tick", [True, False])
    async def test_spacing_and_retries(tick, tusfacturas_sandbox):
        sandbox = tusfacturas_sandbox
        sandbox.queue.add("a")
        sandbox.queue.add("b")
        with time_machine.travel(THEN, tick=tick):
            async with sandbox.client(min_interval=0.02, retry=RetryPolicy(backoff=0.01)) as client:
                sandbox.lose_answer("a")
                for reference in "ab":
                    result = await client.reprocess(reference)
                    assert result.attempts[0].started_at - THEN < timedelta(seconds=5)

    async def test_maintenance_ends_by_travelling(tusfacturas_sandbox):
        sandbox = tusfacturas_sandbox
        sandbox.queue.add("a")
        sandbox.switches.maintenance_until = THEN + timedelta(hours=1)
        with time_machine.travel(THEN, tick=False) as traveller:
            async with sandbox.client() as client:
                with pytest.raises(MaintenanceError):
                    await client.reprocess("a")
                traveller.shift(timedelta(hours=2))
                await client.reprocess("a")
"""


def test_nothing_hangs_while_time_is_travelled(tmp_path: Path) -> None:
    """Waits are real, dates are the traveller's."""
    run = run_pytest(tmp_path, SOURCE, "-o", "asyncio_mode=auto")
    assert set(run.outcomes.values()) == {"passed"}, run.printed
    assert len(run.outcomes) == 3
