"""The pytest plugin (entry point ``pytest11``): fixtures, and the option that keeps tests off the network.

It is imported by every pytest run on a machine that has the package, so it imports nothing of ours before
a fixture or the option asks for it. The fixtures are not asynchronous: they serve synchronous tests (a test
client that runs the app in a thread), pytest-asyncio in each of its modes, and anyio's plugin alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..sandbox import Sandbox
    from .webhooks import Webhooks

_OPTION = "--tusfacturas-no-network"
_INI = "tusfacturas_no_network"
_MARKER = "tusfacturas_network"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option, and its ini twin."""
    told = "fail each test whose AsyncClient would leave this machine"
    parser.getgroup("tusfacturas").addoption(_OPTION, action="store_true", help=told)
    parser.addini(_INI, told, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests off the network, if asked to."""
    config.addinivalue_line("markers", f"{_MARKER}: may leave this machine in spite of {_OPTION}")
    if config.getoption(_OPTION) or config.getini(_INI):
        from .guard import NetworkGuard  # noqa: PLC0415 - only where it is asked for

        config.pluginmanager.register(NetworkGuard(_MARKER), "tusfacturas-guard")


@pytest.fixture
def tusfacturas_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A ``Sandbox`` in this process, without vouchers: ``sandbox.queue.add("pedido-1")`` adds an errored one.

    While the test runs, the environment holds its credentials, and every ``AsyncClient`` calls it, without
    spacing; but not one that is given a transport, an ``http_client`` or a loopback ``base_url``.
    """
    from .redirect import redirected  # noqa: PLC0415 - with its first use

    with redirected(monkeypatch) as sandbox:
        yield sandbox


@pytest.fixture
def tusfacturas_webhooks(tusfacturas_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Webhooks:
    """Delivers events with the token into the app under test: see ``Webhooks``.

    While the test runs, ``TUSFACTURAS_WEBHOOK_TOKEN`` in the environment is the token that it sends.
    """
    from ..sandbox import WEBHOOK_TOKEN  # noqa: PLC0415 - with its first use
    from .webhooks import Webhooks  # noqa: PLC0415

    monkeypatch.setenv("TUSFACTURAS_WEBHOOK_TOKEN", WEBHOOK_TOKEN)
    return Webhooks(tusfacturas_sandbox)
