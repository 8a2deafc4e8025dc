"""The parser of the extra ``speed``: llhttp, in C. What it lets pass and h11 would not is refused here."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httptools

from .answer import Body, BrokenAnswerError
from .parsing import LONGEST_HEAD, MALFORMED, VERSIONS, Answer

if TYPE_CHECKING:
    from .parsing import Head, Headers

_TOKEN: Final = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_TARGET: Final = re.compile(rb"[\x21-\x7e]+")
_VALUE: Final = re.compile(rb"[^\x00\r\n]*")

_FINAL: Final = 200
"""Statuses below it are informational: the answer is still to come."""

_NO_BODY: Final = frozenset({204, 304})


class HttptoolsParser:
    """Is called back by llhttp, in order, for each answer; see ``parsing.Parser``."""

    def __init__(self, longest: int) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._longest = longest
        self._headers: Headers = []
        self._head_came = 0
        self._body: Body | None = None
        self._answer: Answer | None = None
        self._until_end = False
        self.reusable: bool = False

    def ask(self, head: bytes, body: bytes) -> bytes:
        self._headers = []
        self._head_came = 0
        self._body = self._answer = None
        self._until_end = self.reusable = False
        return head + body

    def feed(self, data: bytes) -> Answer | None:
        if self._body is None:
            self._head_came += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if self._answer is None:
                ours = error.__context__  # raised in a callback
                raise ours if isinstance(ours, BrokenAnswerError) else BrokenAnswerError(MALFORMED) from None
        if self._body is None and self._head_came > LONGEST_HEAD:
            raise BrokenAnswerError(MALFORMED)
        return self._answer

    def end(self) -> Answer | None:
        if self._until_end and self._answer is None:
            self.on_message_complete()
            self.reusable = False
        return self._answer

    # -- called by httptools ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of an answer; of one more, nobody asked for it."""
        if self._answer is not None:
            self.reusable = False

    def on_status(self, reason: bytes) -> None:
        """The status line's words, which nobody reads."""
        if b"\x00" in reason:
            raise BrokenAnswerError(MALFORMED)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; behind the body it is a trailer, which tells nothing."""
        if self._body is None:
            self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The body begins."""
        parser = self._parser
        status = parser.get_status_code()
        if self._answer is not None or status < _FINAL:
            return
        if parser.get_http_version().encode() not in VERSIONS:
            raise BrokenAnswerError(MALFORMED)
        names = {name for name, _ in self._headers}
        if b"transfer-encoding" not in names:
            self._until_end = b"content-length" not in names and status not in _NO_BODY
        elif [value.lower() for name, value in self._headers if name == b"transfer-encoding"] != [b"chunked"]:
            raise BrokenAnswerError(MALFORMED)  # the body would be packed once more
        self._body = Body((), self._longest)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._answer is None and self._body is not None:
            self._body.feed(data)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._answer is not None:
            return
        if self._body is None:  # it was informational
            self._headers = []
            return
        self.reusable = self._parser.should_keep_alive()
        self._answer = Answer(self._parser.get_status_code(), self._headers, self._body.whole())


new_parser = HttptoolsParser


def new_head(head: Head) -> bytes:
    """A request's head, checked: httptools only reads."""
    names = [head.method, *(name for name, _ in head.headers)]
    values = [value for _, value in head.headers]
    good = _TARGET.fullmatch(head.target) and all(map(_TOKEN.fullmatch, names))
    if not (good and all(map(_VALUE.fullmatch, values))):
        raise ValueError("a request's head has forbidden characters")
    lines = b"".join(b"%b: %b\r\n" % header for header in head.headers)
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (head.method, head.target, lines)
