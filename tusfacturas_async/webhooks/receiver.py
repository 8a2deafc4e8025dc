"""``WebhookReceiver``: an ASGI app that answers the service truthfully. It depends on no framework."""

from __future__ import annotations

import logging
from typing import Final

from .._asgi import BodyError, Message, Receive, Send, answer, read
from ..errors import InvalidWebhookTokenError, MalformedWebhookError
from .events import AnyWebhookEvent, TestWebhook, parse_webhook
from .handlers import Handler, call, check_handler
from .tokens import Tokens, check_tokens, verify_webhook

logger: logging.Logger = logging.getLogger(__name__)

MAX_BODY: Final = 64 * 1024
TIME_LIMIT: Final = 4.0


class WebhookReceiver:
    """Receives deliveries: mount it under the URL that is set for the point of sale.

    It answers 200 only after ``handler`` has returned, so whatever goes wrong before is delivered again:
    403 for a wrong token, 405 for anything but POST, 413 for a long body, 400 for a malformed one, 500 when
    the handler fails, 503 when it takes too long (it is cancelled and awaited first). The panel's ``test``
    probe is answered 200 without the handler; unknown events go to the handler.

    Args:
        handler: An async function, called with each event in a task of its own. It may be called more than
            once for the same event (see ``Inbox``).
        tokens: See ``verify_webhook``. A mapping or a list is asked at each delivery, so it may change.
        max_body: Bytes.
        time_limit: Seconds for the handler; the service waits 5 s for the answer to a redelivery.

    Raises:
        TypeError: ``handler`` is no async function, or ``tokens`` are no texts.
        ValueError: No token is configured, or a number is not above 0. After 24 h of refused deliveries the
            service would ignore the URL for good.
    """

    def __init__(
        self, handler: Handler, *, tokens: Tokens, max_body: int = MAX_BODY, time_limit: float = TIME_LIMIT
    ) -> None:
        check_handler(handler)
        check_tokens(tokens)
        _check_above_0("max_body", max_body)
        _check_above_0("time_limit", time_limit)
        self._handler = handler
        self._tokens = tokens
        self._max_body = max_body
        self._time_limit = time_limit

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            status = await self._receive(scope, receive)
            await answer(send, status, headers=[(b"allow", b"POST")] if status == 405 else [])  # noqa: PLR2004
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _receive(self, scope: Message, receive: Receive) -> int:
        if scope["method"] != "POST":
            return 405
        try:
            verify_webhook(scope["headers"], self._tokens)
            event = parse_webhook(await read(receive, self._max_body))
        except InvalidWebhookTokenError as error:
            logger.warning("webhook refused: %s", error)
            return 403
        except BodyError as error:
            return error.status
        except MalformedWebhookError as error:
            logger.warning("webhook refused: %s", error)
            return 400
        if isinstance(event, TestWebhook):
            logger.info("the service has probed the webhook's URL")
            return 200
        return await self._handle(event)

    async def _handle(self, event: AnyWebhookEvent) -> int:
        told = f"{event.evento} of {event.external_reference}"
        try:
            error = await call(self._handler, event, time_limit=self._time_limit)
        except TimeoutError:
            logger.warning("webhook %s: the handler took over %s s: cancelled", told, self._time_limit)
            return 503
        if error is not None:  # the service is to deliver again
            logger.error("webhook %s: the handler failed", told, exc_info=error)
            return 500
        return 200


def _check_above_0(name: str, value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be above 0, not {value!r}")


async def _live(receive: Receive, send: Send) -> None:
    """Serve as a whole application, not only mounted in one."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
