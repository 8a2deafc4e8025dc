"""What is wrong with a command line, in the chosen language: cyclopts finds it, and says it in English."""

from __future__ import annotations

from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from cyclopts import (
    CoercionError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownOptionError,
    UnusedCliTokensError,
    ValidationError,
)
from cyclopts.exceptions import UnknownCommandError

from .help import kinds_named
from .texts import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cyclopts import Argument, CycloptsError


_WANTED: Final[Mapping[object, str]] = {date: "not a date", int: "not a whole number", float: "not a number"}


def explain(error: CycloptsError) -> str:
    """What is wrong, and how to mend it."""
    match error:
        case UnknownOptionError():
            told = _unknown_option(error.token.keyword or error.token.value, error.argument_collection)
        case UnknownCommandError():
            wrong = (error.unused_tokens or [""])[0]
            known = [name for name in (error.app or ()) if not name.startswith("-")]
            told = say("unknown command", command=wrong) + _meant(wrong, known)
            told += say("known commands", names=", ".join(known)) if known else ""
        case CoercionError() if error.token is not None:
            key = _WANTED.get(error.target_type, "not a value")
            told = say(key, option=_name(error), value=error.token.value)
        case ValidationError():
            told = say("out of range", option=_name(error))
        case RepeatArgumentError():
            told = say("given twice", option=error.token.keyword)
        case UnusedCliTokensError():
            told = _too_many(error)
        case MissingArgumentError():
            told = say("missing", option=_name(error))
        case _:
            told = str(error)
    return told


def _unknown_option(wrong: str, known: Iterable[Argument]) -> str:
    names = [name for argument in known for name in argument.names]
    return say("unknown option", option=wrong) + _meant(wrong, names)


def _too_many(error: UnusedCliTokensError) -> str:
    """Words that nobody takes; FILE may begin with a hyphen (``-``), so it may have taken a wrong option."""
    known = () if error.app is None else error.app.assemble_argument_collection()
    names = {name for argument in known for name in argument.names}
    for token in error.root_input_tokens or ():
        if token.startswith("--") and token.partition("=")[0] not in names:
            return _unknown_option(token, known)
    return say("too many", tokens=" ".join(error.unused_tokens or ()))


def _meant(wrong: str, known: Iterable[str]) -> str:
    near = get_close_matches(wrong, list(known), n=1)
    return say("did you mean", name=near[0]) if near else ""


def _name(error: CoercionError | MissingArgumentError | ValidationError) -> str:
    """The option as it was written, or the argument as the help shows it."""
    token = error.token if isinstance(error, CoercionError) else None
    keyword = error.keyword if isinstance(error, MissingArgumentError) else token and token.keyword
    if keyword or error.argument is None:
        return keyword or ""
    name = error.argument.name
    return name if name.startswith("-") else kinds_named(name.upper())
