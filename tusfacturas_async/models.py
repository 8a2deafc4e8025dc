"""What travels: the credentials, the request, the answer, the voucher.

Attributes keep the wire's own names, so the vendor's documentation applies as it stands; what we add
speaks English. Nothing here reads or writes JSON (that is ``_wire``), and nothing tells what happened
to a call (that is ``results``).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self, TypeAlias

from attrs import field, frozen

from ._data import Data
from .errors import ErrorDetail, InvalidReferenceError

__all__ = [
    "MAX_REFERENCE_LENGTH",
    "Credentials",
    "DeletionResponse",
    "ErrorDetail",
    "Reference",
    "ReprocessRequest",
    "ReprocessResponse",
    "Voucher",
    "VoucherStatus",
]

MAX_REFERENCE_LENGTH = 255
"""Characters in an ``external_reference`` (seed: "hasta 255 caracteres")."""

_ALLOWED_REFERENCE = re.compile(r"[A-Za-z0-9_-]+")

SECRETS: Final[Mapping[str, str]] = {
    name: f"TUSFACTURAS_{name.upper()}" for name in ("apikey", "apitoken", "usertoken")
}
"""The fields of ``Credentials``, and the variable of the environment that each is read from."""


def _hidden(_: str) -> str:
    return "'***'"


def _credential(value: str | int) -> str:
    """The vendor's examples quote ``apikey`` or leave it a bare number; on the wire it is text."""
    return str(value).strip() if type(value) in {str, int} else ""


class Identity(NamedTuple):
    """Which credentials these are, without a secret: what journals and leases are kept by."""

    fingerprint: str
    """Of all three secrets: another token is another set."""
    apikey: str
    """Of the ``apikey`` alone: it tells that two sets may be one point of sale whose tokens were renewed.

    An ``apikey`` is a short number, so its fingerprint hides it from a glance, no more; it opens nothing
    without both tokens.
    """


@frozen
class Credentials:
    """One set of credentials, which is one *punto de venta* (seed).

    Args:
        apikey: The vendor's number for the point of sale, as text or as a number.
        apitoken: The point of sale's token.
        usertoken: The user's token.

    Raises:
        ValueError: A value is missing or empty; the message names the field, never a value.
    """

    apikey: str = field(converter=_credential, repr=_hidden)
    apitoken: str = field(converter=_credential, repr=_hidden)
    usertoken: str = field(converter=_credential, repr=_hidden)

    def __attrs_post_init__(self) -> None:
        for name in SECRETS:
            if not getattr(self, name):
                raise ValueError(
                    f"Credentials: {name} must be a text that is not empty; "
                    f"copy it from the API page of the point of sale in TusFacturasAPP"
                )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``TUSFACTURAS_APIKEY``, ``TUSFACTURAS_APITOKEN`` and ``TUSFACTURAS_USERTOKEN``.

        Raises:
            ValueError: One or more are missing or empty; the message names them all.
        """
        values = {name: environ.get(variable, "") for name, variable in SECRETS.items()}
        missing = [SECRETS[name] for name, value in values.items() if not value.strip()]
        if missing:
            raise ValueError(f"set the environment variable {', '.join(missing)}")
        return cls(**values)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell this set from others; the secrets cannot be read back."""
        return _fingerprint("credentials", self.apikey, self.apitoken, self.usertoken)

    @property
    def identity(self) -> Identity:
        """Which set this is, and which ``apikey`` it belongs to, each as 16 hexadecimal digits."""
        return Identity(self.fingerprint, _fingerprint("apikey", self.apikey))


def _fingerprint(what: str, *secrets: str) -> str:
    digest = hashlib.sha256(f"tusfacturas-async {what}".encode())
    for secret in secrets:
        digest.update(b"\0" + secret.encode())
    return digest.hexdigest()[:16]


def _check_reference(value: object, *, any_characters: bool) -> None:
    if not isinstance(value, str):
        raise InvalidReferenceError(
            f"external_reference must be a str, not {type(value).__name__}: pass its text"
        )
    if not value:
        raise InvalidReferenceError("external_reference is empty: give 1 to 255 characters")
    if len(value) > MAX_REFERENCE_LENGTH:
        raise InvalidReferenceError(
            f"external_reference has {len(value)} characters, at most {MAX_REFERENCE_LENGTH} are allowed: "
            f"{value[:32]!r}…",
            external_reference=value,
        )
    if not any_characters and not _ALLOWED_REFERENCE.fullmatch(value):
        position, character = next((i, c) for i, c in enumerate(value) if not _ALLOWED_REFERENCE.match(c))
        raise InvalidReferenceError(
            f"external_reference {value!r} has the character {character!r} at position {position}: "
            "only letters, digits, '_' and '-' are allowed. If a voucher already exists under this "
            "reference, pass ReprocessRequest(reference, any_characters=True)",
            external_reference=value,
        )
    if any_characters and any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidReferenceError(
            f"external_reference {value!r} has a lone surrogate, which no JSON in UTF-8 can carry",
            external_reference=value,
        )


@frozen
class ReprocessRequest:
    """One voucher to re-send.

    Args:
        external_reference: 1 to 255 characters: letters, digits, ``_`` and ``-`` (vendor, 2025; the
            service answers others with ``TFC-8002``).
        any_characters: Skip the character rule, for a reference that already exists with others.

    Raises:
        InvalidReferenceError: The reference breaks a rule; the message names which.
    """

    external_reference: str
    any_characters: bool = field(default=False, kw_only=True, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        _check_reference(self.external_reference, any_characters=self.any_characters)

    @classmethod
    def of(cls, reference: str | Self | Voucher) -> Self:
        """Take a reference as it is given: a text, a request, or a voucher that a lookup found.

        Raises:
            InvalidReferenceError: The text breaks a rule of ``external_reference``, or the voucher has none.
        """
        if isinstance(reference, Voucher):  # it exists, whatever characters it has
            return cls(reference.external_reference or "", any_characters=True)
        return reference if isinstance(reference, cls) else cls(reference)  # type: ignore[arg-type]


@frozen
class ReprocessResponse(Data):
    """The envelope that a re-send was answered with.

    Attributes:
        error: ``"N"`` or ``"S"``, the wire's own flag.
        errores: The service's texts, stripped, without the empty ones.
        error_details: Codes with their texts, often none.
        mantenimiento: Whether the service said that it is under maintenance.
        mantenimiento_hasta: Until when (aware, UTC-3), or ``None``.
        raw: The decoded payload, untouched.
    """

    error: str
    errores: tuple[str, ...] = ()
    error_details: tuple[ErrorDetail, ...] = ()
    mantenimiento: bool = False
    mantenimiento_hasta: datetime | None = None
    raw: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the voucher is in the queue again (not yet: whether it has a CAE)."""
        return self.error == "N"


@frozen
class DeletionResponse(ReprocessResponse):
    """The envelope that a deletion was answered with; ``error`` may be ``"PARCIAL"`` as well.

    Attributes:
        procesados: Texts that say what was deleted.
        procesados_cant: How many, or ``None``.
    """

    procesados: tuple[str, ...] = ()
    procesados_cant: int | None = None


class VoucherStatus(StrEnum):
    """The documented values of a voucher's ``status`` (vendor, 2026)."""

    ISSUED = "EMITIDO"
    SCHEDULED = "APROBADO Y EN COLA"
    """On the wire followed by the date: "… SE EMITE EL 16/03/2022"."""
    QUEUED = "EN COLA, ESPERANDO APROBACION"
    ERRORED = "ENVIADO A PROCESAR - CON ERROR"
    """What re-sending is for."""


@frozen
class Voucher(Data):
    """A *comprobante* as the lookup shows it; a field is ``None`` when the service left it empty.

    Attributes:
        external_reference: The caller's own reference, as text even where the wire has a number.
        status: A ``VoucherStatus`` where the value is documented, else the wire's text untouched.
        scheduled_for: The day a ``SCHEDULED`` voucher is issued.
        tipo: Type, as "FACTURA A".
        punto_venta: Point of sale.
        numero: Number within point of sale and type.
        fecha: Date of the voucher.
        total: Money, exact.
        cae: The authorisation code, stripped.
        vencimiento_cae: When the CAE expires.
        comprobante_pdf_url: Where the PDF is.
        raw: The decoded ``comprobante`` object, untouched.
    """

    external_reference: str | None
    status: VoucherStatus | str
    scheduled_for: date | None = None
    tipo: str | None = None
    punto_venta: int | None = None
    numero: int | None = None
    fecha: date | None = None
    total: Decimal | None = None
    cae: str | None = None
    vencimiento_cae: date | None = None
    comprobante_pdf_url: str | None = None
    raw: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)

    @property
    def lane(self) -> tuple[int | None, str | None]:
        """What its order of re-sending runs by: *punto de venta* and *tipo* (vendor, 2025)."""
        return self.punto_venta, self.tipo

    @property
    def errored(self) -> bool:
        """Whether it waits in the queue with an error, so that a re-send applies."""
        return self.status is VoucherStatus.ERRORED

    @property
    def accepted(self) -> bool:
        """Whether it is queued, scheduled or issued: there is nothing to re-send."""
        return self.status in (VoucherStatus.QUEUED, VoucherStatus.SCHEDULED, VoucherStatus.ISSUED)


Reference: TypeAlias = str | ReprocessRequest | Voucher
"""What a voucher can be named by."""
