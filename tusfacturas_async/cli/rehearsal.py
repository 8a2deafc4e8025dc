"""The embedded sandbox of ``--sandbox``: vouchers in mixed states, and a listener for their webhooks."""

from __future__ import annotations

import zlib
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from .._call.waiting import at_most
from ..sandbox import WEBHOOK_TOKEN, LoopbackServer, Sandbox, State, StoredVoucher
from ..webhooks import EncoladoWebhook, WebhookEvent, WebhookReceiver
from .connection import Service

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType


_PATIENCE = 10.0
"""Seconds that the end of the run waits for webhooks still on their way."""


class Rehearsal:
    """A sandbox on loopback with these references in the states that an outage leaves behind.

    Most are errored; some wait in the queue, are issued, or do not exist; and for some errored ones the
    answer to the first re-send gets lost. A reference's name decides, so a run can be repeated.
    """

    def __init__(self, references: Iterable[str]) -> None:
        self._references = dict.fromkeys(references)
        self._stack = AsyncExitStack()
        self._confirmed: set[str] = set()

    async def __aenter__(self) -> Self:
        receiver = WebhookReceiver(self._note, tokens=WEBHOOK_TOKEN)
        hook = await self._stack.enter_async_context(LoopbackServer(receiver))
        self._sandbox = await self._stack.enter_async_context(Sandbox(webhook=hook, latency=0.02))
        for reference in self._references:
            self._place(reference)
        url = await self._stack.enter_async_context(self._sandbox.serve())
        self.service: Service = Service(url, self._sandbox.credentials)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def _place(self, reference: str) -> None:
        lot = zlib.crc32(reference.encode("utf-8", "replace")) % 100
        if lot < 5:  # noqa: PLR2004 - shares of a hundred
            return  # nobody has this reference
        state = State.QUEUED if lot < 10 else State.ISSUED if lot < 15 else State.ERRORED  # noqa: PLR2004
        self._sandbox.queue.add(StoredVoucher(reference, state))
        if lot >= 92:  # noqa: PLR2004
            self._sandbox.lose_answer(reference)

    async def confirmed(self) -> frozenset[str]:
        """The references whose ``encolado`` webhook has come, once all are delivered (or time is up)."""
        await at_most(_PATIENCE, self._sandbox.drain())
        return frozenset(self._confirmed)

    async def _note(self, event: WebhookEvent) -> None:
        if isinstance(event, EncoladoWebhook):
            self._confirmed.add(event.external_reference)
