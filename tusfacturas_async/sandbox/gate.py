"""Who may come in to the console: this machine, by its own name, and no page of another origin. No I/O."""

from __future__ import annotations

import re
from typing import Final

from .._asgi import Message
from .._http.urls import is_loopback

_HTTP: Final = 80


def refusal(scope: Message) -> str | None:
    """Why this request is not answered: it is another machine's, or another page's."""
    host, port = scope["server"]
    client = scope.get("client")
    if not is_loopback(host) or (client is not None and not is_loopback(client[0])):
        return "for this machine alone"
    named = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
    if len(named) != 1 or not _is_ours(named[0], port):
        return "the Host header names another machine"
    origin = header(scope, b"origin")
    if origin and origin != f"http://{named[0]}":
        return "another page must not ask here"
    return None


def _is_ours(host: str, port: int) -> bool:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::(\d{1,5}))?", host, re.ASCII)
    return found is not None and is_loopback(found[1].strip("[]").lower()) and int(found[2] or _HTTP) == port


def header(scope: Message, name: bytes) -> str:
    """A request's header, or an empty text; repeated, its values joined as HTTP has it."""
    values: list[bytes] = [value for key, value in scope["headers"] if key == name]
    return b", ".join(values).decode("latin-1")
