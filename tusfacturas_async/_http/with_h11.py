"""The parser that httpx brings along: pure Python, and as strict as HTTP allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11

from .answer import Body, BrokenAnswerError
from .parsing import LONGEST_HEAD, MALFORMED, VERSIONS, Answer

if TYPE_CHECKING:
    from .parsing import Head

_NOTHING_MORE = (h11.NEED_DATA, h11.PAUSED)


class H11Parser:
    """Pulls events until the answer is whole; see ``parsing.Parser``."""

    def __init__(self, longest: int) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=LONGEST_HEAD)
        self._longest = longest
        self._head: h11.Response | None = None
        self._body = Body((), longest)
        self.reusable: bool = False

    def ask(self, head: h11.Request, body: bytes) -> bytes:
        http = self._http
        if self.reusable:
            http.start_next_cycle()
        self.reusable = False
        self._head, self._body = None, Body((), self._longest)
        data = (http.send(head) or b"") + (http.send(h11.Data(data=body)) or b"")
        http.send(h11.EndOfMessage())
        return data

    def feed(self, data: bytes) -> Answer | None:
        http = self._http
        try:
            http.receive_data(data)
            while True:
                event = http.next_event()
                if event in _NOTHING_MORE or isinstance(event, h11.ConnectionClosed):
                    return None
                if answer := self._take(event):
                    return answer
        except h11.RemoteProtocolError:
            raise BrokenAnswerError(MALFORMED) from None

    def end(self) -> Answer | None:
        return None if self._head is None else self.feed(b"")

    def _take(self, event: object) -> Answer | None:
        if isinstance(event, h11.Response):
            if event.http_version not in VERSIONS:
                raise BrokenAnswerError(MALFORMED)
            self._head = event
        head, http = self._head, self._http
        if head is None:  # an informational answer came before it
            return None
        if isinstance(event, h11.Data):
            self._body.feed(event.data)
        elif isinstance(event, h11.EndOfMessage):
            both_done = http.our_state is h11.DONE and http.their_state is h11.DONE
            self.reusable = both_done and not http.trailing_data[0]
            return Answer(head.status_code, list(head.headers), self._body.whole())
        return None


new_parser = H11Parser


def new_head(head: Head) -> h11.Request:
    """A request's head, checked by h11."""
    try:
        return h11.Request(method=head.method, target=head.target, headers=list(head.headers))
    except h11.LocalProtocolError as error:
        raise ValueError(f"a request's head is not well-formed: {error}") from None
