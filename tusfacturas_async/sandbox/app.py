"""``Sandbox``: the service's HTTP face as an ASGI app over the queues, with its misbehaviours on demand."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from datetime import UTC, date, datetime, timedelta, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from .._http.transport import in_process
from .._rooms import Later
from ..client import AsyncClient
from ..models import Credentials
from .delivery import WebhookSender, checked_scale, until_done
from .queue import NOT_FOUND, Queue, StoredVoucher
from .server import LoopbackServer
from .switches import Switches, SwitchOptions

if TYPE_CHECKING:
    import httpx
else:
    httpx = Later("httpx")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SANDBOX_CREDENTIALS: Final = Credentials(
    apikey="1134", apitoken="sandbox-apitoken", usertoken="sandbox-usertoken"
)
"""What the sandbox takes unless told otherwise. They open nothing else."""

WEBHOOK_TOKEN: Final = "sandbox-webhook-token"  # noqa: S105 - it opens nothing
"""What the sandbox sends as ``TF-WebhookToken`` unless told otherwise."""

_LOOKUP = "consulta_avanzada"
_CALLS = {"reenviar_encolado", "eliminar_encolado", "cambiar_fecha_encolado", _LOOKUP}
_MAX_PAGE = 1_000
_zone = timezone(timedelta(hours=-3))


def utcnow() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


class PointOfSale:
    """One set of credentials with its queue, its rate and its webhook."""

    def __init__(self, queue: Queue, sender: WebhookSender | None) -> None:
        self.queue = queue
        self.sender = sender
        self.recent: deque[float] = deque()


class Sandbox:
    """A local stand-in for the service, which offers none of its own.

    It is an ASGI app. ``async with`` it, then call it in process (``client``, ``transport``) or over a real
    loopback socket (``serve``).

    Args:
        vouchers: The first point of sale's vouchers; a bare reference means an errored one.
        credentials: The first point of sale's credentials.
        webhook: A URL or an ASGI app to which its events are delivered; ``None`` for none.
        webhook_token: Sent as ``TF-WebhookToken``.
        time_scale: Service seconds in one real second, for ``process_after`` and webhook redelivery.
        **switches: How it behaves; see ``Switches``.

    Attributes:
        queue: The first point of sale's queue.
        switches: How it behaves; may be turned while it runs.
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
        self._time_scale = checked_scale(time_scale)
        self._points: dict[tuple[str, str, str], PointOfSale] = {}
        self._lost: set[str] = set()
        self._processing: set[asyncio.Task[None]] = set()
        self._in_flight = 0
        self._failures: list[BaseException] = []
        self._maintenance_until: datetime | None = None
        self.most_in_flight: int = 0
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
        key = credentials.apikey, credentials.apitoken, credentials.usertoken
        if key in self._points:
            raise ValueError("there is a point of sale with these credentials already")
        sender = (
            None
            if webhook is None
            else WebhookSender(webhook, token=webhook_token, time_scale=self._time_scale)
        )
        point = PointOfSale(Queue(vouchers), sender)
        self._points[key] = point
        return point.queue

    @property
    def maintenance_until(self) -> datetime | None:
        """While it is set and lies ahead (aware), every call is answered by the maintenance envelope."""
        return self._maintenance_until

    @maintenance_until.setter
    def maintenance_until(self, until: datetime | None) -> None:
        if until is not None and until.tzinfo is None:
            raise ValueError("maintenance_until must be aware: give it a time zone")
        self._maintenance_until = until

    def lose_answer(self, reference: str) -> None:
        """Process the next billed call for this reference, and answer it with the CDN's HTML and 524."""
        self._lost.add(reference)

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

    def serve(self, port: int = 0) -> LoopbackServer:
        """A real server on loopback: ``async with sandbox.serve() as url``; the URL is a ``base_url``."""
        return LoopbackServer(self, port=port, path="app/api/")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._processing:
            task.cancel()
        await asyncio.gather(*self._processing, return_exceptions=True)
        for sender in self._senders():
            await sender.aclose()

    def _senders(self) -> list[WebhookSender]:
        return [point.sender for point in self._points.values() if point.sender is not None]

    async def drain(self) -> None:
        """Wait until every queued voucher is processed and every webhook is delivered or given up.

        Raises:
            Exception: What ``refuse`` raised.
        """
        while any(not task.done() for task in self._under_way()):
            await until_done(self._processing)
            for sender in self._senders():
                await sender.drain()
        if self._failures:
            raise self._failures.pop()

    def _under_way(self) -> list[asyncio.Task[None]]:
        return [*self._processing, *(task for sender in self._senders() for task in sender.tasks)]

    # -- HTTP -------------------------------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            body = await _read(receive)
            await asyncio.sleep(self.switches.latency)
            status, answer = self._route(scope["method"], scope["path"], body)
        finally:
            self._in_flight -= 1
        await _answer(send, status, answer)

    def _route(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any] | str]:
        call = path.rpartition("/v2/facturacion/")[2]
        if call not in _CALLS:
            return 404, "<h1>404 Not Found</h1>"
        if method != "POST":
            return 405, "<h1>405 Method Not Allowed</h1>"
        try:
            payload = json.loads(body)
        except (ValueError, RecursionError):
            payload = None
        if not isinstance(payload, dict):
            return 400, "<h1>400 Bad Request</h1>"
        return self._call(call, payload)

    def _call(self, call: str, payload: dict[str, Any]) -> tuple[int, dict[str, Any] | str]:
        apikey, apitoken, usertoken = (str(payload.get(name)) for name in ("apikey", "apitoken", "usertoken"))
        point = self._points.get((apikey, apitoken, usertoken))
        if point is None:
            return 401, {"error": "S", "errores": ["Credenciales invalidas."]}
        if self._too_fast(point):
            return 429, "<h1>429 Too Many Requests</h1>"
        return self._lookup(point, payload) if call == _LOOKUP else self._change(call, point, payload)

    def _too_fast(self, point: PointOfSale) -> bool:
        if self.switches.rate_limit is None:
            return False
        now = asyncio.get_running_loop().time()
        while point.recent and point.recent[0] <= now - 1.0:
            point.recent.popleft()
        if len(point.recent) >= self.switches.rate_limit:
            return True
        point.recent.append(now)
        return False

    def _maintenance(self) -> dict[str, Any] | None:
        until = self.maintenance_until
        if until is None or until <= utcnow():
            return None
        local = until.astimezone(_zone)
        return {
            "error": "S",
            "mantenimiento": 1,
            "mantenimiento_hasta": f"{local:%d/%m/%Y %H:%M}",
            "errores": [f"Estaremos realizando tareas de mantenimiento hasta las {local:%H:%M}"],
        }

    def _change(
        self, call: str, point: PointOfSale, payload: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | str]:
        """The billed calls: they change the queue."""
        if maintenance := self._maintenance():
            point.queue.billed_calls += 1
            return 200, maintenance
        reference = payload.get("external_reference")
        if call == "eliminar_encolado":
            answer = point.queue.delete(reference, _fecha(payload))
        elif call == "cambiar_fecha_encolado":
            answer = point.queue.change_date(reference, _fecha(payload))
        else:
            answer = point.queue.reprocess(reference)
        queued = answer["error"] == "N" and call != "eliminar_encolado"
        if queued and self.switches.process_after is not None:
            task = asyncio.create_task(self._process(point, str(reference)))
            self._processing.add(task)
            task.add_done_callback(self._processed)
        self._tell(point)
        if reference in self._lost:
            self._lost.discard(str(reference))
            return 524, "<html><title>524: A timeout occurred</title></html>"
        return 200, answer

    def _processed(self, task: asyncio.Task[None]) -> None:
        self._processing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failures.append(error)

    async def _process(self, point: PointOfSale, reference: str) -> None:
        await asyncio.sleep((self.switches.process_after or 0.0) / self._time_scale)
        reasons = self.switches.refuse(point.queue[reference])
        if texts := (reasons,) if isinstance(reasons, str) else tuple(reasons):
            point.queue.fail(reference, texts)
        else:
            point.queue.issue(reference)
        self._tell(point)

    @staticmethod
    def _tell(point: PointOfSale) -> None:
        for event in point.queue.take_events():
            if point.sender is not None:
                point.sender.send(event)

    def _lookup(self, point: PointOfSale, payload: dict[str, Any]) -> tuple[int, dict[str, Any] | str]:
        if maintenance := self._maintenance():
            return 200, maintenance
        wanted = payload.get("comprobante", {})
        match payload.get("busqueda_tipo"):
            case "EXT_REF":
                found = point.queue.find([wanted.get("external_reference")])
            case "EXT_REF_LIST":
                found = point.queue.find(wanted.get("external_reference_list", [])[:100])
            case "F":
                found = point.queue.find_date(_fecha(wanted))
            case "TN":
                numbers = (int(wanted[name]) for name in ("punto_venta", "numero_desde", "numero_hasta"))
                found = point.queue.find_numbers(wanted["tipo"], *numbers)
            case _:
                return 200, NOT_FOUND
        size = min(int(payload.get("limite", 100)), _MAX_PAGE)
        start = int(payload.get("pagina", 0)) * size
        return 200, {
            "error": "N",
            "errores": [],
            "rta": "OK",
            "total": len(found),
            "comprobantes": [voucher.as_wire() for voucher in found[start : start + size]],
        }


def _fecha(fields: dict[str, Any]) -> date:
    return datetime.strptime(fields["fecha"], "%d/%m/%Y").replace(tzinfo=_zone).date()


async def _read(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _answer(send: Send, status: int, answer: dict[str, Any] | str) -> None:
    if isinstance(answer, str):
        kind, body = b"text/html", answer.encode()
    else:
        kind, body = b"application/json", json.dumps(answer).encode()
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
