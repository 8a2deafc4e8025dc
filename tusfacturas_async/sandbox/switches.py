"""How the sandbox behaves: switches that may be turned while it runs. What they do is in ``app``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from attrs import Attribute, define, field

from .queue import StoredVoucher

Refuse = Callable[[StoredVoucher], Iterable[str]]


def number(minimum: float, *, above: bool = False, none: bool = False, whole: bool = False) -> Any:
    """A validator: a number from ``minimum`` on, or above it; also ``None``, or only whole ones."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if none and value is None:
            return
        kinds = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            kind = "a whole number" if whole else "a number"
            raise TypeError(f"{attribute.name} must be {kind}, not {value!r}")
        if not (value > minimum if above else value >= minimum):
            raise ValueError(f"{attribute.name} must be {'above' if above else 'at least'} {minimum:g}")

    return check


def _is_function(_: object, attribute: Attribute[Any], value: object) -> None:
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise TypeError(f"{attribute.name} must be a plain function of a StoredVoucher, not {value!r}")


@define(kw_only=True)
class Switches:
    """How the sandbox behaves. ``Sandbox(...)`` takes them as keywords; ``sandbox.switches`` turns them.

    Attributes:
        rate_limit: Requests in any one second of one point of sale, above which it answers 429; ``None``
            for no limit.
        latency: Seconds before each answer.
        process_after: Service seconds after which a queued voucher is issued, or errored if ``refuse`` says
            why; ``None`` to leave that to ``queue.issue`` and ``queue.fail``.
        refuse: From a voucher to ARCA's reasons against it; an empty answer means that it is issued.

    Raises:
        TypeError, ValueError: Such a value is none; also when it is turned.
    """

    rate_limit: int | None = field(default=None, validator=number(1, none=True, whole=True))
    latency: float = field(default=0.0, validator=number(0))
    process_after: float | None = field(default=None, validator=number(0, none=True))
    refuse: Refuse = field(default=lambda _: (), validator=_is_function)


class SwitchOptions(TypedDict, total=False):
    """``Switches`` as the keywords that ``Sandbox`` takes."""

    rate_limit: int | None
    latency: float
    process_after: float | None
    refuse: Refuse
