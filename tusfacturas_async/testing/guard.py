"""Fails each test whose client would leave this machine, whatever the app makes of the failure.

A connection is noticed where our own transports are about to open one, whoever mocks what is above; and, for
transports that tell nothing, by Python's audit of ``socket.connect``. A transport that connects outside of
Python is refused by its name.
"""

from __future__ import annotations

import sys
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from .._http import evidence, transport
from .._http.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Generator

_leaving: ContextVar[str | None] = ContextVar("tusfacturas_leaving", default=None)
"""The host that the request under way is for, unless it is this machine."""

_UNSEEN: Final = {"pyreqwest"}
"""Packages whose transports open connections that Python does not see."""

_ADDRESS: Final = 2


class NetworkGuard:
    """Watches every client from now on, as long as pytest runs.

    Args:
        marker: Tests with this marker may leave.
    """

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._allowed = False
        self._told: list[str] = []
        self._watching = True
        self._patch = pytest.MonkeyPatch()
        self._watch_requests()
        self._watch_connections()

    def _watch_requests(self) -> None:
        make, post = transport.Transport.__init__, transport.Transport.post
        hosts: weakref.WeakKeyDictionary[transport.Transport, tuple[str, object]] = (
            weakref.WeakKeyDictionary()
        )

        def noting(ours: transport.Transport, base_url: str, **options: Any) -> None:
            make(ours, base_url, **options)
            hosts[ours] = urlsplit(base_url).hostname or "", options.get("transport")

        async def watched(ours: transport.Transport, *args: Any, **options: Any) -> Any:
            host, way = hosts.get(ours, ("", None))
            token = _leaving.set(None if is_loopback(host) else host)
            try:
                if type(way).__module__.partition(".")[0] in _UNSEEN:
                    self._notice()
                return await post(ours, *args, **options)
            finally:
                _leaving.reset(token)

        self._patch.setattr(transport.Transport, "__init__", noting)
        self._patch.setattr(transport.Transport, "post", watched)

    def _watch_connections(self) -> None:
        opening = evidence.Flight.opening  # where each of our ways says that it opens a connection

        def watched(flight: evidence.Flight) -> None:
            self._notice()
            opening(flight)

        def audit(event: str, args: tuple[Any, ...]) -> None:
            if event != "socket.connect" or not self._watching or _leaving.get() is None:
                return
            address = args[1]
            if isinstance(address, tuple) and len(address) >= _ADDRESS and not is_loopback(str(address[0])):
                self._notice()

        self._patch.setattr(evidence.Flight, "opening", watched)
        sys.addaudithook(audit)  # there is no way to remove it: it rests when pytest ends

    def _notice(self) -> None:
        host = _leaving.get()
        if host is None or self._allowed:
            return
        self._told.append(
            f"an AsyncClient of this test would have connected to {host}: use the fixture "
            f"tusfacturas_sandbox, a mock, or the marker {self._marker}"
        )
        raise pytest.fail.Exception(self._told[-1], pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Each test by itself."""
        self._allowed = item.get_closest_marker(self._marker) is not None
        self._told.clear()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Generator[None, object, object]:
        """Fixtures count."""
        return (yield from self._judged())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        """So does the test."""
        return (yield from self._judged())

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self) -> Generator[None, object, object]:
        """And what ends after it."""
        return (yield from self._judged())

    def _judged(self) -> Generator[None, object, object]:
        """Whatever became of it: the app under test may have caught what we raised."""
        try:
            return (yield)
        finally:
            if self._told:
                told = self._told[0]
                self._told.clear()
                raise pytest.fail.Exception(told, pytrace=False) from None

    def pytest_unconfigure(self) -> None:
        """Leave everything as it was."""
        self._watching = False
        self._patch.undo()
