"""The decision to try again, and how long to wait. In virtual time, with chosen dice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.virtual import run
from tusfacturas_async import RetryPolicy
from tusfacturas_async._call.retry import RetryBudget, Unfinished, drive

FOREVER = float("inf")


def times_of(
    answers: list[str | Unfinished],
    policy: RetryPolicy,
    *,
    budget: int = 1000,
    time_left: Callable[[], float] = lambda: FOREVER,
) -> tuple[list[float], str | Unfinished]:
    """When each try was made, and what came out; the dice always show the most."""
    started: list[float] = []

    async def step() -> str | Unfinished:
        started.append(asyncio.get_running_loop().time())
        return answers[len(started) - 1]

    async def main() -> str | Unfinished:
        return await drive(
            step, policy=policy, budget=RetryBudget(budget), time_left=time_left, draw=lambda _, most: most
        )

    return started, run(main())


def test_backoff_is_exponential_up_to_its_cap() -> None:
    """The ceilings of full jitter double from ``backoff`` and stop at ``max_backoff``."""
    policy = RetryPolicy(backoff=1, max_backoff=5)
    started, out = times_of([*[Unfinished()] * 5, "done"], policy)
    assert started == pytest.approx([0, 1, 3, 7, 12, 17])
    assert out == "done"


def test_retry_after_is_honoured_up_to_its_cap() -> None:
    """``Retry-After`` lengthens a wait, at most to ``max_retry_after``; it never shortens one."""
    policy = RetryPolicy(backoff=1, max_retry_after=60)
    started, _ = times_of([Unfinished(30), Unfinished(9999), Unfinished(0), "done"], policy)
    assert started == pytest.approx([0, 30, 90, 94])


def test_the_budget_stops_retries_and_is_earned_back() -> None:
    """Two retries are affordable with 10 tokens; successes pay for more."""
    started, out = times_of([Unfinished()] * 9, RetryPolicy(backoff=0), budget=10)
    assert (len(started), out) == (3, Unfinished())
    budget = RetryBudget(10)
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(5):
        budget.earn()
    assert [budget.spend() for _ in range(2)] == [True, False]


def test_a_wait_that_outlasts_the_deadline_is_not_begun() -> None:
    """It ends at once instead of sleeping into the deadline."""
    started, out = times_of([Unfinished(), "never"], RetryPolicy(backoff=10), time_left=lambda: 5.0)
    assert (started, out) == ([0], Unfinished())


def test_jitter_is_full() -> None:
    """The draw is from zero to the ceiling."""
    asked: list[tuple[float, float]] = []

    def draw(least: float, most: float) -> float:
        asked.append((least, most))
        return least

    async def main() -> None:
        answers: Iterator[str | Unfinished] = iter([Unfinished(), Unfinished(), "done"])

        async def step() -> str | Unfinished:
            return next(answers)

        await drive(
            step,
            policy=RetryPolicy(backoff=0.5),
            budget=RetryBudget(100),
            time_left=lambda: FOREVER,
            draw=draw,
        )

    run(main())
    assert asked == [(0.0, 0.5), (0.0, 1.0)]


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"backoff": -1}, {"max_retry_after": -1}, {"budget": -1}])
def test_a_policy_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)
