"""``Sandbox``: the service's HTTP face as an ASGI app over the queues, with its misbehaviours on demand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from .._asgi import BodyError, Message, Receive, Send, answer, read
from .._call.waiting import sleep
from .._http.transport import in_process
from .._rooms import Later
from ..client import AsyncClient
from ..models import Credentials
from .arca import Arca
from .console import Console
from .delivery import Delivered, WebhookSender, checked_scale
from .queue import Queue, State, StoredVoucher
from .server import LoopbackServer
from .service import BAD_REQUEST, CALLS, Answer, Call, PointOfSale, Service
from .switches import Switches, SwitchOptions

if TYPE_CHECKING:
    import httpx
else:
    httpx = Later("httpx")

SANDBOX_CREDENTIALS: Final = Credentials(
    apikey="1134", apitoken="sandbox-apitoken", usertoken="sandbox-usertoken"
)
"""What the sandbox takes unless told otherwise. They open nothing else."""

WEBHOOK_TOKEN: Final = "sandbox-webhook-token"  # noqa: S105 - it opens nothing
"""What the sandbox sends as ``TF-WebhookToken`` unless told otherwise."""

_KEPT: Final = 1_000


def utcnow() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class Sandbox:
    """A local stand-in for the service, which offers none of its own.

    It is an ASGI app. ``async with`` it, then call it in process (``client``, ``transport``) or over a real
    loopback socket (``serve``).

    Args:
        vouchers: The first point of sale's vouchers; a bare reference means an errored one.
        credentials: The first point of sale's credentials.
        webhook: A URL or an ASGI app to which its events are delivered; ``None`` for none.
        webhook_token: Sent as ``TF-WebhookToken``.
        time_scale: Service seconds in one real second, for ``process_after``, ``lookup_lag`` and webhook
            redelivery.
        **switches: How it behaves; see ``Switches``.

    Attributes:
        queue: The first point of sale's queue.
        switches: How it behaves; may be turned while it runs.
        calls: The latest 1,000 calls that were answered.
        most_in_flight: The most requests that were in flight at once.

    Raises:
        TypeError, ValueError: An argument is of the wrong kind or out of range; the message names it.
    """

    def __init__(
        self,
        vouchers: Iterable[StoredVoucher | str] = (),
        *,
        credentials: Credentials = SANDBOX_CREDENTIALS,
        webhook: str | Callable[..., Any] | None = None,
        webhook_token: str = WEBHOOK_TOKEN,
        time_scale: float = 1.0,
        **switches: Unpack[SwitchOptions],
    ) -> None:
        self.switches: Switches = Switches(**switches)
        self.calls: deque[Call] = deque(maxlen=_KEPT)
        self.most_in_flight: int = 0
        self._time_scale = checked_scale(time_scale)
        self._service = Service(self.switches, self._time_scale, lambda: utcnow())  # noqa: PLW0108 - looked up at each call: a test may replace it
        self._points = self._service.points
        self._arca = Arca(self.switches, self._time_scale, self._decided)
        self._listeners: set[Callable[[Call | Delivered], object]] = set()
        self._in_flight = 0
        self.credentials = credentials
        self.queue: Queue = self.add_point_of_sale(
            credentials, vouchers, webhook=webhook, webhook_token=webhook_token
        )

    def add_point_of_sale(
        self,
        credentials: Credentials,
        vouchers: Iterable[StoredVoucher | str] = (),
        *,
        webhook: str | Callable[..., Any] | None = None,
        webhook_token: str = WEBHOOK_TOKEN,
    ) -> Queue:
        """Add another set of credentials; returns its queue.

        Raises:
            TypeError, ValueError: An argument is of the wrong kind, or there is such a point of sale already.
        """
        if not isinstance(credentials, Credentials):
            raise TypeError(f"credentials must be Credentials, not {type(credentials).__name__}")
        if _key(credentials) in self._points:
            raise ValueError("there is a point of sale with these credentials already")
        point = self._points[_key(credentials)] = PointOfSale(Queue(vouchers))
        if webhook is not None:
            self.deliver_to(webhook, token=webhook_token, credentials=credentials)
        return point.queue

    def deliver_to(
        self,
        webhook: str | Callable[..., Any],
        *,
        path: str = "/",
        token: str = WEBHOOK_TOKEN,
        credentials: Credentials | None = None,
    ) -> WebhookSender:
        """Deliver a point of sale's events to this URL or ASGI app, from the next event on.

        Args:
            webhook: The URL, or the app.
            path: Where in an app the receiver is.
            token: Sent as ``TF-WebhookToken``.
            credentials: Whose events; the first point of sale's when left out.

        Raises:
            TypeError, ValueError: An argument is of the wrong kind; the message names it.
        """
        sender = WebhookSender(
            webhook,
            path=path,
            token=token,
            time_scale=self._time_scale,
            switches=self.switches,
            now=self._service.now,
            tell=self._tell,
        )
        self._points[_key(credentials or self.credentials)].sender = sender
        return sender

    # -- what tests turn and watch ----------------------------------------------------------------

    @property
    def maintenance_until(self) -> datetime | None:
        """``switches.maintenance_until``."""
        return self.switches.maintenance_until

    @maintenance_until.setter
    def maintenance_until(self, until: datetime | None) -> None:
        self.switches.maintenance_until = until

    def lose_answer(self, reference: str) -> None:
        """Process the next billed call for this reference, and answer it with the CDN's HTML and 524."""
        self._service.losing.add(reference)

    def subscribe(self, listener: Callable[[Call | Delivered], object]) -> Callable[[], None]:
        """Call ``listener`` with each call answered and each delivery tried; returns how to end that."""
        self._listeners.add(listener)
        return lambda: self._listeners.discard(listener)

    def _tell(self, happened: Call | Delivered) -> None:
        for listener in tuple(self._listeners):
            listener(happened)

    # -- ways in ----------------------------------------------------------------------------------

    def transport(self) -> httpx.AsyncBaseTransport:
        """An httpx transport into this sandbox, without a socket."""
        return in_process(self)

    def client(self, **options: Any) -> AsyncClient:
        """An ``AsyncClient`` into this sandbox, without a socket and, unless told otherwise, without spacing.

        Args:
            **options: As ``AsyncClient`` takes them.
        """
        options = {"transport": self.transport(), "min_interval": 0.0, **options}
        return AsyncClient(self.credentials, **options)

    def serve(self, port: int = 0, *, console: bool = False) -> LoopbackServer:
        """A real server on loopback: ``async with sandbox.serve() as url``; the URL is a ``base_url``.

        Args:
            port: 0 for any free one.
            console: Also serve a page at ``/`` to watch what is asked, and to turn switches.
        """
        return LoopbackServer(Console(self) if console else self, port=port, path="app/api/")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await self._arca.aclose()
        for sender in self._senders():
            await sender.aclose()
        if error is None:
            self._arca.tell_failure()

    async def drain(self) -> None:
        """Wait until every queued voucher is processed and every webhook is delivered or given up.

        Raises:
            Exception: What ``refuse`` raised.
        """
        for point in self._points.values():
            self._tell_events(point)  # what ``queue.issue`` and the like have done
        while any(not task.done() for task in self.at_work()):
            await self._arca.drain()
            for sender in self._senders():
                await sender.drain()
        self._arca.tell_failure()

    def queues(self) -> list[Queue]:
        """The queue of each point of sale."""
        return [point.queue for point in self._points.values()]

    def hand_to_arca(self) -> None:
        """Let ARCA have, too, what was queued while ``process_after`` was ``None``."""
        for point in self._points.values():
            for voucher in point.queue.vouchers:
                if voucher.state is State.QUEUED:
                    self._arca.take(point, voucher.external_reference)

    def at_work(self) -> list[asyncio.Task[None]]:
        """The tasks that process vouchers and deliver webhooks."""
        return [*self._arca.tasks, *(task for sender in self._senders() for task in sender.tasks)]

    def _senders(self) -> list[WebhookSender]:
        return [point.sender for point in self._points.values() if point.sender is not None]

    # -- HTTP -------------------------------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            body = await read(receive)
            await sleep(self.switches.latency)
            told = self._route(scope["method"], scope["path"], body)
        except BodyError:  # whoever asked has gone
            told = BAD_REQUEST
        finally:
            self._in_flight -= 1
        await self._send(send, told)

    def _route(self, method: str, path: str, body: bytes) -> Answer:
        name = path.rpartition("/v2/facturacion/")[2]
        if name not in CALLS:
            return Answer(404, "<h1>404 Not Found</h1>")
        if method != "POST":
            return Answer(405, "<h1>405 Method Not Allowed</h1>")
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            return BAD_REQUEST
        point = self._service.point_of(payload)
        if point is None:
            return Answer(401, {"error": "S", "errores": ["Credenciales invalidas."]})
        told, call = self._service.answer(name, point, payload)
        self._tell_events(point)
        self.calls.append(call)
        self._tell(call)
        return told

    async def _send(self, send: Send, told: Answer) -> None:
        if isinstance(told.content, str):
            kind, body = b"text/html", told.content.encode()
        else:
            kind, body = b"application/json", json.dumps(told.content).encode()
        headers = [(b"content-type", kind), *told.headers]
        if self.switches.date:
            headers.append((b"date", format_datetime(self._service.now(), usegmt=True).encode()))
        await answer(send, told.status, body, headers)

    # -- ARCA and the webhooks --------------------------------------------------------------------

    def _tell_events(self, point: PointOfSale) -> None:
        """Tell by webhook what has happened, and ARCA what is queued."""
        for event in point.queue.take_events():
            if event.evento in {"encolado", "cambio_fecha"}:
                self._arca.take(point, event.external_reference)
            if point.sender is not None:
                point.sender.send(event)

    def _decided(self, point: PointOfSale, reference: str) -> None:
        self._service.note(point.queue.named([reference]))
        self._tell_events(point)


def _key(credentials: Credentials) -> tuple[str, str, str]:
    return credentials.apikey, credentials.apitoken, credentials.usertoken
