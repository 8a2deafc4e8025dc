"""What a report says beside the outcomes: when it was sent, how fast, what held it up, where it stopped."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from attrs import define, field, frozen

from .._wire.convert import ARGENTINA
from ..results import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    from ..instrumentation.events import CoolDownStarted, WaitStarted
    from ..results import ReprocessResult

T = TypeVar("T")

BINS: Final = 24
_DECIMALS: Final = 7
_TOO_MANY: Final = 429
_STOPPERS: Final = frozenset({Outcome.NOT_SENT, Outcome.UNKNOWN})


@frozen(kw_only=True)
class About:
    """Whose run it was.

    Attributes:
        began: When (aware).
        ended: When it ended (aware).
        source: The file, or the dates.
        host: Which service.
        point: The point of sale, by its fingerprint.
        command: What was typed.
        again: What goes on from here.
    """

    began: datetime
    ended: datetime
    source: str = ""
    host: str = ""
    point: str = ""
    command: str = ""
    again: str = ""


@define
class Recorder:
    """Notes when a client waits or cools down; an observer (``instrumentation``)."""

    held_up: list[tuple[datetime, str]] = field(factory=list)
    _ends: dict[str, datetime] = field(factory=dict)

    def on_wait(self, event: WaitStarted) -> None:
        """A call waits before it tries again."""
        self._note(event)

    def on_cool_down(self, event: CoolDownStarted) -> None:
        """Nothing is sent for a while."""
        self._note(event)
        end = datetime.now(UTC) + timedelta(seconds=event.seconds)
        self._ends[event.reason] = max(end, self._ends.get(event.reason, end))  # a longer one stands

    def _note(self, event: WaitStarted | CoolDownStarted) -> None:
        self.held_up.append((datetime.now(UTC), event.reason))

    def holding_up(self, now: datetime) -> list[tuple[str, int]]:
        """Why nothing is sent at this moment, and for how many seconds more."""
        return [
            (reason, ceil((end - now).total_seconds())) for reason, end in self._ends.items() if end > now
        ]


class Timeline(NamedTuple):
    """A run in equal parts of time: what was sent in each, by what became of it, and what held it up."""

    labels: Sequence[str]
    sent: Mapping[Outcome, Sequence[int]]
    held_up: Mapping[str, Sequence[int]]


def timeline(results: Sequence[ReprocessResult], held_up: Iterable[tuple[datetime, str]]) -> Timeline | None:
    """The time line of the calls, or ``None`` where none was made. Times are Argentina's."""
    calls = [(attempt.started_at, result.outcome) for result in results for attempt in result.attempts]
    if not calls:
        return None
    answered = ((attempt.started_at, attempt.status_code) for attempt in _attempts(results))
    limited = [(at, "rate_limit") for at, status_code in answered if status_code == _TOO_MANY]
    marks = [*limited, *((at, reason) for at, reason in held_up if reason != "rate_limit")]
    times = [at for at, _ in chain(calls, marks)]
    first = min(times)
    part = max((max(times) - first) / BINS, timedelta(milliseconds=1))

    def counted(events: Iterable[tuple[datetime, Any]]) -> dict[Any, list[int]]:
        parts: dict[Any, list[int]] = defaultdict(lambda: [0] * BINS)
        for at, kind in events:
            parts[kind][min(int((at - first) / part), BINS - 1)] += 1
        return dict(parts)

    local = [(first + part * n).astimezone(ARGENTINA) for n in range(BINS)]

    def of_day(at: datetime, decimals: int) -> str:
        return f"{at:%H:%M:%S}" + (f".{at.microsecond:06}"[: decimals + 1] if decimals else "")

    return Timeline(_labels(local, of_day), counted(calls), counted(marks))


class Latency(NamedTuple):
    """How long calls took: how many in each part, the slowest in the last; two numbers say most of it."""

    labels: Sequence[str]
    counts: Sequence[int]
    median: float
    p99: float


def latency(results: Sequence[ReprocessResult]) -> Latency | None:
    """Of the calls that were answered or not, in seconds; ``None`` where there was none."""
    seconds = sorted(attempt.elapsed for attempt in _attempts(results))
    if not seconds:
        return None
    p99 = _share(seconds, 0.99)
    width = max(min(seconds[-1], 1.25 * p99) / BINS, 0.0005)  # the slowest few share the last part
    counts = Counter(min(int(each / width), BINS - 1) for each in seconds)
    labels = _labels([n * width for n in range(BINS)], lambda at, decimals: f"{at:.{decimals}f}")
    return Latency(labels, [counts[n] for n in range(BINS)], _share(seconds, 0.5), p99)


def _labels(values: Sequence[T], named: Callable[[T, int], str]) -> list[str]:
    """With as few decimals as tell them apart: the chart finds the labels that it shows by their text."""
    precisions = ([named(value, decimals) for value in values] for decimals in range(_DECIMALS))
    return next((labels for labels in precisions if len({*labels}) == len(labels)), [*map(str, values)])


def _share(ordered: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return ordered[max(ceil(share * len(ordered)) - 1, 0)]


def _attempts(results: Sequence[ReprocessResult]) -> Iterable[Any]:
    return chain.from_iterable(result.attempts for result in results)


class StoppedLane(NamedTuple):
    """A lane that went no further: behind which reference, and how many wait there."""

    lane: str
    behind: str
    outcome: Outcome
    waiting: int


def stopped_lanes(
    results: Sequence[ReprocessResult], lane_of: Callable[[str], Hashable] | None
) -> list[StoppedLane]:
    """The lanes that stopped, by the results in the order in which they ended."""
    if lane_of is None:
        return []
    last: dict[Hashable, ReprocessResult] = {}
    waiting: Counter[Hashable] = Counter()
    for result in results:
        lane = lane_of(result.external_reference)
        if result.outcome is Outcome.HELD:
            waiting[lane] += 1
        elif result.outcome in _STOPPERS:
            last.setdefault(lane, result)
    return [
        StoppedLane(_told(lane), result.external_reference, result.outcome, waiting[lane])
        for lane, result in last.items()
        if lane is not None
    ]


def _told(lane: Hashable) -> str:
    parts = lane if isinstance(lane, tuple) else (lane,)
    return " · ".join("-" if part is None else str(part) for part in parts)
