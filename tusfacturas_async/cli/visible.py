"""Control characters made visible: what comes from outside must not command a terminal.

References, the service's texts, webhooks, names of files and messages of errors all pass through here on
their way out. It knows no language and prints nothing.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import Final

from .._data import jsonable

_HIDDEN: Final = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0, DEL, C1: colours, titles, hyperlinks, the clipboard
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they turn the direction of what is read
    "\u2028\u2029"  # they end a line for some programs
    "\u00ad\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # nobody sees them
    "\U000e0000-\U000e007f"  # nor these
    "\ud800-\udfff"  # half of a pair: no output in UTF-8 can carry it
    "]"
)


def visible(value: object) -> str:
    r"""The text of ``value`` on one line, each control character as ``\x1b`` or ``\u202e``.

    Lone surrogates (an undecodable byte in the name of a file is one) and line ends count among them.
    """
    return _HIDDEN.sub(lambda found: _escape(found[0]), str(value))


def visible_lines(text: str) -> str:
    """A text of many lines, as a traceback is, its line ends kept."""
    return "\n".join(map(visible, text.split("\n")))


def as_html(value: object) -> str:
    """As ``visible``, and without a meaning of its own in HTML."""
    return escape(visible(value))


def visible_json(value: object) -> str:
    """One line of JSON that reads back the same, control characters escaped; money and dates as text."""
    written = json.dumps(value, default=jsonable, ensure_ascii=False)
    return _HIDDEN.sub(lambda found: _units(found[0]), written)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 - one byte


def _units(character: str) -> str:
    """JSON's escape: one for each 16 bits."""
    return re.sub("(....)", r"\\u\1", character.encode("utf-16-be", "surrogatepass").hex())
