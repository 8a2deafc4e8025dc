"""The smaller commands: what they ask, and how they print it."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from rich.table import Table
from rich.text import Text

from ..journal import Journal
from ..models import ReprocessRequest
from ..sandbox import WEBHOOK_TOKEN, Sandbox
from ..triage import triage
from ..webhooks import ErrorWebhook, Inbox
from .ask import where
from .connection import Service
from .screen import put, put_line, rendered, tell, terminal
from .status import FINE, SOME_NOT, UsageError
from .table import separated
from .texts import say
from .visible import visible, visible_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import date
    from pathlib import Path

    from ..models import Voucher

_VOUCHER: Final = ("external_reference", "status", "tipo", "punto_venta", "numero", "fecha", "total", "cae")

_IN_PYTHON: Final = 'AsyncClient(Credentials.from_env(), base_url=os.environ["TUSFACTURAS_BASE_URL"])'
"""The client reads no URL from the environment by itself: no variable moves a backend's billed calls."""


async def lookup(references: Sequence[str], *, as_lines: bool) -> int:
    """Print the vouchers of these references, and on standard error those that nobody has."""
    if not references:
        raise UsageError(say("name something"))
    wanted = {reference: place for place, reference in enumerate(dict.fromkeys(references))}
    async with Service.chosen().client() as client:
        found = await client.lookup(*(ReprocessRequest(each, any_characters=True) for each in wanted))
    found.sort(key=lambda voucher: wanted.get(voucher.external_reference or "", len(wanted)))
    print_vouchers(found, as_lines=as_lines)
    had = {voucher.external_reference for voucher in found}
    missing = [reference for reference in wanted if reference not in had]
    for reference in missing:
        tell(say("nobody has", reference=reference))
    return SOME_NOT if missing else FINE


async def check() -> int:
    """Ask for a voucher that nobody has: the answer says whether these credentials are taken."""
    service = Service.chosen()
    began = time.monotonic()
    async with service.client() as client:
        await client.lookup(f"check-{uuid4().hex}")
    put_line(say("checked", where=where(service), seconds=f"{time.monotonic() - began:.2f}"))
    return FINE


async def errored(since: date, until: date | None, *, as_lines: bool) -> int:
    """Print the errored vouchers of these dates, in the order of first sending."""
    if until is not None and until < since:
        raise UsageError(say("until first"))
    async with Service.chosen().client() as client:
        found = client.errored(since, until)
        if as_lines:
            await _stream(found)
        else:
            vouchers = [voucher async for voucher in found]
            print_vouchers(vouchers, as_lines=False)
            if not vouchers:
                tell(say("nothing"))
    return FINE


async def _stream(vouchers: AsyncIterator[Voucher]) -> None:
    async for voucher in vouchers:
        put_line(visible_json(voucher))


def print_vouchers(vouchers: Sequence[Voucher], *, as_lines: bool) -> None:
    """Print vouchers: a table on a terminal, else lines for a program.

    Raises:
        OutputLostError: Standard output takes no more.
    """
    if as_lines:
        put("".join(f"{visible_json(voucher)}\n" for voucher in vouchers))
        return
    if not vouchers:
        return
    rows = ([getattr(voucher, name) for name in _VOUCHER] for voucher in vouchers)
    if not terminal(sys.stdout):
        put("".join(map(separated, rows)))
        return
    table = Table()
    for name in _VOUCHER:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if value is None else visible(value)) for value in row))
    put(rendered(table, sys.stdout))


async def advise(texts: Sequence[str], inbox: Path | None, *, as_lines: bool) -> int:
    """Print what helps, from texts or from the last word on each voucher in an inbox."""
    if bool(texts) == (inbox is not None):
        raise UsageError(say("texts or inbox"))
    if inbox is None:
        told = [("-", tuple(texts))]
    else:
        _must_exist(inbox)
        async with Inbox.read(inbox) as kept:
            states = [state async for state in kept.states()]
        told = [(s.external_reference, s.msg) for s in states if isinstance(s, ErrorWebhook)]
    for reference, reasons in told:
        advice = triage(reasons)
        if as_lines:
            codes = [finding.arca_code for finding in advice.findings if finding.arca_code]
            fields = {"reference": reference, "remedy": advice.remedy, "arca_codes": codes, "texts": reasons}
            put_line(visible_json(fields))
        else:
            put_line(visible(f"{reference}  {say(advice.remedy)}  {'; '.join(reasons)}"))
    return FINE


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise UsageError(say("no file", path=path))


async def show_journal(path: Path, *, as_lines: bool) -> int:
    """Print a journal's rows, or how many there are of each outcome."""
    _must_exist(path)
    async with Journal.read(path) as journal:
        if as_lines:
            async for row in journal:
                put_line(visible_json(row))
        else:
            for outcome, count in (await journal.summary()).items():
                put_line(f"{count:>6} {say(outcome, count=count)}")
    return FINE


async def serve_sandbox(references: Sequence[str], port: int, webhook: str | None, token: str | None) -> None:
    """Serve a sandbox with these errored vouchers until cancelled."""
    made = Sandbox(dict.fromkeys(references), webhook=webhook, webhook_token=token or WEBHOOK_TOKEN)
    async with made as sandbox, sandbox.serve(port, console=True) as url:
        credentials = sandbox.credentials
        put_line(f"export TUSFACTURAS_BASE_URL={url}")
        for name in ("apikey", "apitoken", "usertoken"):  # they open nothing but this sandbox
            put_line(f"export TUSFACTURAS_{name.upper()}={getattr(credentials, name)}")
        if webhook is not None and token is None:
            put_line(f"export TUSFACTURAS_WEBHOOK_TOKEN={WEBHOOK_TOKEN}")
        put_line(f"# Python: {_IN_PYTHON}")
        put_line(f"# {say('sandbox console', url=url.removesuffix('app/api/'))}")
        put_line(f"# {say('sandbox', url=url)}")
        await asyncio.Event().wait()
