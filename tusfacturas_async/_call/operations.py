"""What can be asked of one queued voucher: path, fields, and what a lookup must show for it to be done.

The way of asking is the same for all (``_call``).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .._wire import codec as wire
from ..models import ReprocessRequest, ReprocessResponse, Voucher, VoucherStatus
from ..results import CallResult, DateChangeResult, DeletionResult, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

R = TypeVar("R", bound=CallResult)


class Verdict(Enum):
    """What the vouchers that a lookup found say of a request whose answer was lost."""

    DONE = auto()
    """It took effect."""
    ABSENT = auto()
    """There is no such voucher."""
    UNDONE = auto()
    """It took no effect, so far."""
    UNCLEAR = auto()
    """They do not tell."""


class Operation(NamedTuple, Generic[R]):
    """One request about one voucher.

    Attributes:
        name: For messages.
        path: Below the base URL.
        fields: Beside the credentials.
        verdict: What found vouchers say of a lost answer.
        response: From a payload to the model of the answer.
        result: The class of the result.
    """

    name: str
    path: str
    external_reference: str
    fields: Mapping[str, str]
    verdict: Callable[[Sequence[Voucher]], Verdict]
    response: Callable[[dict[str, Any]], ReprocessResponse]
    result: type[R]


def resend(request: ReprocessRequest) -> Operation[ReprocessResult]:
    """Re-send an errored voucher (seed)."""

    def verdict(found: Sequence[Voucher]) -> Verdict:
        if not found:
            return Verdict.ABSENT
        if all(voucher.accepted for voucher in found):
            return Verdict.DONE
        return Verdict.UNDONE if all(voucher.errored for voucher in found) else Verdict.UNCLEAR

    reference = request.external_reference
    fields = {"external_reference": reference}
    return Operation(
        "re-send", wire.REPROCESS, reference, fields, verdict, wire.reprocess_response, ReprocessResult
    )


def delete(request: ReprocessRequest, fecha: date) -> Operation[DeletionResult]:
    """Delete a voucher from the queue (vendor, ``eliminar_encolado``). Gone is done, whoever did it."""

    def verdict(found: Sequence[Voucher]) -> Verdict:
        if not found:
            return Verdict.DONE
        issued = any(voucher.status is VoucherStatus.ISSUED for voucher in found)
        return Verdict.UNCLEAR if issued else Verdict.UNDONE

    reference = request.external_reference
    fields = {"external_reference": reference, "fecha": f"{fecha:%d/%m/%Y}"}
    return Operation(
        "deletion", wire.DELETE, reference, fields, verdict, wire.deletion_response, DeletionResult
    )


def change_date(request: ReprocessRequest, fecha: date, vencimiento: date) -> Operation[DateChangeResult]:
    """Change a voucher's dates; it is processed again by itself (vendor, ``cambiar_fecha_encolado``)."""

    def verdict(found: Sequence[Voucher]) -> Verdict:
        if not found:
            return Verdict.ABSENT
        if all(voucher.fecha == fecha for voucher in found):
            return Verdict.DONE
        return Verdict.UNDONE if all(voucher.errored for voucher in found) else Verdict.UNCLEAR

    reference = request.external_reference
    fields = {
        "external_reference": reference,
        "fecha": f"{fecha:%d/%m/%Y}",
        "vencimiento": f"{vencimiento:%d/%m/%Y}",
    }
    return Operation(
        "date change",
        *(wire.CHANGE_DATE, reference, fields, verdict, wire.reprocess_response, DateChangeResult),
    )
