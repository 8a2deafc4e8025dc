"""The codec against the wire's quirks: ``tests/golden`` holds what the vendor documents."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusfacturas_async import (
    Credentials,
    ErrorDetail,
    Evidence,
    MaintenanceError,
    MalformedWebhookError,
    RateLimitError,
    RejectedError,
    TusFacturasError,
    VoucherNotFoundError,
    VoucherStatus,
    parse_webhook,
)
from tusfacturas_async._wire import answers, codec, convert

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 3, 18, 15, 0, tzinfo=UTC)
ART = timedelta(hours=-3)


def read(body: bytes | str | dict[str, Any], status: int = 200, **headers: str) -> answers.Answer:
    raw = json.dumps(body) if isinstance(body, dict) else body
    return answers.read_answer(
        status, headers, raw.encode() if isinstance(raw, str) else raw, now=lambda: NOW
    )


def golden(name: str) -> bytes:
    return (GOLDEN / name).read_bytes()


# -- requests -------------------------------------------------------------------------------------

CODEC = codec.Codec(Credentials(apikey=1134, apitoken="abc/defgh", usertoken='q"uote-it'))


def test_the_request_is_the_documented_one() -> None:
    """Four fields, all text, whatever characters they have."""
    assert json.loads(CODEC.body({"external_reference": 'a"ñ\\'})) == {
        "apitoken": "abc/defgh",
        "apikey": "1134",
        "usertoken": 'q"uote-it',
        "external_reference": 'a"ñ\\',
    }


def test_lookup_requests() -> None:
    """One reference is asked by ``EXT_REF``, several by ``EXT_REF_LIST``."""
    one, two = json.loads(CODEC.lookup(["a"])), json.loads(CODEC.lookup(["a", "b"]))
    assert (one["busqueda_tipo"], one["comprobante"]) == (
        "EXT_REF",
        {"external_reference": "a", "operacion": "V"},
    )
    assert (two["busqueda_tipo"], two["comprobante"]["external_reference_list"]) == (
        "EXT_REF_LIST",
        ["a", "b"],
    )


def test_a_body_does_not_show_itself() -> None:
    """Debuggers print a local variable's ``repr``."""
    assert "abc" not in repr(CODEC.body({"external_reference": "a"}))


@pytest.mark.parametrize("echo", ["abc/defgh", r"abc\/defgh", 'q"uote-it', r"q\"uote-it"])
def test_echoed_secrets_are_blanked(echo: str) -> None:
    """An answer that repeats a secret, escaped or not, is read without it."""
    told = {"error": "S", "errores": [f"<p>{echo}</p>"], "apikey": 1134, "deep": [{"usertoken": "short"}]}
    assert CODEC.decode(json.dumps(told).encode()) == {
        "error": "S",
        "errores": ["<p>***</p>"],
        "apikey": "***",
        "deep": [{"usertoken": "***"}],
    }


def test_a_secret_in_an_identifier_stays() -> None:
    """A reference that begins with the apikey is still that reference; a text about it is blanked."""
    numeric = codec.Codec(Credentials(apikey=20304050, apitoken="abcdefgh", usertoken="ijklmnop"))
    fields = {"external_reference": "20304050-0001", "cae": "20304050", "razon_social": "20304050-0001"}
    told = numeric.decode(json.dumps({"comprobantes": [{"comprobante": fields}]}).encode())
    assert told == {"comprobantes": [{"comprobante": {**fields, "razon_social": "***-0001"}}]}


def test_a_secret_among_numbers_is_blanked_where_they_are_said() -> None:
    """A bare number becomes part of an error's message; an amount that contains the apikey stays one."""
    numeric = codec.Codec(Credentials(apikey=20304050, apitoken="abcdefgh", usertoken="ijklmnop"))
    told = {"error": "S", "errores": [20304050, 10036], "error_details": [{"code": 20304050, "text": 1}]}
    answer = answers.read_answer(200, {}, json.dumps(told).encode(), decode=numeric.decode, now=lambda: NOW)
    assert isinstance(answer.error, RejectedError)
    assert (str(answer.error), answer.error.errores) == ("***; 10036", ("***", "10036"))
    assert answer.error.details[0].code == "***"
    assert answer.payload is not None
    assert answer.payload["errores"] == ["***", 10036]
    for amount in (20304050, "20304050.00"):
        told = {"comprobantes": [{"comprobante": {"external_reference": "a", "total": amount}}]}
        payload = numeric.decode(json.dumps(told).encode())
        assert payload is not None
        page = answers.read_page(payload)
        assert page is not None
        assert page.vouchers[0].total == 20304050


def test_a_secret_that_is_a_word_changes_no_meaning() -> None:
    """Whoever's token is "comprobantes" is still told what was not found, and what is errored."""
    wordy = codec.Codec(Credentials(apikey="PROCESAR", apitoken="comprobantes", usertoken="ENVIADO A"))
    body = json.dumps({"error": "S", "errores": ["No se han encontrado comprobantes."]}).encode()
    answer = answers.read_answer(200, {}, body, decode=wordy.decode, now=lambda: NOW)
    assert isinstance(answer.error, VoucherNotFoundError)
    entry = {"comprobante": {"external_reference": "a", "status": "ENVIADO A PROCESAR - CON ERROR"}}
    listed = wordy.decode(json.dumps({"error": "N", "total": 1, "comprobantes": [entry]}).encode())
    assert listed is not None
    page = answers.read_page(listed)
    assert page is not None
    assert page.vouchers[0].errored


@pytest.mark.parametrize("depth", [900, 990, 1_000, 100_000])
def test_an_answer_nested_deep_is_read_or_no_answer(depth: int) -> None:
    """Neither ``json`` nor the blanking of secrets breaks on it."""
    deep = b'{"error": "N", "x": ' + b"[" * depth + b"]" * depth + b"}"
    answer = answers.read_answer(200, {}, deep, decode=CODEC.decode, now=lambda: NOW)
    assert (answer.payload is None) == (answer.evidence is Evidence.MAYBE_SENT)


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [1, "1", "S", True])
def test_success_under_maintenance_proves_nothing(told: object) -> None:
    """Maintenance is told with ``"S"``; an empty list beside it is no proof that there is no voucher."""
    contradiction = {"error": "N", "mantenimiento": told, "total": 0, "comprobantes": []}
    answer = read(json.dumps(contradiction).encode())
    assert (answer.evidence, answer.payload) == (Evidence.MAYBE_SENT, None)
    assert read(json.dumps({**contradiction, "mantenimiento": 0}).encode()).evidence is Evidence.ANSWERED


@pytest.mark.parametrize("name", ["success.json", "success_empty_text.json", "success_bom.json"])
def test_success(name: str) -> None:
    """ "N" is success, whatever ``errores`` holds; a byte-order mark is skipped."""
    answer = read(golden(name))
    assert (answer.evidence, answer.error) == (Evidence.ANSWERED, None)
    assert answer.payload is not None
    assert answers.reprocess_response(answer.payload).accepted
    assert answers.reprocess_response(answer.payload).errores == ()


@pytest.mark.parametrize(
    "text",
    [
        "No se han encontrado comprobantes.",
        "no se han encontrado comprobantes",
        "  NO SE HAN  ENCONTRADO\u00a0COMPROBÁNTES. ",
    ],
)
def test_not_found_is_compared_forgivingly(text: str) -> None:
    """Case, accents, spaces and the final dot do not matter."""
    assert isinstance(read({"error": "S", "errores": [text]}).error, VoucherNotFoundError)


def test_other_texts_are_not_taken_for_not_found() -> None:
    """A text that merely contains the words is a refusal."""
    text = "No se han encontrado comprobantes asociados en CbtesAsoc"
    assert isinstance(read({"error": "S", "errores": [text]}).error, RejectedError)


@pytest.mark.parametrize("errores", [[], [""], None, ["  "]])
def test_s_without_texts_is_still_a_refusal(errores: object) -> None:
    """ "S" can come with no text at all."""
    error = read({"error": "S", "errores": errores}).error
    assert isinstance(error, RejectedError)
    assert error.errores == ()


def test_error_details() -> None:
    """Codes and texts are kept, stripped."""
    error = read(golden("error_details.json")).error
    assert isinstance(error, RejectedError)
    assert error.details == (ErrorDetail("TFC-8002", "Caracteres no permitidos."),)


def test_maintenance() -> None:
    """``mantenimiento_hasta`` is aware, in UTC-3."""
    error = read(golden("maintenance.json")).error
    assert isinstance(error, MaintenanceError)
    assert error.until is not None
    assert (error.until.isoformat(), error.until.utcoffset()) == ("2026-07-26T05:25:00-03:00", ART)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>blocked</html>",
        b'{"error": "N", "erro',
        b"[]",
        b"null",
        b'{"errores": []}',
        b'{"error": "PARCIAL", "errores": []}',
        b'{"error": true}',
        b'{"error": null}',
        b"[" * 100_000,
        b'{"error": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda body: body[:24].decode(),
)
def test_no_usable_answer_is_maybe_sent(body: bytes) -> None:
    """With 200 or not, what is no known envelope proves nothing."""
    assert read(body).evidence is Evidence.MAYBE_SENT


def test_wrong_charset_is_read() -> None:
    """Latin-1 in place of UTF-8 loses neither the flag nor the text."""
    error = read('{"error": "S", "errores": ["Condición IVA"]}'.encode("latin-1")).error
    assert isinstance(error, RejectedError)
    assert error.errores == ("Condición IVA",)


@pytest.mark.parametrize(
    ("status", "evidence"),
    [
        *((status, Evidence.ANSWERED) for status in (400, 401, 403, 404, 405)),
        *((status, Evidence.MAYBE_SENT) for status in (201, 204, 302, 408, 418, 500, 502, 503, 504, 524)),
        (429, Evidence.NOT_SENT),
    ],
)
def test_statuses(status: int, evidence: Evidence) -> None:
    """Only 200 carries an answer; the well-known refusals are final; the rest proves nothing."""
    answer = read(golden("success.json"), status)
    assert (answer.evidence, answer.error is None) == (evidence, False)


def test_400_with_an_envelope_says_why() -> None:
    """The service's own words are better than the status."""
    error = read(golden("error_details.json"), 400).error
    assert isinstance(error, RejectedError)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 1.5 ", 1.5),
        ("Wed, 18 Mar 2026 15:02:00 GMT", 120.0),
        ("Wed, 18 Mar 2026 14:00:00 GMT", 0.0),
        ("-3", None),
        ("soon", None),
        ("nan", None),
        ("9" * 40, None),
        ("Wed, 99 Foo 2026", None),
    ],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    """Seconds or a date; what is neither is no wish at all."""
    answer = read(b"", 429, **{"retry-after": value})
    assert answer.retry_after == seconds
    assert isinstance(answer.error, RateLimitError)
    assert answer.error.retry_after == seconds


# -- vouchers -------------------------------------------------------------------------------------


def test_voucher_from_the_documented_answer() -> None:
    """Money is exact, the CAE is stripped, dates are dates, empty is ``None``, a number is a reference."""
    payload = read(golden("lookup.json")).payload
    assert payload is not None
    page = answers.read_page(payload)
    assert page is not None
    issued, queued, errored, strange = page.vouchers
    assert (issued.external_reference, issued.status, issued.cae) == (
        "17032",
        VoucherStatus.ISSUED,
        "65301278726386",
    )
    assert (issued.total, issued.fecha, issued.vencimiento_cae) == (
        Decimal("1210.1"),
        date(2021, 5, 23),
        date(2021, 6, 2),
    )
    assert (issued.punto_venta, issued.numero, issued.tipo) == (2, 6, "FACTURA A")
    assert (queued.status, queued.scheduled_for) == (VoucherStatus.SCHEDULED, date(2022, 3, 16))
    assert (errored.errored, errored.cae, errored.comprobante_pdf_url) == (True, None, None)
    assert (strange.status, strange.errored, strange.accepted) == ("EN REVISION", False, False)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("1.234,50", "1234.50"),
        ("1234.5", "1234.5"),
        (7, "7"),
        (0.1, "0.1"),
        ("", None),
        ("NaN", None),
        (None, None),
    ],
)
def test_money(written: object, amount: str | None) -> None:
    """As written, exactly."""
    assert convert.money(written) == (None if amount is None else Decimal(amount))


# -- whatever comes -------------------------------------------------------------------------------

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KEYS = (
    *("error", "errores", "error_details", "mantenimiento", "mantenimiento_hasta", "comprobantes"),
    *("creado", "evento", "recurso", "external_reference", "intento", "msg", "hook_id"),
)
WORDS = st.sampled_from(
    ["N", "S", "PARCIAL", "encolado", "facturacion", "18/03/2022 15:58:11", "26/07/2026 05:25"]
)
ENVELOPES = st.dictionaries(st.sampled_from(KEYS), WORDS | JSONISH).map(
    lambda payload: json.dumps(payload).encode("utf-8", "surrogatepass")
)


@given(
    body=st.binary() | ENVELOPES,
    status=st.integers(100, 599),
    headers=st.dictionaries(st.just("retry-after"), st.text()),
)
def test_whatever_comes_is_read(body: bytes, status: int, headers: dict[str, str]) -> None:
    """No bytes make the codec raise, and every text it hands out can be encoded."""
    answer = answers.read_answer(status, headers, body, now=lambda: NOW)
    assert isinstance(answer.error, TusFacturasError | None)
    if answer.payload is not None:
        response = answers.reprocess_response(answer.payload)
        "".join(response.errores).encode()
        answers.read_page(answer.payload)
        answers.deletion_response(answer.payload)


FIELDS = list(json.loads(golden("lookup.json"))["comprobantes"][0]["comprobante"])


@given(fields=st.dictionaries(st.sampled_from(FIELDS), WORDS | JSONISH))
def test_whatever_a_voucher_holds_is_read(fields: dict[str, Any]) -> None:
    """A voucher's fields may be anything."""
    voucher = answers.voucher(fields)
    assert not (voucher.errored and voucher.accepted)


@given(body=st.binary() | ENVELOPES)
def test_whatever_a_webhook_holds_only_our_error_comes_out(body: bytes) -> None:
    """A delivery is an event or malformed, nothing else."""
    try:
        event = parse_webhook(body)
    except MalformedWebhookError:
        return
    assert event.evento
    assert event.external_reference or event.recurso.lower() != "facturacion"


def test_encolado_webhook() -> None:
    """The documented example, its slashes escaped."""
    event = parse_webhook(golden("encolado.json"))
    assert (event.external_reference, event.hook_id, event.intento, event.msg) == (
        "mi_extref",
        "xxxxx",
        1,
        (),
    )
    assert event.created_at is not None
    assert event.created_at.isoformat() == "2022-03-18T15:58:11-03:00"
