"""What an answer says: status, headers and body as evidence, as the error to raise, as models.

Whatever bytes come, nothing here raises.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import (
    AuthenticationError,
    MaintenanceError,
    PartialDeletionError,
    RateLimitError,
    RejectedError,
    ServiceError,
    TusFacturasError,
    UnexpectedResponseError,
    VoucherNotFoundError,
)
from ..models import DeletionResponse, ErrorDetail, ReprocessResponse, Voucher, VoucherStatus
from ..results import Evidence
from .convert import (
    dd_mm_yyyy,
    dd_mm_yyyy_time,
    decode_object,
    flag_sn,
    forgiving,
    identifier,
    money,
    retry_after,
    text,
    texts,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

_REFUSED_AT_THE_DOOR = frozenset({400, 404, 405})


class Answer(NamedTuple):
    """What one HTTP answer says.

    Attributes:
        evidence: What it proves about the request.
        payload: The decoded envelope, when a well-formed one came.
        error: What stands in the way of a plain success, or ``None``.
        retry_after: Seconds that the service asked to wait.
    """

    evidence: Evidence
    payload: dict[str, Any] | None = None
    error: TusFacturasError | None = None
    retry_after: float | None = None


def read_answer(  # noqa: PLR0911 - one for each kind of answer
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    decode: Callable[[bytes], dict[str, Any] | None] = decode_object,
    now: Callable[[], datetime],
    partial: bool = False,
) -> Answer:
    """Tell what an answer proves. Whatever bytes come, this returns.

    Args:
        status: The HTTP status.
        headers: The answer's headers, their names in lower case.
        body: The bytes, decompressed.
        decode: Finds the JSON object in them (``Codec.decode`` knows what to blank).
        now: Tells the time against which a ``Retry-After`` date counts.
        partial: Whether ``"PARCIAL"`` is an answer here: it is documented for deletion alone.
    """
    if status == 200:  # noqa: PLR2004 - "only 200 carries an answer" (vendor, 2025)
        payload = decode(body)
        if partial and payload and text(payload.get("error")).upper() == "PARCIAL":
            return Answer(Evidence.ANSWERED, payload, _partial_deletion(payload))
        return _read_envelope(payload, status)
    wait = retry_after(headers.get("retry-after"), now())
    if status == 429:  # noqa: PLR2004 - the edge refuses it unprocessed
        return Answer(
            Evidence.NOT_SENT,
            error=RateLimitError("too many requests (HTTP 429)", retry_after=wait),
            retry_after=wait,
        )
    if status in {401, 403}:
        refusal = AuthenticationError(
            f"the service denies access (HTTP {status}): check the credentials", status_code=status
        )
        return Answer(Evidence.ANSWERED, error=refusal)
    if status in _REFUSED_AT_THE_DOOR:
        envelope = _read_envelope(decode(body), status)
        if isinstance(envelope.error, ServiceError):
            return envelope
        return Answer(Evidence.ANSWERED, error=_unexpected(status, "the service refused the request"))
    return Answer(Evidence.MAYBE_SENT, error=_unexpected(status, "no usable answer"), retry_after=wait)


def _unexpected(status: int, what: str) -> UnexpectedResponseError:
    return UnexpectedResponseError(f"{what} (HTTP {status})", status_code=status)


def _read_envelope(payload: dict[str, Any] | None, status: int) -> Answer:
    flag = flag_sn(payload.get("error")) if payload else None
    if payload is None or flag is None:
        what = "the answer is not JSON" if payload is None else "the answer is no envelope that we know"
        return Answer(Evidence.MAYBE_SENT, error=_unexpected(status, what))
    if flag == "N" and _maintained(payload):
        contradiction = "the answer contradicts itself: no error, and maintenance"
        return Answer(Evidence.MAYBE_SENT, error=_unexpected(status, contradiction))
    return Answer(Evidence.ANSWERED, payload, None if flag == "N" else _service_error(payload))


def _partial_deletion(payload: dict[str, Any]) -> PartialDeletionError:
    response = deletion_response(payload)
    kept, deleted = "; ".join(response.errores), "; ".join(response.procesados)
    error = PartialDeletionError(
        f"deleted in part: {deleted or '?'}; not deleted: {kept or '?'}",
        errores=response.errores,
        details=response.error_details,
    )
    error.procesados = response.procesados
    return error


def _service_error(payload: dict[str, Any]) -> ServiceError:
    response = reprocess_response(payload)
    errores, details = response.errores, response.error_details
    said = "; ".join(errores) or "; ".join(f"{d.code} {d.text}".strip() for d in details)
    if response.mantenimiento:
        until = response.mantenimiento_hasta
        message = said or "the service is under maintenance"
        return MaintenanceError(message, until=until, errores=errores, details=details)
    if any(map(is_not_found, errores)):
        return VoucherNotFoundError(said, errores=errores, details=details)
    return RejectedError(said or "the service refused it without a reason", errores=errores, details=details)


def is_not_found(said: str) -> bool:
    """Whether this is the service's text for a voucher that it does not have."""
    return forgiving(said) == "no se han encontrado comprobantes"


def reprocess_response(payload: dict[str, Any]) -> ReprocessResponse:
    """The envelope as a model; every field is tolerant."""
    return ReprocessResponse(*_envelope(payload), raw=payload)


def deletion_response(payload: dict[str, Any]) -> DeletionResponse:
    """The envelope of a deletion as a model."""
    return DeletionResponse(
        *_envelope(payload),
        raw=payload,
        procesados=texts(payload.get("procesados")),
        procesados_cant=whole_number(payload.get("procesados_cant")),
    )


def _envelope(
    payload: dict[str, Any],
) -> tuple[str, tuple[str, ...], tuple[ErrorDetail, ...], bool, datetime | None]:
    error = payload.get("error")
    return (
        flag_sn(error) or text(error),
        texts(payload.get("errores")),
        _details(payload.get("error_details")),
        _maintained(payload),
        dd_mm_yyyy_time(payload.get("mantenimiento_hasta")),
    )


def _maintained(payload: dict[str, Any]) -> bool:
    told = payload.get("mantenimiento")
    return told is True or text(told).upper() in {"1", "S"}


def _details(entries: object) -> tuple[ErrorDetail, ...]:
    if not isinstance(entries, list):
        return ()
    found = (entry for entry in entries if isinstance(entry, dict))
    return tuple(ErrorDetail(text(entry.get("code")), text(entry.get("text"))) for entry in found)


class Page(NamedTuple):
    """One page of a lookup's answer, in the service's order, and how many vouchers there are on all pages.

    Attributes:
        vouchers: Those on this page.
        total: ``None`` when the service did not say.
    """

    vouchers: list[Voucher]
    total: int | None = None


def read_page(payload: dict[str, Any]) -> Page | None:
    """A lookup's page, every entry of it understood; ``None`` when it is not, and then it proves nothing."""
    entries, told = payload.get("comprobantes"), payload.get("total")
    if not isinstance(entries, list):
        return None
    inner = [entry["comprobante"] for entry in entries if isinstance(entry, dict) and "comprobante" in entry]
    if len(inner) < len(entries) or not all(isinstance(fields, dict) for fields in inner):
        return None
    total = whole_number(told)
    readable = told is None if total is None else total >= len(entries)
    return Page([voucher(fields) for fields in inner], total) if readable else None


def voucher(fields: dict[str, Any]) -> Voucher:
    """One ``comprobante`` as a model."""
    status, scheduled_for = voucher_status(text(fields.get("status")))
    return Voucher(
        external_reference=identifier(fields.get("external_reference")) or None,
        status=status,
        scheduled_for=scheduled_for,
        tipo=text(fields.get("tipo")) or None,
        punto_venta=whole_number(fields.get("punto_venta")),
        numero=whole_number(fields.get("numero")),
        fecha=dd_mm_yyyy(fields.get("fecha")),
        total=money(fields.get("total")),
        cae=text(fields.get("cae")) or None,
        vencimiento_cae=dd_mm_yyyy(fields.get("vencimiento_cae")),
        comprobante_pdf_url=text(fields.get("comprobante_pdf_url")) or None,
        raw=fields,
    )


_STATUSES = {forgiving(status): status for status in VoucherStatus}
_SCHEDULED = re.compile(re.escape(forgiving(VoucherStatus.SCHEDULED)) + r"\. se emite el (\d\d/\d\d/\d{4})")


def voucher_status(written: str) -> tuple[VoucherStatus | str, date | None]:
    """The documented status that this text is, and its date; an unknown text stays as it is."""
    compared = forgiving(written)
    if scheduled := _SCHEDULED.fullmatch(compared):
        return VoucherStatus.SCHEDULED, dd_mm_yyyy(scheduled[1])
    return _STATUSES.get(compared, written), None
