"""The events as models, and the parsing of a delivery's body. No I/O, no tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from .._data import Data
from .._wire import convert
from ..errors import MalformedWebhookError


@frozen(kw_only=True)
class WebhookEvent(Data):
    """What every event has; the attributes keep the wire's names. Fit for ``match``.

    Attributes:
        external_reference: The voucher's reference as it came; always there on events of ``facturacion``.
        created_at: ``creado`` as an aware time (UTC-3), or ``None`` when it is missing or unreadable.
        intento: The wire's counter, or ``None``; what it counts is not stated.
        msg: Texts: the reasons of an ``error``, else often none.
        hook_id: The wire's identifier, or ``None``; whether a redelivery keeps it is not stated.
        creado: The wire's own text of the time.
        evento: The wire's name of the event.
        recurso: What it is about.
        raw: The decoded payload, untouched.
    """

    external_reference: str | None
    created_at: datetime | None = None
    intento: int | None = None
    msg: tuple[str, ...] = ()
    hook_id: str | None = None
    creado: str = ""
    evento: str = ""
    recurso: str = "facturacion"
    raw: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)


@frozen(kw_only=True)
class EncoladoWebhook(WebhookEvent):
    """The voucher was put in the queue again (seed)."""

    external_reference: str
    evento: str = "encolado"


@frozen(kw_only=True)
class EmitidoWebhook(WebhookEvent):
    """The voucher is issued: it has its CAE."""

    external_reference: str
    evento: str = "emitido"


@frozen(kw_only=True)
class ErrorWebhook(WebhookEvent):
    """The voucher could not be issued; ``msg`` says why, and it waits for a re-send."""

    external_reference: str
    evento: str = "error"


@frozen(kw_only=True)
class EliminadoWebhook(WebhookEvent):
    """The voucher was deleted from the queue."""

    external_reference: str
    evento: str = "eliminado"


@frozen(kw_only=True)
class CambioFechaWebhook(WebhookEvent):
    """The voucher's date was changed, and it is processed again."""

    external_reference: str
    evento: str = "cambio_fecha"


@frozen(kw_only=True)
class TestWebhook(WebhookEvent):
    """The vendor's panel probes the URL; most fields may be missing."""

    __test__ = False  # pytest collects classes of this name

    external_reference: str | None = None
    evento: str = "test"
    recurso: str = "test"


@frozen(kw_only=True)
class UnknownWebhook(WebhookEvent):
    """An event that nobody has documented yet; ``raw`` has it all."""

    external_reference: str | None = None


AnyWebhookEvent: TypeAlias = (
    EncoladoWebhook
    | EmitidoWebhook
    | ErrorWebhook
    | EliminadoWebhook
    | CambioFechaWebhook
    | TestWebhook
    | UnknownWebhook
)
"""Every kind of event that there is: closed, so that ``assert_never`` can end a ``match``."""

_KINDS: Final[Mapping[str, type[AnyWebhookEvent]]] = {
    "encolado": EncoladoWebhook,
    "emitido": EmitidoWebhook,
    "error": ErrorWebhook,
    "eliminado": EliminadoWebhook,
    "cambio_fecha": CambioFechaWebhook,
}


_DEEPEST: Final = 32
"""How deep a payload may be nested. A real one has two levels, and what is kept is written and read again."""

_UNTELLABLE: Final = frozenset({MINYEAR, MAXYEAR})
"""Years with moments that some time zone cannot tell: converting them overflows."""


def parse_webhook(body: bytes) -> AnyWebhookEvent:
    """Read a delivery's body. It says nothing of who sent it: see ``receive_webhook``.

    Raises:
        MalformedWebhookError: It is no JSON object, or says a thing twice, is nested deeper than 32 levels,
            holds a number without a value, has no ``evento``, has a ``creado`` of the year 1 or 9999, or is
            about a voucher and names none that can be written down.
    """
    payload = convert.decode_object(body, _each_once)
    if payload is None:
        raise MalformedWebhookError("the webhook's body is not a JSON object that says each thing once")
    _check_keepable(payload)
    event = read_event(payload)
    if event.created_at is not None and event.created_at.year in _UNTELLABLE:
        raise MalformedWebhookError(f"the webhook's 'creado' is of the year {event.created_at.year}")
    if not _is_text(event.external_reference or ""):
        raise MalformedWebhookError("the webhook's 'external_reference' has half a character in it")
    return event


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Which of two was meant, nobody can tell; another reader of the same bytes takes the other one."""
    named = dict(pairs)
    if len(named) != len(pairs):
        raise ValueError("a name comes twice")
    return named


def _check_keepable(payload: object) -> None:
    """An event is kept as JSON and read again: what would not survive that is refused before it is kept."""
    level: list[Any] = [payload]
    for _ in range(_DEEPEST):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            raise MalformedWebhookError("the webhook has a number without a value")
        inner = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [value for values in inner for value in values]
        if not level:
            return
    raise MalformedWebhookError(f"the webhook is nested deeper than {_DEEPEST} levels")


def read_event(payload: Mapping[str, Any]) -> AnyWebhookEvent:
    """The event of a decoded payload; one that was kept is read here, as it was good enough to be kept.

    Raises:
        MalformedWebhookError: It has no ``evento``, or is about a voucher and names none.
    """
    evento, recurso = convert.text(payload.get("evento")), convert.text(payload.get("recurso"))
    reference = convert.identifier(payload.get("external_reference")) or None
    if not evento:
        raise MalformedWebhookError("the webhook has no 'evento'")
    kind: type[AnyWebhookEvent] = UnknownWebhook
    if recurso.lower() == "facturacion":
        if reference is None:
            raise MalformedWebhookError("the webhook is about a voucher and has no 'external_reference'")
        kind = _KINDS.get(evento.lower(), kind)
    elif evento.lower() == "test":
        kind = TestWebhook
    fields: dict[str, Any] = {
        "external_reference": reference,
        "created_at": convert.dd_mm_yyyy_time(payload.get("creado")),
        "intento": convert.whole_number(payload.get("intento")),
        "msg": convert.texts(payload.get("msg")),
        "hook_id": convert.identifier(payload.get("hook_id")) or None,
        "creado": convert.text(payload.get("creado")),
        "evento": evento,
        "recurso": recurso,
        "raw": payload,
    }
    return kind(**fields)


def _is_text(value: str) -> bool:
    """Whether it can be written down: half of a surrogate pair cannot, and "?" would be another's name."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
