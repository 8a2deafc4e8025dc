"""What a batch can be asked: a wrong kind of argument is told where it is given, before anything is sent."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable
from inspect import iscoroutinefunction
from typing import Final, TypeVar

from .._checks import check_seconds
from ..models import ReprocessRequest, Voucher

T = TypeVar("T")

_JOURNAL: Final = ("rows", "sending", "record")
"""What is called of a journal."""


def check(
    references: object, *, lane: object, journal: object, check_first: object, wait_maintenance: object
) -> None:
    """Check the arguments of ``reprocess_many``, whatever their annotations promise.

    Raises:
        TypeError: One is of a wrong kind; the message names it, and what to pass instead.
        ValueError: ``wait_maintenance`` is negative or not a number.
    """
    check_input(references, lane)
    if journal is not None and (
        isinstance(journal, type) or not all(callable(getattr(journal, name, None)) for name in _JOURNAL)
    ):
        raise TypeError(
            f"journal must be an open journal, not {_kind(journal)}: "
            "`async with Journal.open(path) as journal`, and pass that"
        )
    if not isinstance(check_first, bool):
        raise TypeError(f"check_first must be True or False, not {_kind(check_first)}")
    if wait_maintenance is not None:
        check_seconds("wait_maintenance", wait_maintenance, zero=True, otherwise=", or None")


def check_input(references: object, lane: object) -> None:
    """Check what is to be sent. One text is iterable, too: its letters would be billed, each as a reference.

    Raises:
        TypeError: As ``check``.
    """
    if lane is not None and not callable(lane):
        raise TypeError(f"lane must be a callable from a reference to its key, not {_kind(lane)}")
    if iscoroutinefunction(lane):
        raise TypeError("lane must be a plain function: each coroutine would be a lane of its own")
    if isinstance(references, str | bytes | bytearray | memoryview | ReprocessRequest | Voucher):
        raise TypeError(
            f"references must be an iterable of references, not one {_kind(references)}: pass [reference]"
        )
    if isinstance(references, type) or not isinstance(references, Iterable | AsyncIterable):
        raise TypeError(
            f"references must be an iterable or async iterable of references, not {_kind(references)}"
        )


async def each(references: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """From any iterable, asynchronous or not, read lazily."""
    if isinstance(references, AsyncIterable):
        async for reference in references:
            yield reference
    else:
        for reference in references:
            yield reference


def _kind(value: object) -> str:
    """Its type; never the value, which may be anything."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
