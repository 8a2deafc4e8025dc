"""What deserves another try, and when: pure decisions, driven by tenacity.

A *step* is one try: it returns a final value, or ``Unfinished``. Nothing here sends.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from attrs import field, frozen, validators
from tenacity import AsyncRetrying, retry_if_result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

    from ..instrumentation.events import WaitReason

T = TypeVar("T")

_not_negative = validators.ge(0.0)


@frozen(kw_only=True)
class RetryPolicy:
    """How often, and how patiently, one call tries.

    Args:
        attempts: Billed requests that one call may start at most; 1 means exactly one attempt.
        backoff: Seconds; the wait after try n is drawn evenly from 0 to ``backoff * 2**(n-1)`` (full jitter).
        max_backoff: Seconds; the longest such wait.
        max_retry_after: Seconds; a longer ``Retry-After`` is cut to this.
        budget: Tokens that the retries of one set of credentials may spend before successes earn them back (a
            retry costs 5, a success earns 1): it keeps an outage from multiplying the load.
    """

    attempts: int = field(default=4, validator=[validators.instance_of(int), validators.ge(1)])
    backoff: float = field(default=0.5, validator=_not_negative)
    max_backoff: float = field(default=20.0, validator=_not_negative)
    max_retry_after: float = field(default=60.0, validator=_not_negative)
    budget: int = field(default=500, validator=validators.ge(0))


class RetryBudget:
    """Tokens that retries spend and successes earn back, in the manner of botocore's retry quota."""

    COST = 5

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._tokens = capacity

    def spend(self) -> bool:
        """Take the tokens of one retry; ``False`` when there are not enough."""
        if self.spent:
            return False
        self._tokens -= self.COST
        return True

    @property
    def spent(self) -> bool:
        """Whether there is nothing left for a retry."""
        return self._tokens < self.COST

    def earn(self) -> None:
        """A request was answered."""
        self._tokens = min(self._capacity, self._tokens + 1)


class Unfinished(NamedTuple):
    """A step that settled nothing.

    Attributes:
        retry_after: Seconds that the service asked to wait, or ``None``.
    """

    retry_after: float | None = None


async def drive(
    step: Callable[[], Awaitable[T | Unfinished]],
    *,
    policy: RetryPolicy,
    budget: RetryBudget,
    time_left: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    waiting: Callable[[float, WaitReason], None] = lambda *_: None,
    draw: Callable[[float, float], float] = random.uniform,
) -> T | Unfinished:
    """Repeat ``step`` until it is finished, the budget is spent, or a wait would outlast the time left.

    Args:
        step: One try. It bounds its own number of tries by returning a final value.
        policy: The waits.
        budget: Shared by the calls of one set of credentials.
        time_left: Seconds until the call's deadline; infinite when it has none.
        sleep: Waits so many seconds, or less when the call is ended.
        waiting: Told before each wait: its seconds, and its reason.
        draw: The source of jitter: a float between its two arguments.

    Returns:
        The step's final value, or its last ``Unfinished``.
    """
    first: T | Unfinished | None = await step()
    if not isinstance(first, Unfinished):
        return first  # type: ignore[return-value]

    async def again() -> T | Unfinished:
        # tenacity counts the first try too: hand it over, then go on.
        nonlocal first
        if first is not None:
            known, first = first, None
            return known
        return await step()

    def wait(state: RetryCallState) -> float:
        unfinished: Unfinished = state.outcome.result()  # type: ignore[union-attr]
        ceiling = min(policy.max_backoff, policy.backoff * 2.0 ** min(state.attempt_number - 1, 64))
        asked = min(unfinished.retry_after or 0.0, policy.max_retry_after)
        return max(asked, draw(0.0, ceiling))

    def tell(state: RetryCallState) -> None:
        unfinished: Unfinished = state.outcome.result()  # type: ignore[union-attr]
        asked = unfinished.retry_after is not None
        waiting(state.upcoming_sleep, "retry_after" if asked else "backoff")

    def stop(state: RetryCallState) -> bool:
        return state.upcoming_sleep >= time_left() or not budget.spend()

    retrying = AsyncRetrying(
        sleep=sleep,
        wait=wait,
        stop=stop,
        before_sleep=tell,
        retry=retry_if_result(lambda value: isinstance(value, Unfinished)),
        retry_error_callback=lambda state: state.outcome.result(),  # type: ignore[union-attr]
    )
    return await retrying(again)
