"""Values on their way into a file and out of it. Bad ones are told where they are given."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from ..errors import InvalidReferenceError


class DamagedError(ValueError):
    """A row of the file that cannot be read; the message names it."""


def storable(reference: str) -> str:
    """The reference, if a file can hold it.

    Raises:
        InvalidReferenceError: It has a lone surrogate, which no UTF-8 can carry.
    """
    try:
        reference.encode()
    except UnicodeEncodeError:
        raise InvalidReferenceError(
            f"external_reference {reference!r} has a lone surrogate, which no file in UTF-8 can hold",
            external_reference=reference,
        ) from None
    return reference


def printable(text: str) -> str:
    """Any text as one that a file can hold: a message may quote what came from outside."""
    return text.encode("utf-8", "backslashreplace").decode()


@lru_cache(maxsize=64)  # a caller floors its times to seconds, so many are alike
def instant(name: str, moment: datetime) -> str:
    """A point in time as text in UTC, which sorts as the times do.

    Raises:
        ValueError: It has no time zone, or lies outside of what UTC can tell; the message has ``name``.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{name} must have a time zone: {moment!r} says nothing of whose clock it is")
    try:
        return moment.astimezone(UTC).isoformat()
    except OverflowError:
        raise ValueError(f"{name} is out of range in UTC: {moment!r}") from None


def now() -> str:
    """This moment, as ``instant``."""
    return datetime.now(UTC).isoformat()


def moment(text: str) -> datetime:
    """What ``instant`` made a text of.

    Raises:
        ValueError: It is none.
        TypeError: It is no text.
    """
    read = datetime.fromisoformat(text)
    if read.utcoffset() is None:
        raise ValueError(f"{text!r} has no time zone")
    return read
