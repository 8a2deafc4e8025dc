"""What error texts mean: the vendor's table, and nothing beyond it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusfacturas_async import Advice, EncoladoWebhook, ErrorWebhook, Remedy, triage
from tusfacturas_async.triage import RULES

ARCA = "AFIP Factura electronica, informa el siguiente error: Cod. Error: #6661145.{} - {}"


@pytest.mark.parametrize(
    ("text", "remedy", "code"),
    [
        ("javax.ejb.EJBTransactionRolledbackException: null", Remedy.RESEND, None),
        (ARCA.format("10016", "x"), Remedy.CHANGE_DATE, "10016"),
        ("El campo CbteFch debe estar comprendido entre N-10 y N+10", Remedy.CHANGE_DATE, None),
        (
            ARCA.format("10036", "El campo FchVtoPago no puede ser anterior"),
            Remedy.DELETE_AND_RECREATE,
            "10036",
        ),
        (ARCA.format("10041", "x"), Remedy.DELETE_AND_RECREATE, "10041"),
        ("condicion  IVA RECEPTOR invalida", Remedy.DELETE_AND_RECREATE, None),
        ("No se puede establecer la comunicacion con ARCA.", Remedy.FIX_SETUP, None),
        ("Computador no autorizado a acceder al servicio", Remedy.FIX_SETUP, None),
        ("El punto de venta no se encuentra habilitado", Remedy.FIX_SETUP, None),
        ("debe ser de tipo RECE", Remedy.FIX_SETUP, None),
        (ARCA.format("99999", "algo nuevo"), Remedy.UNSURE, "99999"),
        ("algo nuevo", Remedy.UNSURE, None),
    ],
)
def test_each_row_of_the_table(text: str, remedy: Remedy, code: str | None) -> None:
    """The remedy, ARCA's code, the rule, and the text untouched."""
    advice = triage([text])
    (finding,) = advice.findings
    assert (advice.remedy, finding.remedy, finding.arca_code, finding.text) == (remedy, remedy, code, text)
    assert (finding.rule is None) == (remedy is Remedy.UNSURE)


def test_the_worst_wins_when_texts_disagree() -> None:
    """Re-sending does not help a voucher whose data are wrong; what nobody knows is for a person."""
    transient, data, strange = "javax.ejb.EJBTransactionRolledbackException", ARCA.format("10036", "x"), "?"
    assert triage([transient, data]).remedy is Remedy.DELETE_AND_RECREATE
    assert triage([transient, data, strange]).remedy is Remedy.UNSURE


@pytest.mark.parametrize("code", ["#6661145.0", "#6661141.S1254", "#6661141.S1278"])
def test_companions_say_nothing_alone(code: str) -> None:
    """They neither worsen nor better what stands beside them."""
    companion = f"Cod. Error: {code} - No devolvio el CAE"
    assert triage([companion]) == Advice(Remedy.UNSURE, (), (companion,))
    assert triage([companion, ARCA.format("10016", "x")]).remedy is Remedy.CHANGE_DATE
    assert triage([ARCA.format("01", "not the companion code 0")]).ignored == ()


def test_from_an_event() -> None:
    """An ``error`` webhook's texts; other events carry none to judge."""
    event = ErrorWebhook(external_reference="a", msg=(ARCA.format("10016", "x"),))
    assert triage(event).remedy is Remedy.CHANGE_DATE
    assert triage(EncoladoWebhook(external_reference="a", msg=("tipo RECE",))) == Advice(Remedy.UNSURE)
    assert triage("tipo RECE").remedy is Remedy.FIX_SETUP


def test_every_row_names_its_source() -> None:
    """A row without a source would be a guess."""
    assert all(rule.source and (rule.codes or rule.phrases) for rule in RULES)


@given(st.lists(st.text()))
def test_whatever_text_comes(texts: list[str]) -> None:
    """It is told or unsure, never an exception, and no text is lost."""
    advice = triage(texts)
    assert sorted([*(f.text for f in advice.findings), *advice.ignored]) == sorted(texts)
