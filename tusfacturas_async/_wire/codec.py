"""What is asked: a request's body for one set of credentials. And what is heard, without their secrets.

What an answer says is ``answers``'. The service's quirks live in this folder, and nowhere else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .answers import is_not_found
from .convert import decode_object, text, written_date

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from ..models import Credentials

REPROCESS: Final = "v2/facturacion/reenviar_encolado"
LOOKUP: Final = "v2/facturacion/consulta_avanzada"
DELETE: Final = "v2/facturacion/eliminar_encolado"
CHANGE_DATE: Final = "v2/facturacion/cambiar_fecha_encolado"

LOOKUP_CHUNK: Final = 100
"""References in one ``EXT_REF_LIST`` lookup (vendor, 2026)."""

_SHORTEST_SECRET: Final = 8
"""Characters. Shorter secrets are not blanked: blanking "1134" would falsify amounts."""

_CREDENTIALS: Final = ("apitoken", "apikey", "usertoken")

_UNTOUCHED: Final = frozenset(
    {"external_reference", "external_reference_list", "numero", "cae", "hook_id", "total"}
    | {"error", "status", "rta"}
)
"""What names a voucher, counts or decides is left as it is: a reference may begin with the apikey."""

_SAID: Final = frozenset({"errores", "code", "text", "procesados"})
"""What becomes part of a message, a number as well."""


class Body(bytes):
    """A request body. It holds the credentials, so a debugger's ``repr`` of it must not."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<body of {len(self)} bytes, redacted>"


class Search(NamedTuple):
    """What a free lookup looks for (vendor, 2026): ``EXT_REF``, ``EXT_REF_LIST``, ``F`` or ``TN``."""

    kind: str
    wanted: Mapping[str, object]

    @classmethod
    def of_date(cls, fecha: date) -> Search:
        """The vouchers of one date."""
        return cls("F", {"fecha": written_date(fecha)})

    @classmethod
    def of_numbers(cls, tipo: str, punto_venta: int, first: int, last: int) -> Search:
        """The vouchers of a range of numbers, both ends included."""
        numbers = {"numero_desde": f"{first:08d}", "numero_hasta": f"{last:08d}"}
        return cls("TN", {"tipo": tipo, "punto_venta": f"{punto_venta:05d}", **numbers})


class Codec:
    """Builds the bodies of one set of credentials, which are encoded once."""

    def __init__(self, credentials: Credentials) -> None:
        secrets = {name: getattr(credentials, name) for name in _CREDENTIALS}
        self._prefix = Body(json.dumps(secrets).encode()[:-1])
        self._secrets = [
            written
            for secret in secrets.values()
            if len(secret) >= _SHORTEST_SECRET
            for written in sorted({secret, json.dumps(secret)[1:-1], secret.replace("/", r"\/")})
        ]

    def body(self, fields: Mapping[str, object]) -> Body:
        """A request's body: the credentials, and these fields."""
        # A text alone takes json a tenth of the time of a mapping, for which it builds an encoder.
        pairs = [f', "{name}": {json.dumps(value)}' for name, value in fields.items()]
        return Body(b"%b%b}" % (self._prefix, "".join(pairs).encode()))

    def search(self, search: Search, *, page: int = 0, limit: int = LOOKUP_CHUNK) -> Body:
        """The body of a free lookup (vendor, 2026)."""
        comprobante = {**search.wanted, "operacion": "V"}
        return self.body(
            {"busqueda_tipo": search.kind, "pagina": page, "limite": limit, "comprobante": comprobante}
        )

    def lookup(self, references: Sequence[str], *, page: int = 0) -> Body:
        """The body of a lookup of 1 to ``LOOKUP_CHUNK`` references."""
        if len(references) == 1:
            return self.search(Search("EXT_REF", {"external_reference": references[0]}), page=page)
        listed = {"external_reference_list": list(references)}
        return self.search(Search("EXT_REF_LIST", listed), page=page)

    def decode(self, body: bytes) -> dict[str, Any] | None:
        """The JSON object in an answer, our own secrets blanked in its texts; ``None`` when there is none."""
        payload = decode_object(body)
        try:
            return None if payload is None else self._blank("", payload)
        except RecursionError:  # just short of what json refuses itself
            return None

    def _blank(self, name: str, value: Any) -> Any:
        if name in _CREDENTIALS:
            return "***"
        if isinstance(value, str):
            kept = name in _UNTOUCHED or is_not_found(value)
            return value if kept else self._cover(value)
        if isinstance(value, list):
            return [self._blank(name, item) for item in value]
        if isinstance(value, dict):
            return {inner: self._blank(inner, item) for inner, item in value.items()}
        covered = self._cover(text(value)) if name in _SAID else ""
        return covered if "***" in covered else value

    def _cover(self, said: str) -> str:
        for secret in self._secrets:
            said = said.replace(secret, "***")
        return said
