"""The events as models, and the parsing of a delivery's body. No I/O, no tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import field, frozen

from .._wire import convert
from ..errors import MalformedWebhookError


@frozen(kw_only=True)
class WebhookEvent:
    """What every event has; the attributes keep the wire's names. Fit for ``match``.

    Attributes:
        external_reference: The voucher's reference; always there on events of ``facturacion``.
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


_KINDS: Final[Mapping[str, type[WebhookEvent]]] = {
    "encolado": EncoladoWebhook,
    "emitido": EmitidoWebhook,
    "error": ErrorWebhook,
    "eliminado": EliminadoWebhook,
    "cambio_fecha": CambioFechaWebhook,
}


def parse_webhook(body: bytes) -> WebhookEvent:
    """Read a delivery's body. It says nothing of who sent it: see ``receive_webhook``.

    Raises:
        MalformedWebhookError: It is no JSON object, has no ``evento``, or is about a voucher and names none.
    """
    payload = convert.decode_object(body)
    if payload is None:
        raise MalformedWebhookError("the webhook's body is not a JSON object")
    evento, recurso = convert.text(payload.get("evento")), convert.text(payload.get("recurso"))
    reference = convert.text(payload.get("external_reference")) or None
    if not evento:
        raise MalformedWebhookError("the webhook has no 'evento'")
    kind: type[WebhookEvent] = UnknownWebhook
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
        "hook_id": convert.text(payload.get("hook_id")) or None,
        "creado": convert.text(payload.get("creado")),
        "evento": evento,
        "recurso": recurso,
        "raw": payload,
    }
    return kind(**fields)
