"""What all credentials of one client share: transport, slots, policy, clock, and the list of channels."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from .clock import ServiceClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http.transport import Transport
    from ..instrumentation.observers import Observers
    from .retry import RetryPolicy

_OFTEN: Final = 64
"""Uses after which it is worth to look for quiet channels, however few there are."""


class Channels:
    """One ``Channel`` a fingerprint, as long as somebody holds it, or it is not quiet since its last use."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._used: dict[str, Any] = {}
        self._uses = 0
        self._look_at = _OFTEN

    def __len__(self) -> int:
        return len(self._held)

    def get(self, fingerprint: str, make: Callable[[], Any]) -> Any:
        """The one of these credentials; a new one if there is none."""
        channel = self._held.get(fingerprint)
        if channel is None:
            channel = self._held[fingerprint] = make()
        return channel

    def use(self, fingerprint: str, channel: Any) -> None:
        """It is used now: keep it while that matters, though nobody may hold it any more."""
        self._used[fingerprint] = channel
        self._uses += 1
        if self._uses > self._look_at:
            self._used = {name: each for name, each in self._used.items() if not each.quiet}
            self._look_at = max(_OFTEN, 2 * len(self._used))  # so that looking through them stays cheap
            self._uses = 0


class Line:
    """What all credentials of one client share. It belongs to the event loop that first uses it.

    Args:
        transport: Moves the bytes.
        max_concurrency: Requests in flight.
        min_interval: Seconds between starts of one set of credentials.
        timeout: Seconds per attempt.
        policy: How calls retry.
        base_url: Where ``transport`` sends to, for observers.
        observers: Who is told.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        max_concurrency: int,
        min_interval: float,
        timeout: float,
        policy: RetryPolicy,
        base_url: str,
        observers: Observers,
    ) -> None:
        self.transport: Transport = transport
        self.base_url: str = base_url if base_url.endswith("/") else f"{base_url}/"
        self.observers = observers
        self.max_concurrency = max_concurrency
        self.timeout = timeout
        self.policy = policy
        self.closed: bool = False
        self.slots: asyncio.Semaphore = asyncio.Semaphore(max_concurrency)
        self.min_interval = min_interval
        self.channels: Channels = Channels()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Lock()
        self.clock: ServiceClock = ServiceClock()

    def check(self) -> None:
        """Raise ``RuntimeError`` unless this line is open and belongs to the running event loop."""
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise RuntimeError(
                "this client belongs to another event loop: make one client for each loop, inside of it, "
                "with `async with AsyncClient(...)` (docs/how-to/event-loops.md)"
            )
        if self.closed:
            raise RuntimeError("this client is closed: create a new one")

    async def aclose(self) -> None:
        """Let what is in flight finish (``timeout`` bounds it), start nothing new, close the connections."""
        self.closed = True
        async with self._closing:
            taken = 0
            try:
                for _ in range(self.max_concurrency):  # whoever waits before us gets a slot and sees `closed`
                    await self.slots.acquire()
                    taken += 1
            finally:
                for _ in range(taken):
                    self.slots.release()
                await self.transport.aclose()
