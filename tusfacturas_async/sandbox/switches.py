"""How the sandbox behaves: switches that may be turned while it runs. What they do is in ``app``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Literal, TypedDict

from attrs import Attribute, define, field, validators

from .queue import NOT_FOUND_TEXT, StoredVoucher

Refuse = Callable[[StoredVoucher], Iterable[str]]
Answer = dict[str, Any]
HookId = Literal["event", "delivery", "url", "none"]


def number(
    minimum: float, maximum: float | None = None, *, none: bool = False, whole: bool = False
) -> Callable[[object, Attribute[Any], object], None]:
    """A validator: a number between these; also ``None``, or only whole ones, where it says so."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if none and value is None:
            return
        kinds = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise TypeError(f"{attribute.name} must be a {'whole ' * whole}number, not {value!r}")
        if not value >= minimum or (maximum is not None and value > maximum):
            most = "" if maximum is None else f" and at most {maximum:g}"
            raise ValueError(f"{attribute.name} must be at least {minimum:g}{most}, not {value!r}")

    return check


def _function(_: object, attribute: Attribute[Any], value: object) -> None:
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise TypeError(f"{attribute.name} must be a plain function, not {value!r}")


def _aware(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and (not isinstance(value, datetime) or value.tzinfo is None):
        raise TypeError(f"{attribute.name} must be an aware datetime or None, not {value!r}")


def _text(_: object, attribute: Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{attribute.name} must be a text or None, not {value!r}")


_flag = validators.instance_of(bool)


@define(kw_only=True)
class Switches:
    """How the sandbox behaves. ``Sandbox(...)`` takes them as keywords; ``sandbox.switches`` turns them.

    What is documented is the default; what nobody documents can be set to each thing that the service may do.

    Attributes:
        latency: Seconds before each answer.
        rate_limit: Requests in any one second of one point of sale, above which it answers 429; ``None``
            for no limit.
        retry_after: Seconds that a 429 names in its ``Retry-After``; ``None`` for no such header.
        process_after: Service seconds after which a queued voucher is issued, or errored if ``refuse`` says
            why; ``None`` to leave that to ``queue.issue`` and ``queue.fail``.
        refuse: From a voucher to ARCA's reasons against it; an empty answer means that it is issued.
        resend_queued: What re-sending a queued voucher answers: the refusal's text, or ``None`` for "N",
            which changes nothing.
        resend_issued: The same of an issued voucher.
        maintenance: Under way until it is switched off, whatever end it has told.
        maintenance_until: The end that is told (aware). While it lies ahead there is maintenance, too.
        lookup_in_maintenance: Whether lookups answer as ever during maintenance.
        lookup_lag: Service seconds by which lookups are behind.
        lookup_answer: From a lookup's true answer to the one that is sent, to let it misbehave.
        lose_next: Of how many billed calls to come the answer is lost after the work was done; counts down.
        lose_before: Share of billed calls that are lost before the work is done: answered 524, not billed.
        lose_after: Share of billed calls whose answer is lost after the work was done: 524, and billed.
        lose_lookups: Share of lookups that are answered 524.
        seed: Decides which are lost: by call, reference and try, not by the order of arrival.
        hook_id: ``"event"``: a redelivery keeps it; ``"delivery"``: each has its own; ``"url"``: all events
            of a URL have the same; ``"none"``: there is none.
        intento_counts: Whether ``intento`` counts deliveries; else it is always 1.
        date: Whether answers carry a ``Date`` header, from which a client learns the service's clock.
        clock_ahead: Seconds by which the service's clock is ahead of ours (``Date``, ``creado``).

    Raises:
        TypeError, ValueError: Such a value is none; also when it is turned.
    """

    latency: float = field(default=0.0, validator=number(0))
    rate_limit: int | None = field(default=None, validator=number(1, none=True, whole=True))
    retry_after: int | None = field(default=None, validator=number(0, none=True, whole=True))
    process_after: float | None = field(default=None, validator=number(0, none=True))
    refuse: Refuse = field(default=lambda _: (), validator=_function)
    resend_queued: str | None = field(default=NOT_FOUND_TEXT, validator=_text)
    resend_issued: str | None = field(default=NOT_FOUND_TEXT, validator=_text)
    maintenance: bool = field(default=False, validator=_flag)
    maintenance_until: datetime | None = field(default=None, validator=_aware)
    lookup_in_maintenance: bool = field(default=False, validator=_flag)
    lookup_lag: float = field(default=0.0, validator=number(0))
    lookup_answer: Callable[[Answer], object] = field(default=lambda answer: answer, validator=_function)
    lose_next: int = field(default=0, validator=number(0, whole=True))
    lose_before: float = field(default=0.0, validator=number(0, 1))
    lose_after: float = field(default=0.0, validator=number(0, 1))
    lose_lookups: float = field(default=0.0, validator=number(0, 1))
    seed: int = field(default=0, validator=number(float("-inf"), whole=True))
    hook_id: HookId = field(default="event", validator=validators.in_(("event", "delivery", "url", "none")))
    intento_counts: bool = field(default=False, validator=_flag)
    date: bool = field(default=True, validator=_flag)
    clock_ahead: float = field(default=0.0, validator=number(float("-inf")))


class SwitchOptions(TypedDict, total=False):
    """``Switches`` as the keywords that ``Sandbox`` takes."""

    latency: float
    rate_limit: int | None
    retry_after: int | None
    process_after: float | None
    refuse: Refuse
    resend_queued: str | None
    resend_issued: str | None
    maintenance: bool
    maintenance_until: datetime | None
    lookup_in_maintenance: bool
    lookup_lag: float
    lookup_answer: Callable[[Answer], object]
    lose_next: int
    lose_before: float
    lose_after: float
    lose_lookups: float
    seed: int
    hook_id: HookId
    intento_counts: bool
    date: bool
    clock_ahead: float
