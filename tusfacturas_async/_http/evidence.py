"""How far one request got, and what a failure proves of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..evidence import Evidence
from .answer import BrokenAnswerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping


class Leave:
    """Who is asked when a request leaves, and told; this one lets it go at once."""

    def begin(self) -> Awaitable[None] | None:
        """Its first byte is about to leave, when what this returns was awaited; unless it raises."""

    def head_has_left(self) -> None:
        """Its body is about to leave, where that is another write; raising keeps it from that."""

    def end(self) -> None:
        """It has left, or failed to; told once or more."""


class Passage:
    """How far one request got: ``sent`` once its first byte was about to leave.

    Args:
        leave: Asked and told when it leaves.
    """

    __slots__ = ("_turned", "leave", "sent", "traced")

    def __init__(self, leave: Leave) -> None:
        self._turned = True
        self.leave: Leave = leave
        self.sent: bool = False
        self.traced: bool = False

    def opening(self) -> None:
        """A connection has to be opened first."""
        self.traced = True

    def sending(self) -> Awaitable[None] | None:
        """The first byte is about to leave, when what this returns was awaited; unless it raises.

        Raises:
            BrokenAnswerError: It has left before. A user's transport may send again what failed, which is
                billed, and of which nobody would know.
        """
        self.traced = True
        if self.sent:
            raise BrokenAnswerError("no answer came, and the transport was kept from sending it once more")
        wait = self.leave.begin()
        if wait is not None:
            return self._sending_late(wait)
        self.sent = True
        return None

    async def _sending_late(self, wait: Awaitable[None]) -> None:
        await wait
        self.sent = True

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        """What the public ``trace`` extension of httpcore calls, wherever a transport passes it on.

        Raises:
            BrokenAnswerError: The answer was there before it was asked for, or the request has left before.
        """
        self.traced = True
        method = getattr(info.get("request"), "method", b"")
        # A proxy is first asked for a tunnel; that request is not ours yet.
        if name.endswith("send_request_headers.started") and method != b"CONNECT":
            wait = self.sending()
            if wait is not None:
                await wait
        elif name.endswith("connect_tcp.started"):
            self.opening()
        elif name.endswith("send_request_headers.complete"):
            self.leave.end()
            self.leave.head_has_left()
        elif name.endswith("send_request_headers.failed"):
            self.leave.end()
        elif name == "http11.receive_response_headers.started":
            self._turned = False
            asyncio.get_running_loop().call_soon(self._turn)
        elif name == "http11.receive_response_headers.complete" and not self._turned:
            # Reading takes a turn of the event loop. This lay in the parser: what came unasked behind the
            # answer before, which httpcore would take for this one's.
            raise BrokenAnswerError("an answer was there before it was asked for")

    def _turn(self) -> None:
        self._turned = True


def evidence_of(
    error: BaseException, passage: Passage, nothing_left: tuple[type[Exception], ...], *, trusted: bool
) -> Evidence:
    """What a failed exchange proves.

    Args:
        error: What was raised.
        passage: How far it got, as far as the transport told.
        nothing_left: The classes of httpx's exceptions that mean that no byte left.
        trusted: Whether the transport is one of httpx's own or ours. Another may report a lost reply by any
            class, and may have gone on by a way that tells nothing.
    """
    if passage.sent:
        return Evidence.MAYBE_SENT
    told = isinstance(error, nothing_left)
    timed_out = isinstance(error, TimeoutError)
    proven = passage.traced or told if trusted else passage.traced and (told or timed_out)
    return Evidence.NOT_SENT if proven else Evidence.MAYBE_SENT
