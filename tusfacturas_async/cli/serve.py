"""Commands that serve on loopback: a receiver that prints events and keeps them, and a sandbox."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ..models import SECRETS
from ..sandbox import WEBHOOK_TOKEN, LoopbackServer, Sandbox
from ..webhooks import Inbox, WebhookEvent, WebhookReceiver
from .screen import put_line
from .texts import say
from .visible import visible

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_IN_PYTHON: Final = 'AsyncClient(Credentials.from_env(), base_url=os.environ["TUSFACTURAS_BASE_URL"])'
"""The client reads no URL from the environment by itself: no variable moves a backend's billed calls."""


async def webhooks(tokens: list[str], inbox: Path, port: int) -> None:
    """Receive until cancelled."""

    async def show(event: WebhookEvent) -> None:
        told = f"{event.creado}  {event.evento}  {event.external_reference or '-'}  {'; '.join(event.msg)}"
        put_line(visible(told.rstrip()))

    kept = Inbox.open(inbox, show)
    receiver = WebhookReceiver(kept.receive, tokens=tokens)
    async with kept, LoopbackServer(receiver, port=port) as url:
        put_line(say("receiving", url=url, inbox=inbox))
        await asyncio.Event().wait()


async def sandbox(references: Sequence[str], port: int, webhook: str | None, token: str | None) -> None:
    """Serve a sandbox with these errored vouchers until cancelled."""
    made = Sandbox(dict.fromkeys(references), webhook=webhook, webhook_token=token or WEBHOOK_TOKEN)
    async with made as served, served.serve(port, console=True) as url:
        put_line(f"export TUSFACTURAS_BASE_URL={url}")
        for name, variable in SECRETS.items():  # they open nothing but this sandbox
            put_line(f"export {variable}={getattr(served.credentials, name)}")
        if webhook is not None and token is None:
            put_line(f"export TUSFACTURAS_WEBHOOK_TOKEN={WEBHOOK_TOKEN}")
        put_line(f"# Python: {_IN_PYTHON}")
        put_line(f"# {say('sandbox console', url=url.removesuffix('app/api/'))}")
        put_line(f"# {say('sandbox', url=url)}")
        await asyncio.Event().wait()
