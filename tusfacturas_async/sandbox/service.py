"""What the service answers to one call, over the queues of its points of sale. No HTTP, no webhooks."""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from attrs import frozen

from .._call.waiting import now
from .delivery import WebhookSender
from .lookup import LOOKUP, BadRequestError, Past, fecha, search
from .queue import ZONE, Queue, State, StoredVoucher
from .switches import Switches

CALLS: Final = {"reenviar_encolado", "eliminar_encolado", "cambiar_fecha_encolado", LOOKUP}


class Answer(NamedTuple):
    """What is answered: an envelope, or a page of HTML."""

    status: int
    content: object
    headers: tuple[tuple[bytes, bytes], ...] = ()


LOST: Final = Answer(524, "<html><title>524: A timeout occurred</title></html>")
BAD_REQUEST: Final = Answer(400, "<h1>400 Bad Request</h1>")


@frozen
class Call:
    """One call that was answered.

    Attributes:
        at: When (aware).
        name: The path's last part: ``reenviar_encolado``, ``consulta_avanzada``, …
        references: The references that it names.
        status: The HTTP status of the answer.
        answer: The envelope that was sent; ``None`` where it was a page of HTML.
        billed: What it was billed: 1, or 0.
        lost: ``"before"`` or ``"after"`` the work was done, or empty.
    """

    at: datetime
    name: str
    references: tuple[str, ...]
    status: int
    answer: dict[str, Any] | None
    billed: int
    lost: str


class PointOfSale:
    """One set of credentials with its queue, its rate and its webhook."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.sender: WebhookSender | None = None
        self.recent: deque[float] = deque()
        self.tries: Counter[str] = Counter()


class Service:
    """Answers calls of points of sale.

    Args:
        switches: How; looked at with each call.
        time_scale: Service seconds in one real second.
        clock: The wall clock.

    Attributes:
        points: By apikey, apitoken and usertoken.
        losing: References whose next billed call is processed, and its answer lost.
    """

    def __init__(self, switches: Switches, time_scale: float, clock: Callable[[], datetime]) -> None:
        self.switches = switches
        self.points: dict[tuple[str, str, str], PointOfSale] = {}
        self.losing: set[str] = set()
        self._time_scale = time_scale
        self._clock = clock
        self._past = Past()

    def now(self) -> datetime:
        """What the service's clock shows (aware)."""
        return self._clock() + timedelta(seconds=self.switches.clock_ahead)

    def point_of(self, payload: dict[str, Any]) -> PointOfSale | None:
        """The point of sale whose credentials these are; ``apikey`` may be a number."""
        apikey, apitoken, usertoken = (str(payload.get(name)) for name in ("apikey", "apitoken", "usertoken"))
        return self.points.get((apikey, apitoken, usertoken))

    def answer(self, name: str, point: PointOfSale, payload: dict[str, Any]) -> tuple[Answer, Call]:
        """Answer one call, and tell what it came to."""
        references = _references(payload)
        billed, lost = point.queue.billed_calls, ""
        if self._too_fast(point):
            answer = self._refused()
        elif (lost := self._lot(name, point, references)) == "before":
            answer = LOST
        else:
            try:
                answer = Answer(200, self._work(name, point, payload))
            except BadRequestError:
                answer = BAD_REQUEST
            if lost:
                answer = LOST
        content = answer.content if isinstance(answer.content, dict) else None
        billed = point.queue.billed_calls - billed
        return answer, Call(self._clock(), name, references, answer.status, content, billed, lost)

    def _work(self, name: str, point: PointOfSale, payload: dict[str, Any]) -> object:
        maintenance = self._maintenance()
        if name == LOOKUP:
            if maintenance is not None and not self.switches.lookup_in_maintenance:
                return maintenance
            return self.switches.lookup_answer(search(point.queue, payload, self._as_looked_up))
        if maintenance is not None:
            point.queue.billed_calls += 1
            return maintenance
        answer = self._change(name, point.queue, payload)
        self.note(point.queue.named([str(payload.get("external_reference"))]))
        return answer

    def _change(self, name: str, queue: Queue, payload: dict[str, Any]) -> dict[str, Any]:
        reference = payload.get("external_reference")
        if name == "eliminar_encolado":
            return queue.delete(reference, fecha(payload))
        if name == "cambiar_fecha_encolado":
            fecha(payload, "vencimiento")
            return queue.change_date(reference, fecha(payload))
        queued, issued = self.switches.resend_queued, self.switches.resend_issued
        otherwise = {State.QUEUED: queued, State.SCHEDULED: queued, State.ISSUED: issued}
        return queue.reprocess(reference, otherwise)

    # -- what goes wrong --------------------------------------------------------------------------

    def _too_fast(self, point: PointOfSale) -> bool:
        if self.switches.rate_limit is None:
            return False
        at = now()
        while point.recent and point.recent[0] <= at - 1.0:
            point.recent.popleft()
        if len(point.recent) >= self.switches.rate_limit:
            return True
        point.recent.append(at)
        return False

    def _refused(self) -> Answer:
        seconds = self.switches.retry_after
        headers = () if seconds is None else ((b"retry-after", str(seconds).encode()),)
        return Answer(429, "<h1>429 Too Many Requests</h1>", headers)

    def _lot(self, name: str, point: PointOfSale, references: tuple[str, ...]) -> str:
        """Where this call is lost: decided by what it asks and by which try it is, whatever else runs."""
        before, after = self.switches.lose_before, self.switches.lose_after
        if name == LOOKUP:
            before, after = self.switches.lose_lookups, 0.0
        elif not self.losing.isdisjoint(references):
            self.losing.difference_update(references)
            return "after"
        elif self.switches.lose_next:
            self.switches.lose_next -= 1
            return "after"
        if not before + after:
            return ""
        what = f"{name} {' '.join(references)}"
        point.tries[what] += 1
        dice = random.Random(f"{self.switches.seed} {what} {point.tries[what]}")  # noqa: S311 - to be repeated
        lot = dice.random()
        return "before" if lot < before else "after" if lot < before + after else ""

    def _maintenance(self) -> dict[str, Any] | None:
        until = self.switches.maintenance_until
        if not self.switches.maintenance and (until is None or until <= self.now()):
            return None
        told: dict[str, Any] = {"error": "S", "mantenimiento": 1}
        text = "Estaremos realizando tareas de mantenimiento"
        if until is not None:
            local = until.astimezone(ZONE)
            told["mantenimiento_hasta"] = f"{local:%d/%m/%Y %H:%M}"
            text += f" hasta las {local:%H:%M}"
        return {**told, "errores": [text]}

    # -- lookups that lag -------------------------------------------------------------------------

    def note(self, vouchers: list[StoredVoucher]) -> None:
        """These may have changed just now."""
        now = self._seconds()
        for voucher in vouchers:
            self._past.note(voucher, now)

    def _as_looked_up(self, voucher: StoredVoucher) -> StoredVoucher:
        if not self.switches.lookup_lag:
            return voucher
        now = self._seconds()
        self._past.note(voucher, now)
        return self._past.as_of(voucher, now - self.switches.lookup_lag)

    def _seconds(self) -> float:
        return now() * self._time_scale


def _references(payload: dict[str, Any]) -> tuple[str, ...]:
    comprobante = payload.get("comprobante")
    fields = comprobante if isinstance(comprobante, dict) else payload
    listed = fields.get("external_reference_list")
    named = listed if isinstance(listed, list) else [fields.get("external_reference")]
    return tuple(str(reference) for reference in named if reference is not None)
