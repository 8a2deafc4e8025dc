"""Converters from what the wire holds to what the models hold: small, named, total. No models, no I/O.

Generic structuring turns ``"N"`` into ``True`` and ``None`` into ``"None"``, which here costs money.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Pairs = Callable[[list[tuple[str, Any]]], dict[str, Any]]

# Not ``strptime``: it asks the locale each time, and most answers have no time in them.
_DATE = re.compile(r"(?P<day>\d\d?)/(?P<month>\d\d?)/(?P<year>\d{4})", re.ASCII)
_TIME = re.compile(_DATE.pattern + r"\s+(?P<hour>\d\d?):(?P<minute>\d\d?)(:(?P<second>\d\d?))?", re.ASCII)


ARGENTINA = timezone(timedelta(hours=-3), "ART")
"""Argentina keeps UTC-3 all year; the service states no zone (inferred)."""

_MINUS: Final = "\N{MINUS SIGN}"
_NUMBERS: Final = frozenset({int, float, Decimal})


def text(value: object) -> str:
    """A text or a number as stripped text; anything else is empty. Lone surrogates become "?"."""
    if not isinstance(value, str):
        return str(value) if type(value) in _NUMBERS else ""
    written = value.strip()
    return written if written.isascii() else written.encode("utf-8", "replace").decode()


def identifier(value: object) -> str:
    """A text as it came, a number as its text; anything else is empty. A name is never trimmed."""
    return value if isinstance(value, str) else text(value)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts, one text, or null, as the texts that are not empty."""
    items: Sequence[object] = value if isinstance(value, list) else [value]
    return tuple([written for item in items if (written := text(item))])


def flag_sn(value: object) -> str | None:
    """The wire's "S" or "N", or ``None`` for anything else (``"PARCIAL"``, say)."""
    flag = text(value).upper()
    return flag if flag in {"S", "N"} else None


def whole_number(value: object) -> int | None:
    """``6``, ``"00006"`` or ``6.0`` as 6; ``None`` for what is no whole number."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    with suppress(ValueError):
        return int(text(value))
    return None


def money(value: object) -> Decimal | None:
    """An amount as the exact decimal that was written; "1.234,50" is read the Argentine way."""
    written = text(value)
    if "," in written:
        written = written.replace(".", "").replace(",", ".")
    with suppress(InvalidOperation):
        amount = Decimal(written)
        return amount if amount.is_finite() else None
    return None


def dd_mm_yyyy(value: object) -> date | None:
    """``"23/05/2021"`` as a date; ``None`` for anything else."""
    if found := _DATE.fullmatch(text(value)):
        with suppress(ValueError):
            return date(int(found["year"]), int(found["month"]), int(found["day"]))
    return None


def written_date(day: date) -> str:
    """A date as ``dd_mm_yyyy`` reads it."""
    return f"{day:%d/%m/%Y}"


def dd_mm_yyyy_time(value: object) -> datetime | None:
    """``"26/07/2026 05:25"``, with seconds or without, as an aware time; ``None`` for anything else."""
    if (written := text(value)) and (found := _TIME.fullmatch(written)):
        with suppress(ValueError):
            at = time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0), tzinfo=ARGENTINA)
            return datetime.combine(date(int(found["year"]), int(found["month"]), int(found["day"])), at)
    return None


def forgiving(value: str) -> str:
    """A text without case, accents, the final dot, and the kind and number of spaces and dashes."""
    letters = (_plain(c) for c in unicodedata.normalize("NFKD", value))
    return re.sub(r" ?- ?", "-", " ".join("".join(letters).casefold().split())).rstrip(" .")


def _plain(character: str) -> str:
    if character.isascii():
        return character
    kind = unicodedata.category(character)
    if kind in {"Mn", "Cf"}:  # accents, and what has no width
        return ""
    return "-" if kind == "Pd" or character == _MINUS else character


def retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait, from a ``Retry-After`` in seconds or as an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d{1,9})?\s*", value, re.ASCII):
        return float(value)
    at = http_date(value)
    return None if at is None else max(0.0, (at - now).total_seconds())


def http_date(value: str | None) -> datetime | None:
    """An HTTP date (RFC 9110, 5.6.7) as an aware time; ``None`` for anything else."""
    if value is not None:
        with suppress(ValueError, OverflowError):
            at = parsedate_to_datetime(value)
            return at.replace(tzinfo=at.tzinfo or UTC)
    return None


def decode_object(body: bytes, pairs: Pairs | None = None) -> dict[str, Any] | None:
    """The JSON object in these bytes; ``None`` when there is none.

    A byte-order mark is skipped; bytes that are not UTF-8 are read as Latin-1, the usual wrong charset.

    Args:
        body: The bytes.
        pairs: Makes each object of its names and values; may raise ``ValueError``.
    """
    try:
        try:
            decoded = body.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError:
            decoded = body.decode("latin-1")
        payload = json.loads(decoded, object_pairs_hook=pairs)
    except (ValueError, RecursionError):  # RecursionError: json on thousands of nested brackets
        return None
    return payload if isinstance(payload, dict) else None
