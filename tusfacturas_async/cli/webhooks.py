"""``tusfacturas webhooks serve``: a local receiver that prints events and keeps them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..sandbox import LoopbackServer
from ..webhooks import Inbox, WebhookEvent, WebhookReceiver
from .screen import put_line
from .texts import say
from .visible import visible

if TYPE_CHECKING:
    from pathlib import Path


async def serve(tokens: list[str], inbox: Path, port: int) -> None:
    """Receive on loopback until cancelled."""

    async def show(event: WebhookEvent) -> None:
        told = f"{event.creado}  {event.evento}  {event.external_reference or '-'}  {'; '.join(event.msg)}"
        put_line(visible(told.rstrip()))

    kept = Inbox.open(inbox, show)
    receiver = WebhookReceiver(kept.receive, tokens=tokens)
    async with kept, LoopbackServer(receiver, port=port) as url:
        if url:
            put_line(say("receiving", url=url, inbox=inbox))
        await asyncio.Event().wait()
