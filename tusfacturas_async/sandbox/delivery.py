"""Delivers webhooks the way the service does, on a clock that may run faster."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from .._call.waiting import now, sleep
from .._cancellation import is_cancellation
from .._http.transport import Transport, TransportFailure, in_process
from .queue import ZONE, Event
from .switches import Switches

REDELIVERIES: Final = (300.0, 1_800.0, 10_800.0, 21_600.0, 43_200.0)
"""Service seconds before each redelivery, counted from the one before (vendor, 2026)."""

_FIRST_WAIT, _LATER_WAIT = 20.0, 5.0
"""Real seconds that a delivery waits for its answer; a user's handler does not run on our clock."""

_GIVE_UP = 86_400.0
"""Service seconds of failures after which the URL is ignored for good."""

_AT_ONCE = 50


@frozen
class Delivered:
    """One try to deliver one event, which ended ``at``; ``status`` is ``None`` when no answer came."""

    payload: dict[str, Any]
    number: int
    status: int | None
    at: datetime

    @property
    def received(self) -> bool:
        """Only HTTP 200 counts as received."""
        return self.status == 200  # noqa: PLR2004


def checked_scale(time_scale: object) -> float:
    """The scale, if it is one: in time that stands still nothing would end."""
    if not isinstance(time_scale, int | float):
        raise TypeError(f"time_scale must be a number, not {time_scale!r}")
    if not time_scale > 0:
        raise ValueError("time_scale must be above 0")
    return time_scale


async def until_done(tasks: set[asyncio.Task[None]]) -> None:
    """Wait until no task is under way, also of those that join meanwhile.

    On what is pending: a task that has ended leaves its set a turn of the loop later, and waiting for it is
    over at once, so a loop that waits for the set to be empty would never give way.
    """
    while pending := [task for task in tasks if not task.done()]:
        await asyncio.wait(pending)


class WebhookSender:
    """Delivers the events of one point of sale to one URL, or to an ASGI app in this process.

    Args:
        target: An ``http(s)://`` URL, or an ASGI app.
        token: Sent as ``TF-WebhookToken``.
        path: Where in an app the receiver is.
        time_scale: Service seconds in one real second.
        switches: How ``hook_id`` and ``intento`` behave.
        now: The service's clock.
        tell: Called with each try.

    Attributes:
        log: Every try, in the order in which they ended.
        tasks: The deliveries that are under way.
        ignored: Whether the URL is ignored for good, after 24 service hours of failures.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind; the message names it.
    """

    def __init__(
        self,
        target: str | Callable[..., Any],
        *,
        token: str,
        path: str = "/",
        time_scale: float = 1.0,
        switches: Switches | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        tell: Callable[[Delivered], None] = lambda _: None,
    ) -> None:
        if not isinstance(target, str) and not callable(target):
            raise TypeError(f"webhook must be a URL or an ASGI app, not {type(target).__name__}")
        if not isinstance(token, str):
            raise TypeError(f"webhook_token must be a text, not {type(token).__name__}")
        headers = {"User-Agent": b"TusFacturasAPP-webhook/1.0", "TF-WebhookToken": token.encode()}
        if isinstance(target, str):
            url = urlsplit(target)
            self._transport = Transport(f"{url.scheme}://{url.netloc}", headers=headers)
            self._path = url._replace(scheme="", netloc="").geturl() or "/"
        else:
            self._transport = Transport("http://127.0.0.1/", transport=in_process(target), headers=headers)
            self._path = path
        self._switches = Switches() if switches is None else switches
        self._now = now
        self._tell = tell
        self._time_scale = checked_scale(time_scale)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()
        self._hook_ids = itertools.count(1)
        self._failing_since: float | None = None
        self.log: list[Delivered] = []
        self.ignored: bool = False

    def send(self, event: Event) -> None:
        """Start delivering an event."""
        payload = {
            "creado": f"{self._now().astimezone(ZONE):%d/%m/%Y %H:%M:%S}",
            "evento": event.evento,
            "recurso": "facturacion",
            "external_reference": event.external_reference,
            "intento": 1,
            "msg": list(event.msg),
            "hook_id": self._hook_id(),
        }
        task = asyncio.create_task(self._deliver(payload))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _hook_id(self) -> str:
        return "sandbox-url" if self._switches.hook_id == "url" else f"sandbox-{next(self._hook_ids)}"

    async def _deliver(self, payload: dict[str, Any]) -> None:
        for number, pause in enumerate((0.0, *REDELIVERIES), start=1):
            await sleep(pause / self._time_scale)
            if self.ignored:
                return
            sent = self._as_sent(payload, number)
            status = await self._try(sent, _FIRST_WAIT if number == 1 else _LATER_WAIT)
            delivered = Delivered(sent, number, status, self._now())
            self.log.append(delivered)
            self._tell(delivered)
            self._judge(received=delivered.received)
            if delivered.received:
                return

    def _as_sent(self, payload: dict[str, Any], number: int) -> dict[str, Any]:
        sent = dict(payload)
        if self._switches.intento_counts:
            sent["intento"] = number
        if self._switches.hook_id == "none":
            del sent["hook_id"]
        elif self._switches.hook_id == "delivery" and number > 1:
            sent["hook_id"] = self._hook_id()
        return sent

    async def post(self, body: bytes, *, wait: float = _FIRST_WAIT) -> int:
        """Deliver these bytes once, and return the status of the answer.

        Raises:
            TransportFailure: None came in time; its cause says why.
        """
        reply = await self._transport.post(self._path, body, timeout=wait)
        return reply.status_code

    async def _try(self, payload: dict[str, Any], wait: float) -> int | None:
        body = json.dumps(payload).replace("/", r"\/").encode()  # the service escapes slashes
        async with self._at_once:
            try:
                return await self.post(body, wait=wait)
            except TransportFailure:
                return None
            except asyncio.CancelledError as error:
                if is_cancellation(error):
                    raise
                return None  # an app in this process that cancels itself has not answered

    def _judge(self, *, received: bool) -> None:
        at = now()
        if received:
            self._failing_since = None
            return
        self._failing_since = at if self._failing_since is None else self._failing_since
        self.ignored = (at - self._failing_since) * self._time_scale >= _GIVE_UP

    async def drain(self) -> None:
        """Wait until every event so far is delivered, or given up."""
        await until_done(self.tasks)

    async def aclose(self) -> None:
        """Stop delivering."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self._transport.aclose()
