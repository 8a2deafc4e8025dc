"""Vouchers into the table of work: lazily, by COPY, and twice is once. Nothing is sent here."""

from __future__ import annotations

import json
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from .._batch.arguments import check_input, each
from ..errors import InvalidReferenceError
from ..models import ReprocessRequest
from .store import QUERIES, fetch
from .writer import WORK

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Hashable, Iterable

    from .store import Connection, Store

_CHUNK: Final = 10_000
"""References in one transaction: what is read lazily is sent before the last of it is read."""

_PATIENCE: Final = 60.0
"""Seconds that a backend waits while PostgreSQL is away."""

Row = tuple[int, str, str | None]


async def submit(
    store: Store,
    name: str,
    references: Iterable[Any] | AsyncIterable[Any],
    lane: Callable[[Any], Hashable] | None,
) -> AsyncGenerator[int, None]:
    """Take references in, a chunk at a time; yields after each how many were new."""
    check_input(references, lane)
    async for chunk in _chunks(_rows(references, lane)):
        yield await store.run(partial(_take_in, name=name, chunk=chunk), patience=_PATIENCE)


async def _take_in(connection: Connection, name: str, chunk: list[Row]) -> int:
    await connection.execute(QUERIES["staging"])
    async with connection.transaction():
        async with connection.cursor().copy(QUERIES["stage"]) as copy:
            for row in chunk:
                await copy.write_row(row)
        # From here on the point's row is locked: who is paused in a COPY must keep no lease from it.
        ((point,),) = await fetch(connection, "know", {"name": name})
        ((new,),) = await fetch(connection, "take_in", {"point": point})
        if new:
            await fetch(connection, "notify", {"channel": WORK, "payload": ""})
    return int(new)


async def _rows(
    references: Iterable[Any] | AsyncIterable[Any], lane: Callable[[Any], Hashable] | None
) -> AsyncGenerator[Row, None]:
    numbers = count()
    async for reference in each(references):
        yield _row(next(numbers), reference, lane)


def _row(number: int, reference: Any, lane: Callable[[Any], Hashable] | None) -> Row:
    text = ReprocessRequest.of(reference).external_reference
    if "\0" in text:
        raise InvalidReferenceError(
            f"external_reference {text!r} has a NUL character, which no text in PostgreSQL can hold",
            external_reference=text,
        )
    key = None if lane is None else lane(reference)
    try:
        return number, text, None if key is None else json.dumps(key)
    except (TypeError, ValueError) as error:
        raise TypeError(f"lane must return a key that JSON can carry, not {type(key).__name__}") from error


async def _chunks(rows: AsyncIterable[Row]) -> AsyncGenerator[list[Row], None]:
    chunk: list[Row] = []
    async for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
