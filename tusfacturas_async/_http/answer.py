"""An answer while it comes: its content coding undone, and every size bounded before it is taken up.

Nobody here knows how the bytes travelled.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of one answer, decompressed. A lookup's page of 100 vouchers has some 100 KiB."""

_ZLIB_OR_GZIP: Final = 32 + zlib.MAX_WBITS
_BARE_DEFLATE: Final = -zlib.MAX_WBITS
"""What some servers call ``deflate``: without zlib's head, whose first byte would say "method 8"."""


class Reply(NamedTuple):
    """An HTTP answer, whole. ``headers`` are looked up by their name in lower case."""

    status_code: int
    headers: Mapping[str, str]
    body: bytes


class BrokenAnswerError(Exception):
    """What came is not a whole HTTP answer. It never quotes: an answer may echo the request."""


class Body:
    """The bytes of one answer's body, decompressed as they come.

    One content coding at most: each further one multiplies what a small answer can expand to by a thousand.

    Args:
        codings: The values of the answer's ``Content-Encoding`` headers.
        longest: Bytes at most, as they come and decompressed.

    Raises:
        BrokenAnswerError: More than one coding, or one that we do not ask for.
    """

    def __init__(self, codings: Iterable[str], longest: int = MAX_ANSWER) -> None:
        found = [
            name
            for value in codings
            for part in value.split(",")
            if (name := part.strip().lower()) not in {"", "identity"}
        ]
        if len(found) > 1:
            raise BrokenAnswerError(f"the answer has {len(found)} content codings, one within the other")
        if found and found[0] not in {"gzip", "x-gzip", "deflate"}:
            raise BrokenAnswerError("the answer has a content coding that was not asked for")
        self._coding = found[0] if found else None
        self._longest = longest
        self._came = 0
        self._body = bytearray()
        self._unpacker: zlib._Decompress | None = None

    def feed(self, data: bytes) -> None:
        """Take what came.

        Raises:
            BrokenAnswerError: It is too much, expands to too much, or cannot be decompressed.
        """
        self._came += len(data)
        if self._coding is not None and data:
            data = self._unpacked(data)
        self._body += data
        if max(self._came, len(self._body)) > self._longest:
            raise BrokenAnswerError(f"the answer has more than {self._longest} bytes")

    def _unpacked(self, data: bytes) -> bytes:
        if self._unpacker is None:
            bare = self._coding == "deflate" and data[0] & 0x0F != zlib.DEFLATED
            self._unpacker = zlib.decompressobj(_BARE_DEFLATE if bare else _ZLIB_OR_GZIP)
        try:
            # One byte beyond the limit is enough to know; no more is ever made.
            return self._unpacker.decompress(data, self._longest - len(self._body) + 1)
        except zlib.error:
            raise BrokenAnswerError("the answer cannot be decompressed") from None

    def whole(self) -> bytes:
        """All of it, after the last byte came.

        Raises:
            BrokenAnswerError: The compressed data is cut off, or something follows it.
        """
        unpacker = self._unpacker
        if unpacker is not None and (not unpacker.eof or unpacker.unused_data):
            raise BrokenAnswerError("the answer's compressed data does not end where the answer does")
        return bytes(self._body)


def unpacked(codings: Iterable[str], data: bytes) -> bytes:
    """A body that came whole.

    Raises:
        BrokenAnswerError: As of ``Body``.
    """
    body = Body(codings)
    body.feed(data)
    return body.whole()
