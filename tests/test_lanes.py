"""The order within lanes: one at a time, in input order, and no further than the first that failed."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import Outcome, ReprocessResult, RetryPolicy
from tusfacturas_async.sandbox import Sandbox, State


class Flaky(Sandbox):
    """A sandbox with random latency that loses answers, drops requests and answers 429, by seeded dice."""

    def __init__(self, references: list[str], dice: random.Random, faults: float) -> None:
        super().__init__(references)
        self._dice = dice
        self._faults = faults
        self.seen: list[tuple[float, str]] = []
        self.under_way: Counter[str] = Counter()
        self.overlaps = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        reference = json.loads(message["body"]).get("external_reference")
        lane = (reference or "").partition("-")[0]
        if reference is not None:
            self.seen.append((asyncio.get_running_loop().time(), reference))
            self.overlaps += self.under_way[lane] > 0
            self.under_way[lane] += 1

        async def again() -> Any:
            return {**message, "more_body": False}

        try:
            await asyncio.sleep(self._dice.uniform(0, 0.5))
            fault = self._dice.random()
            if fault < self._faults / 4:
                raise httpx.ConnectError("refused")
            if fault < self._faults / 2:
                raise httpx.ReadError("dropped before the work")
            if reference is not None and fault < self._faults:
                self.lose_answer(reference)
            await super().__call__(scope, again, send)
        finally:
            if reference is not None:
                self.under_way[lane] -= 1


def check_lanes(seed: int, faults: float) -> None:
    """One random schedule against the model: what a lane sends is a prefix of its input, in order."""
    dice = random.Random(seed)
    lanes = {f"L{n}": [f"L{n}-{i}" for i in range(dice.randint(1, 5))] for n in range(dice.randint(1, 4))}
    given = [reference for references in lanes.values() for reference in references]
    spread = [iter(references) for references in lanes.values()]
    mixed: list[str] = []
    while len(mixed) < len(given):
        mixed += [reference for reference in (next(dice.choice(spread), None),) if reference]

    async def main() -> tuple[list[ReprocessResult], Flaky]:
        async with Flaky(mixed, dice, faults) as sandbox:
            policy = RetryPolicy(attempts=dice.randint(1, 3), backoff=0.1, max_retry_after=1)
            concurrency = dice.randint(1, 6)
            async with sandbox.client(retry=policy, max_concurrency=concurrency, timeout=0.4) as client:
                batch = client.reprocess_many(mixed, lane=lambda reference: reference.partition("-")[0])
                async with batch:
                    results = [result async for result in batch]
            return results, sandbox

    results, sandbox = run(main())
    assert sorted(r.external_reference for r in results) == sorted(mixed), "one result per reference"
    assert sandbox.overlaps == 0 or faults, "one at a time within a lane"
    outcomes = {result.external_reference: result for result in results}
    for references in lanes.values():
        told = [outcomes[reference] for reference in references]
        stop = next(
            (i for i, r in enumerate(told) if r.outcome in {Outcome.NOT_SENT, Outcome.UNKNOWN}), len(told)
        )
        assert all(r.outcome is Outcome.ACCEPTED for r in told[:stop])
        assert all(r.outcome is Outcome.HELD for r in told[stop + 1 :])
        first_seen = list(dict.fromkeys(ref for _, ref in sandbox.seen if ref in references))
        assert first_seen == references[: len(first_seen)], "in input order"
        effective = [ref for ref in sandbox.queue.resent if ref in references]
        assert effective == references[: len(effective)], "took effect in input order, each once"
    for result in results:
        state = sandbox.queue[result.external_reference].state
        if result.outcome is Outcome.ACCEPTED:
            assert state is State.QUEUED
        if result.outcome in {Outcome.HELD, Outcome.NOT_SENT}:
            assert state is State.ERRORED


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("faults", [0.0, 0.2, 0.7])
def test_lanes_keep_their_order_over_random_schedules(faults: float) -> None:
    """Two thousand schedules with random latency and faults, in virtual time."""
    for seed in range(700):
        check_lanes(seed, faults)


def test_lanes_run_side_by_side() -> None:
    """Ten lanes of ten take as long as one lane of ten."""

    async def main() -> float:
        references = [f"L{n % 10}-{n}" for n in range(100)]
        async with Sandbox(references, latency=1.0) as sandbox, sandbox.client() as client:
            await client.reprocess_all(references, lane=lambda reference: reference[:2])
        return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(10.0)


def test_a_long_lane_does_not_starve_the_others() -> None:
    """A lane may fill the window but for the others' places; those already read go their way."""

    async def main() -> int:
        references = [f"long-{n}" for n in range(900)] + [f"short-{n}" for n in range(50)]
        async with Sandbox(references, latency=1.0) as sandbox, sandbox.client() as client:
            order = []
            async with client.reprocess_many(
                references, lane=lambda r: "long" if r.startswith("long") else r
            ) as batch:
                async for result in batch:
                    order.append(result.external_reference)
                    if len(order) == 80:
                        break
        return sum(reference.startswith("short") for reference in order)

    assert run(main()) == 50
