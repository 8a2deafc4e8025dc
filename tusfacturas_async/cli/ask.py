"""Whether a billed command may begin: a person is asked, or an option has said so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from .. import RetryPolicy
from .screen import tell, terminal
from .signals import raising
from .status import UsageError
from .texts import say

if TYPE_CHECKING:
    from .connection import Service

_ATTEMPTS: Final = RetryPolicy().attempts


def cost(count: int, *, maintenance: bool = False) -> str:
    """What ``count`` vouchers cost: when nothing goes wrong, and at most.

    Args:
        count: Vouchers.
        maintenance: Whether its end is waited for, which costs a call now and then.
    """
    told = say("cost", count=count, most=count * _ATTEMPTS)
    return told + say("cost of maintenance") if maintenance else told


def where(service: Service) -> str:
    """The host, and the point of sale by its fingerprint: the key itself is a secret."""
    return say("where", host=urlsplit(service.base_url).hostname, point=service.credentials.fingerprint)


def agreed(what: str, costs: str, *, yes: bool) -> bool:
    """Whether to go on: asked of a person where there is a terminal.

    Args:
        what: What will be done, where.
        costs: What it costs.
        yes: It has been said already.

    Raises:
        UsageError: There is no terminal to ask on.
        SignalledError: The answer was Ctrl-C.
    """
    if yes:
        return True
    if not (terminal(sys.stdin) and terminal(sys.stderr)):
        raise UsageError(say("nobody to ask", what=what))
    with raising():  # before the question: an answer can come as soon as it is read
        sys.stderr.write(f"{what}: {costs}. {say('ask')}")
        sys.stderr.flush()
        answer = sys.stdin.readline()
    if answer.strip().lower() in say("yes").split():
        return True
    tell(say("declined"))
    return False
