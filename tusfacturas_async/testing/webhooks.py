"""``Webhooks``: events with the token, for the app under test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._http.transport import TransportFailure
from ..sandbox import WEBHOOK_TOKEN
from ..webhooks import sign_webhook

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..sandbox import Sandbox, WebhookSender


class Webhooks:
    """Delivers events into the app under test, which ``connect`` names.

    Attributes:
        token: What it sends as ``TF-WebhookToken``.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.token: str = WEBHOOK_TOKEN
        self._sandbox = sandbox
        self._sender: WebhookSender | None = None

    def connect(self, app: str | Callable[..., Any], path: str = "/") -> None:
        """Deliver to this app from now on; so does the sandbox, with what its calls lead to.

        Args:
            app: An ASGI app, or the URL of a server on loopback.
            path: Where in the app the receiver is.
        """
        self._sender = self._sandbox.deliver_to(app, path=path, token=self.token)

    async def deliver(self, evento: str, external_reference: str | None = None, **fields: Any) -> int:
        """Deliver one event, once.

        Args:
            evento: ``"encolado"``, ``"emitido"``, ``"error"``, …
            external_reference: The voucher's.
            **fields: As ``sign_webhook`` takes them: ``msg``, ``creado``, ``intento``, ``hook_id``, …

        Returns:
            The HTTP status that the app answered.

        Raises:
            RuntimeError: No app is connected.
            Exception: What the app raised instead of answering.
        """
        if self._sender is None:
            raise RuntimeError("connect(app, path) first: there is nobody to deliver to")
        signed = sign_webhook(self.token, evento=evento, external_reference=external_reference, **fields)
        try:
            return await self._sender.post(signed.body)
        except TransportFailure as failure:
            raise failure.__cause__ or failure from None
