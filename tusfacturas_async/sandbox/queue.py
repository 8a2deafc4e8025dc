"""The voucher queue of one *punto de venta*, as a pure state machine. No I/O, no clock, no JSON text.

It answers with the payloads that the service documents, and counts what the service would bill. It shares
no code with ``_wire``: a shared codec would hide a shared mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from attrs import Attribute, define, evolve, field, frozen, setters

NOT_FOUND_TEXT: Final = "No se han encontrado comprobantes."
NOT_FOUND: dict[str, Any] = {"error": "S", "errores": [NOT_FOUND_TEXT]}

ZONE: Final = timezone(timedelta(hours=-3))
"""Argentina keeps UTC-3 all year."""

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,255}")


class State(StrEnum):
    """Where a voucher stands; the values are the wire's ``status`` where it has one."""

    ERRORED = "ENVIADO A PROCESAR - CON ERROR"
    QUEUED = "EN COLA, ESPERANDO APROBACION"
    SCHEDULED = "APROBADO Y EN COLA"
    ISSUED = "EMITIDO"
    DELETED = "deleted"


def _remember(voucher: StoredVoucher, _: Attribute[Any], value: object) -> object:
    voucher.before.append(evolve(voucher))
    return value


@define(on_setattr=_remember)
class StoredVoucher:
    """One voucher of the sandbox; ``numero`` is given when it is issued.

    Attributes:
        before: What it was before each change, oldest first: a lookup that lags shows it.
    """

    external_reference: str
    state: State = State.ERRORED
    tipo: str = "FACTURA B"
    fecha: date = date(2026, 3, 18)
    total: Decimal = Decimal("1210.00")
    punto_venta: int = 1
    numero: int | None = None
    cae: str | None = None
    before: list[StoredVoucher] = field(
        init=False, factory=list, eq=False, repr=False, on_setattr=setters.NO_OP
    )

    def as_wire(self) -> dict[str, Any]:
        """The voucher as one entry of a lookup's ``comprobantes``."""
        fecha = f"{self.fecha:%d/%m/%Y}"
        status = f"{self.state}. SE EMITE EL {fecha}" if self.state is State.SCHEDULED else str(self.state)
        comprobante = {
            "external_reference": self.external_reference,
            "tipo": self.tipo,
            "punto_venta": self.punto_venta,
            "numero": self.numero or 0,
            "fecha": fecha,
            "total": float(self.total),
            "cae": f"{self.cae or ''} ",  # the service pads it
            "vencimiento_cae": fecha if self.cae else "",
            "comprobante_pdf_url": "https://sandbox.invalid/voucher.pdf" if self.cae else "",
            "status": status,
        }
        return {"cliente": {"razon_social": "Sandbox"}, "comprobante": comprobante}


@frozen
class Event:
    """Something that the service tells by webhook."""

    evento: str
    external_reference: str
    msg: tuple[str, ...] = ()


class Queue:
    """One point of sale's vouchers, in the order in which they were first sent.

    Attributes:
        billed_calls: Calls that the service would have billed.
        resent: References whose re-send took effect, in order, repeats included.
        events: What happened and was not yet taken with ``take_events``.
    """

    def __init__(self, vouchers: Iterable[StoredVoucher | str] = ()) -> None:
        self.vouchers: list[StoredVoucher] = []
        self.billed_calls: int = 0
        self.resent: list[str] = []
        self.events: list[Event] = []
        self._by_reference: dict[str, list[int]] = {}
        if isinstance(vouchers, str | bytes):
            raise TypeError(f"vouchers must be a list of them, not {type(vouchers).__name__}")
        for voucher in vouchers:
            self.add(voucher)

    def add(self, voucher: StoredVoucher | str) -> StoredVoucher:
        """Put a voucher in; a bare reference means an errored voucher.

        Raises:
            TypeError: It is neither.
        """
        if not isinstance(voucher, StoredVoucher | str):
            raise TypeError(f"a voucher must be a StoredVoucher or a text, not {type(voucher).__name__}")
        stored = StoredVoucher(voucher) if isinstance(voucher, str) else voucher
        self._by_reference.setdefault(stored.external_reference, []).append(len(self.vouchers))
        self.vouchers.append(stored)
        return stored

    def __getitem__(self, reference: str) -> StoredVoucher:
        return self.vouchers[self._by_reference[reference][0]]  # "the first one found is taken"

    def get(self, reference: object) -> StoredVoucher | None:
        """The first voucher of this reference, or ``None``."""
        return self[str(reference)] if str(reference) in self._by_reference else None

    def take_events(self) -> list[Event]:
        """The events since the last call."""
        taken, self.events = self.events, []
        return taken

    def reprocess(
        self, reference: object, otherwise: Mapping[State, str | None] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Answer a re-send. It is billed, whatever the answer (vendor, 2026).

        Args:
            reference: As it came.
            otherwise: What re-sending a voucher in another state than errored is answered, which nobody
                documents: a refusal's text, or ``None`` for "N". "Not found" where it does not say.
        """
        self.billed_calls += 1
        if not isinstance(reference, str) or not _REFERENCE.fullmatch(reference):
            text = "El campo external_reference contiene caracteres no permitidos."
            details = [{"code": "TFC-8002", "text": text}]
            if self.get(reference) is None:
                return {"error": "S", "errores": [text], "error_details": details}
        voucher = self.get(reference)
        if voucher is None or voucher.state is State.DELETED:
            return NOT_FOUND
        if voucher.state is not State.ERRORED:
            refusal = otherwise.get(voucher.state, NOT_FOUND_TEXT)
            return {"error": "N", "errores": []} if refusal is None else {"error": "S", "errores": [refusal]}
        voucher.state = State.QUEUED
        self.resent.append(voucher.external_reference)
        self.events.append(Event("encolado", voucher.external_reference))
        return {"error": "N", "errores": []}

    def delete(self, reference: object, fecha: date) -> dict[str, Any]:
        """Answer a deletion, which is billed; with several of one reference it can succeed in part."""
        self.billed_calls += 1
        found = [v for v in self.find([str(reference)]) if v.fecha == fecha]
        deleted = [v for v in found if v.state is not State.ISSUED]
        if not deleted:
            return NOT_FOUND
        for voucher in deleted:
            voucher.state = State.DELETED
        self.events.append(Event("eliminado", str(reference)))
        kept = [f"El comprobante {v.tipo} {v.numero} ya fue emitido. " for v in found if v not in deleted]
        return {
            "error": "PARCIAL" if kept else "N",
            "errores": kept,
            "procesados_cant": len(deleted),
            "procesados": [f"Se elimino {v.tipo} {v.external_reference}" for v in deleted],
        }

    def change_date(self, reference: object, fecha: date) -> dict[str, Any]:
        """Answer a change of date, which is billed; the voucher is processed again."""
        self.billed_calls += 1
        voucher = self.get(reference)
        if voucher is None or voucher.state in {State.ISSUED, State.DELETED}:
            return NOT_FOUND
        voucher.fecha, voucher.state = fecha, State.QUEUED
        self.events.append(Event("cambio_fecha", voucher.external_reference))
        return {"error": "N", "errores": []}

    def issue(self, reference: str) -> None:
        """ARCA authorises a queued voucher."""
        voucher = self._queued(reference)
        voucher.state = State.ISSUED
        voucher.numero = 1 + max((v.numero or 0 for v in self.vouchers if v.tipo == voucher.tipo), default=0)
        voucher.cae = f"6530{voucher.numero:010d}"
        self.events.append(Event("emitido", reference))

    def fail(self, reference: str, texts: Sequence[str]) -> None:
        """ARCA refuses a queued voucher, for these reasons."""
        self._queued(reference).state = State.ERRORED
        self.events.append(Event("error", reference, tuple(texts)))

    def _queued(self, reference: str) -> StoredVoucher:
        voucher = self[reference]
        if voucher.state is not State.QUEUED:
            raise ValueError(f"{reference!r} is not queued but {voucher.state.name}")
        return voucher

    def named(self, references: Iterable[str]) -> list[StoredVoucher]:
        """The vouchers of these references, deleted ones too, newest first as the service lists them."""
        places = {place for name in set(references) for place in self._by_reference.get(name, ())}
        return [self.vouchers[place] for place in sorted(places, reverse=True)]

    def find(self, references: Iterable[str]) -> list[StoredVoucher]:
        """The vouchers of these references that are not deleted, newest first."""
        return [voucher for voucher in self.named(references) if voucher.state is not State.DELETED]
