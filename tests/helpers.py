"""What several test modules do alike."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import pytest
from pyreqwest.compatibility.httpx import HttpxTransport

from tusfacturas_async import AsyncClient, BatchReport, DirectTransport, ReprocessResult, TusFacturasError
from tusfacturas_async._http import parsing
from tusfacturas_async._http.transport import Transport
from tusfacturas_async.models import SECRETS
from tusfacturas_async.sandbox import Sandbox

WAYS = ("httpx", "direct, httptools", "direct, h11")
"""How requests travel: by default over httpx; else over connections of our own, with each of its parsers."""

every_way_and_foreign = pytest.mark.parametrize("way", [*WAYS, "pyreqwest"], indirect=True)
"""Also over somebody else's transport, which tells less."""


def take_way(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every client that names no transport of its own go this way."""
    parsing.syntax.cache_clear()
    transport: object = None
    if name == "pyreqwest":
        transport = HttpxTransport()
    elif name != "httpx":
        transport = DirectTransport
    for owner in (AsyncClient, Transport):
        monkeypatch.setitem(owner.__init__.__kwdefaults__ or {}, "transport", transport)
    if transport is DirectTransport:
        monkeypatch.setattr(parsing, "_PARSERS", (f"with_{name.removeprefix('direct, ')}",))


@asynccontextmanager
async def asked_by_all(references: Iterable[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """A sandbox on a socket: every client that is told no URL asks it, with the environment's credentials."""
    async with Sandbox(references) as sandbox, sandbox.serve() as url:
        for name, variable in SECRETS.items():
            monkeypatch.setenv(variable, getattr(sandbox.credentials, name))
        monkeypatch.setitem(AsyncClient.__init__.__kwdefaults__ or {}, "base_url", url)
        yield sandbox


async def ended(client: AsyncClient, reference: str = "ref") -> ReprocessResult:
    """The result of one reference, also where it stopped its batch."""
    try:
        report: BatchReport | None = await client.reprocess_all([reference])
    except TusFacturasError as error:
        report = error.report
    assert report is not None
    (result,) = report.results
    return result


def spoken(stderr: str) -> str:
    """What a process said by itself: in its debug mode asyncio tells of whatever held its loop up."""
    lines = stderr.splitlines(keepends=True)
    return "".join(
        line for line in lines if not re.match(r"(WARNING: )?Executing <.* took .* seconds$", line)
    )
