"""The two parsers of our own connection, without a socket: what the fast one takes, the strict one takes."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from tusfacturas_async._http import parsing, with_h11, with_httptools
from tusfacturas_async._http.answer import BrokenAnswerError
from tusfacturas_async._http.parsing import Answer, Head

HEAD = Head(b"POST", b"/x", [(b"Host", b"x"), (b"Content-Length", b"2")])
LONGEST = 1000
BODY = b'{"error": "N"}'
CHUNKED = b"Transfer-Encoding: chunked"
LENGTH = b"Content-Length: 14"

BOTH = pytest.mark.parametrize("syntax", [with_h11, with_httptools], ids=["h11", "httptools"])


def answer(*headers: bytes, body: bytes = BODY, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([start, *headers]) + b"\r\n\r\n" + body


WHOLE = (
    answer(LENGTH, b"X-A: b"),
    answer(CHUNKED, body=b'5\r\n{"err\r\n9\r\nor": "N"}\r\n0\r\n\r\n'),
    answer(LENGTH, b"Connection: close"),
    answer(),
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(LENGTH),
)


def read(syntax: Any, data: bytes, dice: random.Random | None = None) -> tuple[Answer | None, bool]:
    """What came of these bytes, in pieces and then the end; and whether the connection is good for more."""
    parser = syntax.new_parser(LONGEST)
    assert parser.ask(syntax.new_head(HEAD), b"{}").endswith(b"\r\n\r\n{}")
    found = None
    while data and found is None:
        size = dice.randint(1, len(data)) if dice else 65536  # as they come off a socket
        found, data = parser.feed(data[:size]), data[size:]
    if found is None:
        return parser.end(), False
    return found, parser.reusable and not data


@BOTH
@pytest.mark.parametrize(
    ("data", "reusable"),
    [
        (answer(LENGTH), True),
        (answer(CHUNKED, body=b'5\r\n{"err\r\n9\r\nor": "N"}\r\n0\r\n\r\n'), True),
        (answer(CHUNKED, body=b"e;x=y\r\n" + BODY + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"), True),
        (answer(LENGTH, b"Connection: close"), False),
        (answer(), False),
        (answer(start=b"HTTP/1.0 200 OK"), False),
        (answer(LENGTH, start=b"HTTP/1.0 200 OK"), False),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(LENGTH), True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + answer(LENGTH), True),
        (answer(LENGTH) * 2, False),
        (answer(LENGTH) + b"garbage", False),
        (answer(LENGTH, b"Connection: close") + b"garbage", False),
    ],
)
def test_ways_in_which_an_answer_may_come(data: bytes, reusable: bool, syntax: Any) -> None:
    """At once or byte by byte; and whether another may follow it."""
    dice = random.Random(7)
    whole, _ = read(syntax, data)
    assert whole is not None
    assert (whole.status, whole.body) == (200, BODY)
    assert read(syntax, data)[1] is reusable
    for _ in range(30):
        found, good = read(syntax, data, dice)
        assert found == whole
        assert not good or reusable


@BOTH
@pytest.mark.parametrize(
    "data",
    [
        b"apitoken=SECRET\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        answer(LENGTH, CHUNKED),
        answer(LENGTH, b"Content-Length: 15"),
        answer(b"Content-Length: -1"),
        answer(b"Content-Length: 0x0e"),
        answer(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
        answer(b"Transfer-Encoding: gzip"),
        answer(b"X: " + b"x" * 200_000, LENGTH),
        answer(*[b"X: " + b"x" * 1000] * 200),
        answer(b"Content-Length: 1001", body=b" " * 1001),
        answer(CHUNKED, body=b"3e9\r\n" + b" " * 1001 + b"\r\n0\r\n\r\n"),
        answer(body=b" " * 1001),
        answer(LENGTH, body=BODY[:-1]),
        answer(CHUNKED, body=b"e\r\n" + BODY),
        answer(CHUNKED, body=b"zz\r\n"),
        answer(b"Bad Name: x", LENGTH),
        answer(b"X: a\x00b", LENGTH),
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
    ],
)
def test_what_is_no_answer(data: bytes, syntax: Any) -> None:
    """It is refused, or the end of it is waited for in vain; nothing that came is quoted."""
    assert outcome(syntax, data) is None
    parser = syntax.new_parser(LONGEST)
    parser.ask(syntax.new_head(HEAD), b"{}")
    with pytest.raises(BrokenAnswerError, match="well-formed"):
        parser.feed(b"apitoken=SECRET\r\n\r\n")


def test_what_httptools_takes_h11_takes() -> None:
    """20,000 damaged answers: it never reads another answer out of the same bytes.

    It may be stricter; and it skips empty lines before a status line.
    """
    dice = random.Random(1)
    alphabet = [*(bytes([byte]) for byte in b"\r\n \t:,019-\x00\xff"), b"\r\n", BODY]
    taken = 0
    for _ in range(20_000):
        data = bytearray(dice.choice(WHOLE))
        for _ in range(dice.randint(0, 2)):
            at = dice.randrange(len(data))
            data[at : at + dice.randint(0, 3)] = dice.choice(alphabet)
        fast = outcome(with_httptools, bytes(data))
        if fast is not None:
            taken += 1
            assert fast == outcome(with_h11, re.sub(rb"(\A|\r\n\r\n)[\r\n]+HTTP/", rb"\1HTTP/", data)), data
    assert taken > 5_000


def outcome(syntax: Any, data: bytes) -> tuple[int, bytes] | None:
    try:
        found, _ = read(syntax, data)
    except BrokenAnswerError:
        return None
    return None if found is None else (found.status, found.body)


@BOTH
@pytest.mark.parametrize(
    "head",
    [
        Head(b"POST", b"/x y", HEAD.headers),
        Head(b"POST", b"/x\r\nX: y", HEAD.headers),
        Head(b"PO ST", b"/x", HEAD.headers),
        Head(b"POST", b"/x", [*HEAD.headers, (b"X", b"a\r\nY: b")]),
        Head(b"POST", b"/x", [*HEAD.headers, (b"X:", b"a")]),
    ],
)
def test_a_head_that_would_be_another_request(head: Head, syntax: Any) -> None:
    """Is not made."""
    with pytest.raises(ValueError, match="head"):
        syntax.new_head(head)


def test_the_parser_is_the_fastest_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """httptools, else h11."""
    for names, expected in ((parsing._PARSERS, with_httptools), (("absent", "with_h11"), with_h11)):
        monkeypatch.setattr(parsing, "_PARSERS", names)
        parsing.syntax.cache_clear()
        assert parsing.syntax() is expected
    monkeypatch.undo()
    parsing.syntax.cache_clear()
