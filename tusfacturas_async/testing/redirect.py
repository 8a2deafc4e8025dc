"""Clients that a test's subject makes by itself, led into a sandbox."""

from __future__ import annotations

import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .._http.urls import is_loopback
from ..client import AsyncClient
from ..models import SECRETS
from ..sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

_OWN_WAY = ("transport", "http_client")


@contextmanager
def redirected(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A sandbox that every client calls which is not given a way of its own."""
    sandbox = Sandbox()
    for name, variable in SECRETS.items():
        monkeypatch.setenv(variable, getattr(sandbox.credentials, name))
    make = AsyncClient.__init__

    @functools.wraps(make)
    def into_sandbox(self: AsyncClient, *args: Any, **options: Any) -> None:
        if not _has_own_way(options):
            options |= {"transport": sandbox.transport(), "min_interval": 0.0}
        make(self, *args, **options)

    monkeypatch.setattr(AsyncClient, "__init__", into_sandbox)
    yield sandbox
    for task in sandbox.at_work():
        loop = task.get_loop()  # another thread's, where a test client runs the app
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)


def _has_own_way(options: dict[str, Any]) -> bool:
    host = urlsplit(str(options.get("base_url", ""))).hostname or ""
    return is_loopback(host) or any(options.get(name) is not None for name in _OWN_WAY)
