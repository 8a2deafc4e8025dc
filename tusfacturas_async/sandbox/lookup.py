"""The free lookup over a queue: what is searched, and one page of it. No I/O, no clock."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from .queue import NOT_FOUND, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .queue import Queue, StoredVoucher

    View = Callable[[StoredVoucher], StoredVoucher]

LOOKUP: Final = "consulta_avanzada"

_MAX_PAGE: Final = 1_000
_MAX_REFERENCES: Final = 100


class BadRequestError(Exception):
    """The service would not understand it: HTTP 400."""


def search(queue: Queue, payload: dict[str, Any], view: View) -> dict[str, Any]:
    """Answer one page of a lookup: ``total`` counts without paging, and the newest comes first.

    Args:
        queue: Where to look.
        payload: What was asked.
        view: From a voucher to what the lookup shows of it, which may lag behind.

    Raises:
        BadRequestError: A field is missing, or of the wrong kind.
    """
    wanted = payload.get("comprobante", {})
    if not isinstance(wanted, dict):
        raise BadRequestError("comprobante")
    size, page = min(_number(payload, "limite", 100), _MAX_PAGE), _number(payload, "pagina", 0)
    if size < 1 or page < 0:
        raise BadRequestError("limite, pagina")
    match payload.get("busqueda_tipo"):
        case "EXT_REF":
            found = _of_references(queue, [wanted.get("external_reference")], view)
        case "EXT_REF_LIST":
            references = wanted.get("external_reference_list")
            if not isinstance(references, list) or len(references) > _MAX_REFERENCES:
                raise BadRequestError("external_reference_list")
            found = _of_references(queue, references, view)
        case "F":
            found = _of_date(queue, fecha(wanted), view)
        case "TN":
            found = _of_numbers(queue, wanted, view)
        case _:
            return NOT_FOUND
    vouchers = [voucher for voucher in found if voucher.state is not State.DELETED]
    return {
        "error": "N",
        "errores": [],
        "rta": "OK",
        "total": len(vouchers),
        "comprobantes": [voucher.as_wire() for voucher in vouchers[page * size :][:size]],
    }


def _of_references(queue: Queue, references: list[Any], view: View) -> Iterator[StoredVoucher]:
    if not all(isinstance(reference, str) for reference in references):
        raise BadRequestError("external_reference")
    return map(view, queue.named(references))


def _of_date(queue: Queue, day: date, view: View) -> Iterator[StoredVoucher]:
    return (seen for seen in map(view, reversed(queue.vouchers)) if seen.fecha == day)


def _of_numbers(queue: Queue, wanted: dict[str, Any], view: View) -> Iterator[StoredVoucher]:
    place = wanted.get("tipo"), _number(wanted, "punto_venta")
    first, last = _number(wanted, "numero_desde"), _number(wanted, "numero_hasta")
    return (
        seen
        for seen in map(view, reversed(queue.vouchers))
        if (seen.tipo, seen.punto_venta) == place and first <= (seen.numero or 0) <= last
    )


def _number(fields: dict[str, Any], name: str, otherwise: int | None = None) -> int:
    try:
        return int(fields[name] if otherwise is None or name in fields else otherwise)
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequestError(name) from error


def fecha(fields: dict[str, Any], name: str = "fecha") -> date:
    """A date as the wire writes it.

    Raises:
        BadRequestError: It is none.
    """
    try:
        return datetime.strptime(fields[name], "%d/%m/%Y").date()  # noqa: DTZ007 - a date has no zone
    except (KeyError, TypeError, ValueError) as error:
        raise BadRequestError(name) from error


class Past:
    """When each voucher was seen to have changed, so that a lookup can show what it was some time ago."""

    def __init__(self) -> None:
        self._seen: dict[int, list[float]] = {}  # by identity: a queue keeps its vouchers

    def note(self, voucher: StoredVoucher, now: float) -> None:
        """What has changed in it up to now was seen now, unless it was seen before."""
        seen = self._seen.setdefault(id(voucher), [])
        seen.extend([now] * (len(voucher.before) - len(seen)))

    def as_of(self, voucher: StoredVoucher, then: float) -> StoredVoucher:
        """The voucher as it was."""
        for before, seen in zip(voucher.before, self._seen.get(id(voucher), ()), strict=False):
            if seen > then:
                return before
        return voucher
