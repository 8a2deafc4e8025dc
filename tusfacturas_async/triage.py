"""Error texts to advice: what helps a voucher that could not be issued. Advisory: nothing here acts.

The table is the vendor's own (documentation of 2026) and nothing beyond it; what it does not name is unsure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ._rooms import Later
from ._wire import convert

if TYPE_CHECKING:
    from .webhooks import events
else:
    events = Later("tusfacturas_async.webhooks.events")


class Remedy(StrEnum):
    """What helps, from the least trouble to the most; the worst wins when texts disagree."""

    RESEND = "resend"
    """The error was transient: re-send it."""
    CHANGE_DATE = "change_date"
    """Change its date, or synchronise the numbering."""
    DELETE_AND_RECREATE = "delete_and_recreate"
    """Its data are wrong: delete it, and send it again corrected."""
    FIX_SETUP = "fix_setup"
    """Certificate, relation or point of sale are not set up: mend that, then re-send."""
    UNSURE = "unsure"
    """No row of the table names it: a person must look."""


@frozen
class Rule:
    """One row of the table.

    Attributes:
        name: What it matches, in words.
        remedy: What helps.
        codes: ARCA's own codes.
        phrases: Parts of a text, compared without case, accents and repeated spaces.
        source: Where the row is from.
    """

    name: str
    remedy: Remedy
    codes: frozenset[str] = frozenset()
    phrases: tuple[str, ...] = ()
    source: str = "vendor's documentation, 2026: error texts"


@frozen
class Finding:
    """What one text means.

    Attributes:
        text: As it came, untouched.
        arca_code: ARCA's own code, or ``None``.
        remedy: What helps.
        rule: The row that matched, or ``None``.
    """

    text: str
    arca_code: str | None
    remedy: Remedy
    rule: Rule | None


@frozen
class Advice:
    """What helps a voucher.

    Attributes:
        remedy: The worst of its findings; ``UNSURE`` when there are none.
        findings: One for each text that says something.
        ignored: Texts that accompany others and say nothing alone.
    """

    remedy: Remedy
    findings: tuple[Finding, ...] = ()
    ignored: tuple[str, ...] = ()


RULES: Final = (
    Rule(
        "transient inside ARCA",
        Remedy.RESEND,
        phrases=("javax.ejb.EJBTransactionRolledbackException",),
    ),
    Rule(
        "date or numbering",
        Remedy.CHANGE_DATE,
        codes=frozenset({"10016"}),
        phrases=("CbteFch", "N-10 y N+10"),
    ),
    Rule(
        "wrong data",
        Remedy.DELETE_AND_RECREATE,
        codes=frozenset({"10036", "10041"}),
        phrases=(
            *("CbtesAsoc", "FchServDesde", "FchServHasta", "FchVtoPago"),
            *("Condición IVA receptor", "Condicion Frente al IVA del receptor"),
        ),
    ),
    Rule(
        "certificate or relation, in spite of its wording",
        Remedy.FIX_SETUP,
        phrases=(
            "No se puede establecer la comunicación con ARCA",
            *("Computador no autorizado", "Java.null.pointer", "ValidacionDeToken"),
        ),
    ),
    Rule(
        "point of sale",
        Remedy.FIX_SETUP,
        phrases=("El punto de venta no se encuentra habilitado", "tipo RECE"),
    ),
)

_SAY_NOTHING_ALONE: Final = ("#6661145.0", "#6661141.S1254", "#6661141.S1278")
_CODE = re.compile(r"#\d+\.(\w+)")
_WORST = list(Remedy)


def triage(told: events.WebhookEvent | Iterable[str] | str) -> Advice:
    """Tell which remedy helps, from an ``error`` webhook or from its texts.

    Args:
        told: The event, one text, or several.
    """
    if isinstance(told, str):
        texts: tuple[str, ...] = (told,)
    elif isinstance(told, events.WebhookEvent):
        texts = told.msg if isinstance(told, events.ErrorWebhook) else ()
    else:
        texts = tuple(told)
    ignored = tuple(text for text in texts if _says_nothing(text))
    findings = tuple(_find(text) for text in texts if text not in ignored)
    worst = max((finding.remedy for finding in findings), key=_WORST.index, default=Remedy.UNSURE)
    return Advice(worst, findings, ignored)


def _says_nothing(text: str) -> bool:
    codes = [found[0] for found in _CODE.finditer(text)]
    return bool(codes) and all(code in _SAY_NOTHING_ALONE for code in codes)


def _find(text: str) -> Finding:
    found = _CODE.search(text)
    code = None if found is None else found[1]
    compared = convert.forgiving(text)
    rules = [
        rule
        for rule in RULES
        if code in rule.codes or any(convert.forgiving(phrase) in compared for phrase in rule.phrases)
    ]
    rule = max(rules, key=lambda each: _WORST.index(each.remedy), default=None)
    return Finding(text, code, Remedy.UNSURE if rule is None else rule.remedy, rule)
