"""The sandbox's console: a page to watch what a backend asks of it, and to turn its switches. An ASGI app.

The page is one file without a build step, and works offline. It is for whoever develops on this machine; a
web page elsewhere must not be able to drive it. So every request must name a loopback host (DNS rebinding
names its own), what changes something is a POST of JSON, and its ``Origin`` must be this very server.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections import Counter, deque
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final, Protocol

from .._asgi import BodyError, Header, Message, Receive, Send, answer, read
from .._call.waiting import at_most
from .delivery import Delivered
from .gate import header, refusal
from .queue import Queue, State, StoredVoucher
from .service import Call
from .switches import Switches

PAGE: Final = "/"
STREAM: Final = "/console/events"
SWITCHES: Final = "/console/switches"

_PLAIN: Final = {"lose_next", "maintenance", "rate_limit", "latency", "lookup_lag"}
"""Switches that the page turns by their own names; ``arca`` is two in one."""

_ARCA_TAKES: Final = 2.0
"""Service seconds for which ARCA thinks, where the page makes it answer."""

_REASONS: Final = {400: "not understood", 429: "too many requests"}
_ALWAYS: Final = {State.ERRORED, State.QUEUED, State.ISSUED}
_KEPT: Final = 200
_LISTED: Final = 50
_SHOWN: Final = 3
_MAX_BODY: Final = 4_096
_PAUSE: Final = 0.1
"""Seconds between two pictures at least: what happens meanwhile goes into the next."""

_LOOK: Final = 1.0
"""Seconds after which the queue is looked at though nothing was told: ARCA and tests change it, too."""


class Shown(Protocol):
    """What the console needs of a sandbox."""

    switches: Switches

    def queues(self) -> list[Queue]:
        """The queue of each point of sale."""
        ...

    def hand_to_arca(self) -> None:
        """Let ARCA have what waits for it."""

    def subscribe(self, listener: Callable[[Call | Delivered], object]) -> Callable[[], None]:
        """Tell ``listener`` of each call and delivery."""
        ...

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""


class Console:
    """A sandbox with its console: the page at ``/``, the sandbox at every other path.

    Args:
        sandbox: What is shown, and served.
    """

    def __init__(self, sandbox: Shown) -> None:
        self._sandbox = sandbox
        self._calls: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._deliveries: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._happened = 0
        self._streams: set[asyncio.Event] = set()
        self._page, self._policy = _page()
        sandbox.subscribe(self._note)

    def _note(self, happened: Call | Delivered) -> None:
        self._happened += 1
        if isinstance(happened, Call):
            self._calls.appendleft({"number": self._happened, **_told_call(happened)})
        else:
            self._deliveries.appendleft({"number": self._happened, **_told_delivery(happened)})
        self._tell()

    def _tell(self) -> None:
        for news in self._streams:
            news.set()

    def picture(self) -> dict[str, Any]:
        """Everything that the page shows, as plain data."""
        switches = self._sandbox.switches
        queues = self._sandbox.queues()
        return {
            "billed": sum(queue.billed_calls for queue in queues),
            "vouchers": _by_state([voucher for queue in queues for voucher in queue.vouchers]),
            "calls": list(self._calls),
            "deliveries": list(self._deliveries),
            "switches": {**{name: getattr(switches, name) for name in sorted(_PLAIN)}, "arca": self._arca()},
        }

    def turn(self, wanted: dict[str, Any]) -> None:
        """Turn switches by name.

        Raises:
            TypeError, ValueError: There is no such switch on the page, or it has no such value.
        """
        if unknown := wanted.keys() - {*_PLAIN, "arca"}:
            raise ValueError(f"there is no switch {min(unknown)!r} here")
        for name, value in wanted.items():
            if name == "arca":
                self._turn_arca(value)
            else:
                setattr(self._sandbox.switches, name, value)
        self._tell()

    def _turn_arca(self, value: object) -> None:
        if value not in {"waits", "issues", "refuses"}:
            raise ValueError(f"arca waits, issues or refuses; not {value!r}")
        self._sandbox.switches.refuse = _refuse if value == "refuses" else lambda _: ()
        self._sandbox.switches.process_after = None if value == "waits" else _ARCA_TAKES
        self._sandbox.hand_to_arca()

    def _arca(self) -> str:
        switches = self._sandbox.switches
        if switches.process_after is None:
            return "waits"
        return "refuses" if switches.refuse is _refuse else "issues"

    # -- HTTP -------------------------------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """ASGI."""
        if why := refusal(scope):
            await _answer(send, 403, why.encode(), [])
            return
        match scope["path"], scope["method"]:
            case (path, "GET" | "HEAD") if path == PAGE:
                await _answer(send, 200, self._page, self._policy)
            case (path, "GET") if path == STREAM:
                await self._stream(receive, send)
            case (path, "POST") if path == SWITCHES:
                await self._turned(scope, receive, send)
            case (path, _) if path in {PAGE, STREAM, SWITCHES}:
                await _answer(send, 405, b"", [])
            case _:
                await self._sandbox(scope, receive, send)

    async def _turned(self, scope: Message, receive: Receive, send: Send) -> None:
        if not header(scope, b"origin"):
            await _answer(send, 403, b"a browser tells where a POST comes from: no Origin", [])
        elif not header(scope, b"content-type").startswith("application/json"):
            await _answer(send, 415, b"it must be application/json", [])
        else:
            try:
                wanted = json.loads(await read(receive, _MAX_BODY))
                if not isinstance(wanted, dict):
                    raise TypeError("it must be an object")
                self.turn(wanted)
            except (BodyError, TypeError, ValueError, RecursionError) as error:
                await _answer(send, 400, str(error).encode("utf-8", "replace"), [])
            else:
                await _answer(send, 204, b"", [])

    async def _stream(self, receive: Receive, send: Send) -> None:
        """Server-sent events: the whole picture, each time that it has changed."""
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        news = asyncio.Event()
        gone = asyncio.create_task(_gone(receive))
        gone.add_done_callback(lambda _: news.set())
        self._streams.add(news)
        shown = ""
        try:
            while not gone.done():
                if (picture := json.dumps(self.picture())) != shown:
                    shown, body = picture, f"data: {picture}\n\n".encode()
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                await asyncio.sleep(_PAUSE)
                await at_most(_LOOK, news.wait())
                news.clear()
        finally:
            self._streams.discard(news)
            gone.cancel()


def _refuse(_: StoredVoucher) -> list[str]:
    return ["Cod. Error: #6661145.10016 - refused by the sandbox's console"]


def _told_call(call: Call) -> dict[str, Any]:
    if call.lost:
        told = f"lost {call.lost} the work"
    elif call.answer is None:
        told = _REASONS.get(call.status, "")
    else:
        errors = " ".join(str(text) for text in call.answer.get("errores", ()) if text)
        total = f"{call.answer['total']} found" if "total" in call.answer else ""
        told = " ".join(filter(None, (str(call.answer.get("error", "")), errors, total)))
    more = len(call.references) - _SHOWN
    return {
        "at": f"{call.at.astimezone():%H:%M:%S}",
        "name": call.name,
        "references": [*call.references[:_SHOWN], *([f"and {more} more"] if more > 0 else [])],
        "status": call.status,
        "told": told,
        "billed": call.billed,
    }


def _told_delivery(delivered: Delivered) -> dict[str, Any]:
    return {
        "at": f"{delivered.at.astimezone():%H:%M:%S}",
        "evento": delivered.payload["evento"],
        "reference": delivered.payload["external_reference"],
        "try": delivered.number,
        "status": delivered.status,
    }


def _by_state(vouchers: list[StoredVoucher]) -> list[dict[str, Any]]:
    counts: Counter[State] = Counter()
    listed: dict[State, list[str]] = {state: [] for state in State}
    for voucher in vouchers:
        counts[voucher.state] += 1
        if len(listed[voucher.state]) < _LISTED:
            listed[voucher.state].append(voucher.external_reference)
    return [
        {"state": state.name, "count": counts[state], "references": listed[state]}
        for state in State
        if counts[state] or state in _ALWAYS
    ]


# -- HTTP -----------------------------------------------------------------------------------------


def _page() -> tuple[bytes, list[Header]]:
    """The page, and the policy that lets it run its own script and style, and load nothing else."""
    text = files("tusfacturas_async.sandbox").joinpath("console.html").read_text("utf-8")
    sources = {
        kind: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"
            for inner in re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        )
        for kind in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
    ]


async def _answer(send: Send, status: int, body: bytes, headers: list[Header]) -> None:
    plain = [] if any(name == b"content-type" for name, _ in headers) else [(b"content-type", b"text/plain")]
    always = [
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
    ]
    await answer(send, status, body, [*headers, *plain, *always])


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
