"""``tusfacturas webhooks serve``: a local receiver that prints events and keeps them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rich.console import Console

from ..sandbox import LoopbackServer
from ..webhooks import Inbox, WebhookEvent, WebhookReceiver
from .texts import say

if TYPE_CHECKING:
    from pathlib import Path


async def serve(tokens: list[str], inbox: Path, port: int) -> None:
    """Receive on loopback until cancelled."""
    console = Console()

    async def show(event: WebhookEvent) -> None:
        told = f"{event.creado}  {event.evento}  {event.external_reference or '-'}  {'; '.join(event.msg)}"
        console.print(told.rstrip(), markup=False, highlight=False, soft_wrap=True)

    kept = Inbox.open(inbox, show)
    receiver = WebhookReceiver(kept.receive, tokens=tokens)
    async with kept, LoopbackServer(receiver, port=port) as url:
        if url:
            console.print(say("receiving", url=url, inbox=inbox), soft_wrap=True)
        await asyncio.Event().wait()
