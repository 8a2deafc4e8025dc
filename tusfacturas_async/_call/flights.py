"""One request about one voucher is under way once: who asks for the same meanwhile shares its end."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define, evolve, field

from ..results import CallResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

R = TypeVar("R", bound=CallResult)

_TRUE_IN_DOUBT: Final = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
"""What holds for a caller in doubt, too. "Not found" may mean that the earlier request has arrived."""


@define(eq=False)
class _Flight:
    doubtful: bool
    end: asyncio.Future[CallResult] = field(factory=lambda: asyncio.get_running_loop().create_future())
    waiting: int = 0

    def tells(self, result: CallResult, *, doubtful: bool) -> bool:
        """Whether its result is that of who waited, too."""
        if result.outcome is Outcome.HELD or result.settled_by == "journal":
            return False  # that is the other's batch's affair
        known = result.outcome in _TRUE_IN_DOUBT or result.settled_by == "lookup"
        return known or self.doubtful or not doubtful


class Flights:
    """What is under way with one set of credentials."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def share(
        self,
        what: Hashable,
        lead: Callable[[bool], Awaitable[R]],
        wait: Callable[[asyncio.Future[R]], Awaitable[R | None]],
        *,
        doubtful: bool = False,
    ) -> R:
        """Do it, or share the end of who is doing it.

        A shared result has no attempts of its own, so nothing is billed for it. When who did it was
        cancelled, the next takes over: a request may have left, so it is told to be doubtful.

        Args:
            what: Equal for the same request.
            lead: Does it; is told whether it is in doubt.
            wait: Awaits the other's end without cancelling it; its own result where it waits no longer.
            doubtful: An earlier request of this caller's may have arrived. The end of one who knew nothing of
                that is shared only where it holds in spite of it.
        """
        while (flight := self._flights.get(what)) is not None and not flight.end.cancelled():
            flight.waiting += 1
            try:
                given_up = await wait(flight.end)  # type: ignore[arg-type]
            finally:
                flight.waiting -= 1
                self._forget(what, flight)
            if given_up is not None:
                return given_up
            if flight.end.cancelled():
                doubtful = True
            elif flight.tells(flight.end.result(), doubtful=doubtful):
                result: R = flight.end.result()  # type: ignore[assignment]
                return evolve(result, attempts=(), error=copy(result.error), shared=True)
        flight = self._flights[what] = _Flight(doubtful or flight is not None)
        try:
            result = await lead(flight.doubtful)
        except BaseException:
            flight.end.cancel()
            raise
        else:
            flight.end.set_result(result)
            return result
        finally:
            self._forget(what, flight)

    def _forget(self, what: Hashable, flight: _Flight) -> None:
        """Drop one that has ended. While somebody waits to take over, who comes first is in doubt as well."""
        over = flight.end.done() and not (flight.end.cancelled() and flight.waiting)
        if over and self._flights.get(what) is flight:
            del self._flights[what]
