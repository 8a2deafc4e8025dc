"""One request about one voucher is under way once: who asks for the same meanwhile shares its end."""

from __future__ import annotations

import asyncio
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from attrs import evolve

from ..results import CallResult, Outcome

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

R = TypeVar("R", bound=CallResult)


class Flights:
    """What is under way with one set of credentials."""

    def __init__(self) -> None:
        self._ends: dict[Hashable, asyncio.Future[CallResult]] = {}

    async def share(
        self,
        what: Hashable,
        lead: Callable[[bool], Awaitable[R]],
        wait: Callable[[asyncio.Future[R]], Awaitable[R | None]],
    ) -> R:
        """Do it, or share the end of who is doing it.

        A shared result has no attempts of its own, so nothing is billed for it. When who did it was
        cancelled, the next takes over: a request may have left, so it is told to be doubtful.

        Args:
            what: Equal for the same request.
            lead: Does it; is told whether it takes over.
            wait: Awaits the other's end without cancelling it; its own result where it waits no longer.
        """
        took_over = False
        while (end := self._ends.get(what)) is not None:
            given_up = await wait(end)  # type: ignore[arg-type]
            if given_up is not None:
                return given_up
            if end.cancelled():
                took_over = True
            elif end.result().outcome is not Outcome.HELD:  # that is the other's batch's affair
                result: R = end.result()  # type: ignore[assignment]
                return evolve(result, attempts=(), error=copy(result.error), shared=True)
        end = self._ends[what] = asyncio.get_running_loop().create_future()
        try:
            result = await lead(took_over)
        except BaseException:
            end.cancel()
            raise
        else:
            end.set_result(result)
            return result
        finally:
            del self._ends[what]
