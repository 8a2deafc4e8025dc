"""The language of the command line, and the text that it has for each key (``wording``)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from typing import Final

from .visible import visible
from .wording import WORDING

LANGUAGES: Final = ("en", "es")

_chosen = 0


def choose(language: str | None) -> None:
    """Set the language, "en" or "es"; ``None`` for the locale's (``LC_ALL``, ``LC_MESSAGES``, ``LANG``)."""
    global _chosen  # noqa: PLW0603 - one command line, one language
    if language is None:
        locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
        language = locale[:2].lower()
    _chosen = LANGUAGES.index(language) if language in LANGUAGES else 0


def language() -> str:
    """The chosen one."""
    return LANGUAGES[_chosen]


def say(key: str, **values: object) -> str:
    """The text of this key in the chosen language, its places filled, what fills them made visible.

    ``count`` also chooses the form: the first for one (or where there is no count), else the last.
    """
    forms = WORDING[key][_chosen].split("|")
    form = forms[0] if values.get("count", 1) == 1 else forms[-1]
    return form.format(**{name: visible(value) for name, value in values.items()})


def say_counts(counts: Iterable[tuple[str, int]]) -> str:
    """How many there are of each outcome, in one line."""
    return ", ".join(f"{count} {say(outcome, count=count)}" for outcome, count in counts)


def system(number: int | None) -> str:
    """What the system says of an error's number; what is common in the chosen language."""
    key = f"errno {errno.errorcode.get(number or 0)}"
    return say(key) if key in WORDING else os.strerror(number or 0)
