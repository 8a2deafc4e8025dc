"""Who sent it: the fixed token of a point of sale, compared in constant time. No I/O.

The vendor sends a fixed token and signs nothing: whoever knows the token can say anything. Treat an event as
a hint that a lookup can confirm.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias, TypeVar, overload

from .._wire.convert import ARGENTINA
from ..errors import InvalidWebhookTokenError
from .events import AnyWebhookEvent, parse_webhook

HEADER = "TF-WebhookToken"

Name = TypeVar("Name")
Headers: TypeAlias = Mapping[str, str] | Mapping[bytes, bytes] | Iterable[tuple[str | bytes, str | bytes]]
Tokens: TypeAlias = str | Sequence[str] | Mapping[Any, str]


@overload
def verify_webhook(headers: Headers, tokens: Mapping[Name, str]) -> Name: ...


@overload
def verify_webhook(headers: Headers, tokens: str | Sequence[str]) -> str: ...


def verify_webhook(headers: Headers, tokens: Tokens) -> Any:
    """Make sure that a delivery carries a configured token.

    Args:
        headers: A mapping or pairs, of text or bytes; the header's name in any case.
        tokens: One token, several (while one replaces another), or a mapping from a name of yours (the point
            of sale, say) to its token.

    Returns:
        The one that matched, by its name in the mapping, or else the token itself.

    Raises:
        InvalidWebhookTokenError: No token matches, the header is missing or repeated, or none is configured.
    """
    named = list(_named(tokens))
    if not named:
        raise InvalidWebhookTokenError("no webhook token is configured: every delivery is refused")
    sent = [value for name, value in _pairs(headers) if name.lower() == HEADER.lower().encode()]
    if len(sent) != 1:
        raise InvalidWebhookTokenError(f"the delivery has {len(sent)} {HEADER} headers, not one")
    matched = [name for name, token in named if hmac.compare_digest(token, sent[0])]
    if not matched:
        raise InvalidWebhookTokenError(f"the delivery's {HEADER} is not a configured one")
    return matched[0]


def check_tokens(tokens: object) -> None:
    """Tell at once what would refuse every delivery.

    Raises:
        TypeError: Neither a text nor a collection of texts that can be read more than once.
        ValueError: There is no token in it.
    """
    found = tokens.values() if isinstance(tokens, Mapping) else tokens
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, Collection) or isinstance(found, bytes | bytearray):
        raise TypeError(f"tokens must be a text, a list or a mapping of texts, not {type(tokens).__name__}")
    for token in found:
        if not isinstance(token, str):
            raise TypeError(f"tokens must be texts, not {type(token).__name__}")
    if not list(_named(tokens)):
        raise ValueError("tokens must hold a token that is not empty: every delivery would be refused")


def _named(tokens: object) -> Iterable[tuple[object, bytes]]:
    if isinstance(tokens, str):
        tokens = [tokens]
    pairs: Iterable[tuple[object, object]] = ()
    if isinstance(tokens, Mapping):
        pairs = tokens.items()
    elif isinstance(tokens, Iterable):
        pairs = ((token, token) for token in tokens)
    # An empty token would let everybody in: it counts as none.
    return (
        (name, t.strip().encode("utf-8", "replace")) for name, t in pairs if isinstance(t, str) and t.strip()
    )


def _pairs(headers: object) -> Iterable[tuple[bytes, bytes]]:
    items = headers.items() if isinstance(headers, Mapping) else headers
    if not isinstance(items, Iterable):
        return
    for item in items:
        if isinstance(item, (tuple, list)) and len(item) == 2:  # noqa: PLR2004 - a name and a value
            name, value = map(_raw, item)
            yield name, value.strip()


def _raw(value: object) -> bytes:
    """A header as the bytes that arrived: servers decode them as Latin-1 (WSGI, ASGI frameworks)."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return value.encode("utf-8", "replace")
    return bytes(value) if isinstance(value, (bytes, bytearray)) else b""


def receive_webhook(headers: Headers, body: bytes, tokens: Tokens) -> AnyWebhookEvent:
    """Verify a delivery, then read it: nothing of a stranger's body is parsed.

    Raises:
        InvalidWebhookTokenError: See ``verify_webhook``; answer 403.
        MalformedWebhookError: See ``parse_webhook``; answer 400.
    """
    verify_webhook(headers, tokens)
    return parse_webhook(body)


class SignedWebhook(NamedTuple):
    """A delivery for tests, as the service would make it."""

    headers: dict[str, str]
    body: bytes


def sign_webhook(
    token: str,
    *,
    evento: str = "encolado",
    external_reference: str | None = None,
    recurso: str = "facturacion",
    creado: datetime | None = None,
    intento: int = 1,
    msg: Sequence[str] = (),
    hook_id: str | None = None,
) -> SignedWebhook:
    """Build headers and body of a delivery, to test a receiver with.

    Args:
        token: The point of sale's token.
        evento: The event.
        external_reference: The voucher's; left out when ``None``.
        recurso: What it is about.
        creado: Aware; now when ``None``.
        intento: The wire's counter.
        msg: Texts.
        hook_id: Left out when ``None``.

    Raises:
        ValueError: ``creado`` has no time zone.
    """
    if creado is not None and creado.tzinfo is None:
        raise ValueError("creado must be aware: give it a time zone")
    created = (creado or datetime.now(ARGENTINA)).astimezone(ARGENTINA)
    payload: dict[str, Any] = {
        "creado": f"{created:%d/%m/%Y %H:%M:%S}",
        "evento": evento,
        "recurso": recurso,
        "external_reference": external_reference,
        "intento": intento,
        "msg": list(msg),
        "hook_id": hook_id,
    }
    body = json.dumps({name: value for name, value in payload.items() if value is not None})
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "TusFacturasAPP-webhook/1.0",
        HEADER: token,
    }
    return SignedWebhook(headers, body.replace("/", r"\/").encode())
