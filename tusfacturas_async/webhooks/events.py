"""The events as models, and the parsing of a delivery's body. No I/O, no tokens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from .. import _wire
from ..errors import MalformedWebhookError


@frozen
class EncoladoWebhook:
    """The voucher was put in the queue again (seed).

    Attributes:
        external_reference: The voucher's reference.
        created_at: ``creado`` as an aware time (UTC-3), or ``None`` when it is missing or unreadable.
        intento: The wire's counter, or ``None``; what it counts is not stated.
        msg: Texts, often none.
        hook_id: The delivery's identifier, or ``None``; whether a redelivery keeps it is not stated.
        creado: The wire's own text.
        raw: The decoded payload, untouched.
    """

    external_reference: str
    created_at: datetime | None = None
    intento: int | None = None
    msg: tuple[str, ...] = ()
    hook_id: str | None = None
    creado: str = ""
    evento: str = "encolado"
    recurso: str = "facturacion"
    raw: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)


def parse_webhook(body: bytes) -> EncoladoWebhook:
    """Read the body of an ``encolado`` delivery.

    Raises:
        MalformedWebhookError: It is no JSON object, no ``encolado`` event, or names no voucher.
    """
    payload = _wire.decode_object(body)
    if payload is None:
        raise MalformedWebhookError("the webhook's body is not a JSON object")
    recurso, evento = _wire.text(payload.get("recurso")), _wire.text(payload.get("evento"))
    if (recurso, evento) != ("facturacion", "encolado"):
        raise MalformedWebhookError(
            f"the webhook is no 'encolado' event of 'facturacion' but {evento[:40]!r}"
        )
    reference = _wire.text(payload.get("external_reference"))
    if not reference:
        raise MalformedWebhookError("the webhook has no external_reference")
    return EncoladoWebhook(
        external_reference=reference,
        created_at=_wire.dd_mm_yyyy_time(payload.get("creado")),
        intento=_wire.whole_number(payload.get("intento")),
        msg=_wire.texts(payload.get("msg")),
        hook_id=_wire.text(payload.get("hook_id")) or None,
        creado=_wire.text(payload.get("creado")),
        raw=payload,
    )
