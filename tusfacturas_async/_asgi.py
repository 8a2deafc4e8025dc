"""What an ASGI app hears and says, whatever it is about. It needs no framework, and nothing of ours."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]


class BodyError(Exception):
    """A request's body that did not come whole, or is too long; ``status`` is what to answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


async def read(receive: Receive, longest: float = math.inf) -> bytes:
    """A request's body.

    Raises:
        BodyError: It has more than ``longest`` bytes, or whoever asks has gone.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyError(400, "it did not come whole")
        body += message.get("body", b"")
        if len(body) > longest:
            raise BodyError(413, "it is too long")
        if not message.get("more_body", False):
            return bytes(body)


async def answer(send: Send, status: int, body: bytes = b"", headers: Iterable[Header] = ()) -> None:
    """Answer with a body that is there as a whole."""
    told = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": body})
