"""What can be asked of one queued voucher: path, fields, and what a lookup must show for it to be done.

The way of asking is the same for all (``_call``).
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .._wire import answers
from .._wire import codec as wire
from .._wire.convert import written_date
from ..results import CallResult, DateChangeResult, DeletionResult, ReprocessResult

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from datetime import date

    from ..models import ReprocessRequest, ReprocessResponse, Voucher

R = TypeVar("R", bound=CallResult)


class Verdict(Enum):
    """What the vouchers that a lookup found say of a request whose answer was lost."""

    DONE = auto()
    """It took effect."""
    ABSENT = auto()
    """There is no such voucher."""
    UNDONE = auto()
    """Every voucher of the reference is errored: it took no effect so far, and asking again is safe."""
    UNCLEAR = auto()
    """They do not tell."""


class Operation(NamedTuple, Generic[R]):
    """One request about one voucher.

    Attributes:
        name: For messages.
        path: Below the base URL.
        fields: Beside the credentials.
        done: Whether a voucher, as a lookup shows it, says that the request took effect.
        gone: What it means that no voucher is left.
        response: From a payload to the model of the answer.
        result: The class of the result.
    """

    name: str
    path: str
    external_reference: str
    fields: Mapping[str, str]
    done: Callable[[Voucher], bool]
    gone: Verdict
    response: Callable[[dict[str, Any]], ReprocessResponse]
    result: type[R]

    @property
    def request(self) -> Hashable:
        """Equal for the same request."""
        return (self.path, *sorted(self.fields.items()))

    def verdict(self, found: Sequence[Voucher] | None) -> Verdict:
        """What a lookup of exactly this reference proves; ``None``: it could not tell.

        The service takes the first of several vouchers with one reference (seed), so they must all agree.
        """
        if found is None:
            return Verdict.UNCLEAR
        if not found:
            return self.gone
        if all(voucher.errored for voucher in found):
            return Verdict.UNDONE
        return Verdict.DONE if all(map(self.done, found)) else Verdict.UNCLEAR


def resend(request: ReprocessRequest) -> Operation[ReprocessResult]:
    """Re-send an errored voucher (seed). Queued or issued is done, whoever did it."""
    return Operation(
        "re-send",
        wire.REPROCESS,
        request.external_reference,
        {"external_reference": request.external_reference},
        lambda voucher: voucher.accepted,
        Verdict.ABSENT,
        answers.reprocess_response,
        ReprocessResult,
    )


def delete(request: ReprocessRequest, fecha: date) -> Operation[DeletionResult]:
    """Delete a voucher from the queue (vendor, ``eliminar_encolado``). Gone is done, whoever did it."""
    return Operation(
        "deletion",
        wire.DELETE,
        request.external_reference,
        {"external_reference": request.external_reference, "fecha": written_date(fecha)},
        lambda _: False,
        Verdict.DONE,
        answers.deletion_response,
        DeletionResult,
    )


def change_date(request: ReprocessRequest, fecha: date, vencimiento: date) -> Operation[DateChangeResult]:
    """Change a voucher's dates; it is processed again by itself (vendor, ``cambiar_fecha_encolado``).

    The lookup does not show ``vencimiento``: an errored voucher with the new ``fecha`` is not done.
    """
    return Operation(
        "date change",
        wire.CHANGE_DATE,
        request.external_reference,
        {
            "external_reference": request.external_reference,
            "fecha": written_date(fecha),
            "vencimiento": written_date(vencimiento),
        },
        lambda voucher: voucher.accepted and voucher.fecha == fecha,
        Verdict.ABSENT,
        answers.reprocess_response,
        DateChangeResult,
    )
