"""The smaller commands: what they ask, and how they print it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..journal import Journal
from ..models import ReprocessRequest
from ..sandbox import Sandbox
from ..triage import triage
from ..webhooks import ErrorWebhook, Inbox
from .connection import connect
from .outputs import as_json
from .references import UsageError
from .texts import say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import date
    from pathlib import Path

    from ..models import Voucher

_VOUCHER = ("external_reference", "status", "tipo", "punto_venta", "numero", "fecha", "total", "cae")


async def lookup(references: Sequence[str], *, as_lines: bool) -> int:
    """Print the vouchers of these references."""
    async with connect() as client:
        wanted = [ReprocessRequest(reference, any_characters=True) for reference in references]
        found = await client.lookup(*wanted)
    _print_vouchers(found, as_lines=as_lines)
    return 0


async def errored(since: date, until: date | None, *, as_lines: bool) -> int:
    """Print the errored vouchers of these dates, in the order of first sending."""
    async with connect() as client:
        if as_lines:
            await _stream(client.errored(since, until))
        else:
            _print_vouchers([voucher async for voucher in client.errored(since, until)], as_lines=False)
    return 0


async def _stream(vouchers: AsyncIterator[Voucher]) -> None:
    async for voucher in vouchers:
        print(as_json(voucher))


def _print_vouchers(vouchers: Sequence[Voucher], *, as_lines: bool) -> None:
    if as_lines:
        for voucher in vouchers:
            print(as_json(voucher))
        return
    table = Table()
    for name in _VOUCHER:
        table.add_column(name, overflow="fold")
    for voucher in vouchers:
        values = (getattr(voucher, name) for name in _VOUCHER)
        table.add_row(*(Text("" if value is None else str(value)) for value in values))
    Console().print(table)


async def delete(reference: str, fecha: date) -> int:
    """Delete one voucher from the queue."""
    async with connect() as client:
        await client.delete(ReprocessRequest(reference, any_characters=True), fecha)
    print(say("deleted", reference=reference))
    return 0


async def change_date(reference: str, fecha: date, due: date) -> int:
    """Change one voucher's dates."""
    async with connect() as client:
        await client.change_date(ReprocessRequest(reference, any_characters=True), fecha, due)
    print(say("date changed", reference=reference))
    return 0


async def advise(texts: Sequence[str], inbox: Path | None, *, as_lines: bool) -> int:
    """Print what helps, from texts or from the last word on each voucher in an inbox."""
    if bool(texts) == (inbox is not None):
        raise UsageError("give the error's texts, or --inbox FILE: one of the two")
    if inbox is None:
        told = [("-", tuple(texts))]
    else:
        _must_exist(inbox)
        async with Inbox.open(inbox) as kept:
            states = [state async for state in kept.states()]
        told = [(s.external_reference, s.msg) for s in states if isinstance(s, ErrorWebhook)]
    for reference, reasons in told:
        advice = triage(reasons)
        if as_lines:
            codes = [finding.arca_code for finding in advice.findings if finding.arca_code]
            print(
                as_json(
                    {"reference": reference, "remedy": advice.remedy, "arca_codes": codes, "texts": reasons}
                )
            )
        else:
            print(f"{reference}  {say(advice.remedy)}  {'; '.join(reasons)}")
    return 0


def _must_exist(path: Path) -> None:
    if not path.exists():  # opening would create it
        raise UsageError(f"there is no file {path}")


async def show_journal(path: Path, *, as_lines: bool) -> int:
    """Print a journal's rows, or how many there are of each outcome."""
    _must_exist(path)
    async with Journal.open(path) as journal:
        if as_lines:
            async for row in journal:
                print(as_json(row))
        else:
            for outcome, count in (await journal.summary()).items():
                print(f"{count:>6} {say(outcome)}")
    return 0


async def serve_sandbox(references: Sequence[str], port: int) -> None:
    """Serve a sandbox with these errored vouchers until cancelled."""
    async with Sandbox(dict.fromkeys(references)) as sandbox, sandbox.serve(port, console=True) as url:
        credentials = sandbox.credentials
        print(f"export TUSFACTURAS_BASE_URL={url}")
        for name in ("apikey", "apitoken", "usertoken"):  # they open nothing but this sandbox
            print(f"export TUSFACTURAS_{name.upper()}={getattr(credentials, name)}")
        print(f"# console: {url.removesuffix('app/api/')}")
        print(f"# {say('sandbox', url=url)}", flush=True)
        await asyncio.Event().wait()
