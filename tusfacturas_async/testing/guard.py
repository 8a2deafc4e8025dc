"""Fails each test whose client would leave this machine, whatever the app makes of the failure.

A connection is noticed where our own transports are about to open one, whoever mocks what is above; and, for
transports that tell nothing, by Python's audit of ``socket.connect``. A transport that connects outside of
Python is refused by its name.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import pytest

from .._http import evidence, transport
from .._http.direct import DirectTransport
from .._http.slots import SlotsTransport
from .._http.urls import is_loopback

if TYPE_CHECKING:
    from collections.abc import Generator

_bound_for: ContextVar[str | None] = ContextVar("tusfacturas_bound_for", default=None)
"""The host that the request under way is for, unless an app or a mock answers it in this process.

What those connect to is theirs: tasks that they start inherit the context.
"""

_IN_PROCESS: Final = {"ASGITransport", "MockTransport"}

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
        post = transport.Transport.post

        async def watched(ours: transport.Transport, *args: Any, **options: Any) -> Any:
            carrier, host = _carrier_of(ours.way), ours.way.target.base.host
            token = _bound_for.set(None if carrier.__name__ in _IN_PROCESS else host)
            try:
                if carrier.__module__.partition(".")[0] in _UNSEEN and not is_loopback(host):
                    self._notice(host)
                return await post(ours, *args, **options)
            finally:
                _bound_for.reset(token)

        self._patch.setattr(transport.Transport, "post", watched)

    def _watch_connections(self) -> None:
        opening = evidence.Passage.opening  # where each of our ways says that it opens a connection

        def watched(passage: evidence.Passage) -> None:
            host = _bound_for.get()
            if host is not None and not is_loopback(host):
                self._notice(host)
            opening(passage)

        def audit(event: str, args: tuple[Any, ...]) -> None:
            if event != "socket.connect" or not self._watching or (host := _bound_for.get()) is None:
                return
            address = args[1]
            if isinstance(address, tuple) and len(address) >= _ADDRESS and not is_loopback(str(address[0])):
                self._notice(
                    str(address[0]) if is_loopback(host) else host
                )  # a proxy leads away from loopback

        self._patch.setattr(evidence.Passage, "opening", watched)
        sys.addaudithook(audit)  # there is no way to remove it: it rests when pytest ends

    def _notice(self, host: str) -> None:
        if self._allowed:
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


def _carrier_of(way: Any) -> type:
    """The class of what carries its requests, within slots or a client of the user's, too."""
    client = getattr(way, "_client", None)
    if client is None:
        return DirectTransport
    carrier = client._transport_for_url(way.target.base)  # noqa: SLF001 - mounts included; httpx tells it nowhere else
    return carrier.kind if isinstance(carrier, SlotsTransport) else type(carrier)
