"""What travels: credentials that never show, references that are checked, vouchers that do not guess."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tusfacturas_async import Credentials, InvalidReferenceError, ReprocessRequest, TusFacturasError, errors
from tusfacturas_async.results import Attempt

SECRETS = {"apikey": "1134", "apitoken": "tok-secret", "usertoken": "usr-secret"}


def test_credentials_hide_themselves() -> None:
    """Neither ``repr`` nor ``str`` shows a secret."""
    shown = f"{Credentials(**SECRETS)!r} {Credentials(**SECRETS)}"
    assert not [secret for secret in SECRETS.values() if secret in shown]


def test_apikey_as_a_number() -> None:
    """The vendor's examples quote it or not; both are the same credentials."""
    assert Credentials(apikey=1134, apitoken="t", usertoken="u") == Credentials("1134", "t", "u")


@pytest.mark.parametrize("field", SECRETS)
@pytest.mark.parametrize("value", ["", "  ", None, True, 1.5])
def test_a_credential_that_is_missing_is_named(field: str, value: object) -> None:
    """The error names the field and shows no value."""
    with pytest.raises(ValueError, match=field) as raised:
        Credentials(**(SECRETS | {field: value}))  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)


def test_from_env() -> None:
    """All three variables are read; what is missing is named, all at once."""
    environ = {f"TUSFACTURAS_{name.upper()}": value for name, value in SECRETS.items()}
    assert Credentials.from_env(environ) == Credentials(**SECRETS)
    with pytest.raises(ValueError, match="TUSFACTURAS_APIKEY, TUSFACTURAS_USERTOKEN"):
        Credentials.from_env({"TUSFACTURAS_APITOKEN": "t"})


def test_fingerprint_tells_sets_apart_and_keeps_the_secret() -> None:
    """Equal sets share it, moved separators do not, and it holds no secret."""
    one, two = Credentials("1", "23", "4"), Credentials("12", "3", "4")
    assert one.fingerprint == Credentials(1, "23", "4").fingerprint != two.fingerprint
    assert len(one.fingerprint) == 16


@given(st.from_regex(r"[A-Za-z0-9_-]{1,255}", fullmatch=True))
def test_allowed_references_are_taken_as_they_are(reference: str) -> None:
    """1 to 255 letters, digits, underscores and hyphens."""
    assert ReprocessRequest(reference).external_reference == reference


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        ("", "empty"),
        ("a" * 256, "256 characters"),
        ("pedido 7", "' ' at position 6"),
        ("año", "'ñ' at position 1"),
        ("ref\n", r"at position 3"),
        ("٣", "position 0"),
        (17032, "not int"),
        (None, "not NoneType"),
    ],
)
def test_a_wrong_reference_says_what_is_wrong(reference: object, named: str) -> None:
    """The error names the rule that is broken, and is a ``ValueError``."""
    with pytest.raises(InvalidReferenceError, match=named) as raised:
        ReprocessRequest(reference)  # type: ignore[arg-type]
    assert isinstance(raised.value, ValueError)


def test_the_character_rule_can_be_switched_off_and_the_length_cannot() -> None:
    """For references that already exist; what no JSON can carry stays refused."""
    assert ReprocessRequest("pedido 7/ñ", any_characters=True).external_reference == "pedido 7/ñ"
    for hopeless in ("", "é" * 256, "a\ud800"):
        with pytest.raises(InvalidReferenceError):
            ReprocessRequest(hopeless, any_characters=True)


def _all_errors(base: type[TusFacturasError] = TusFacturasError) -> list[type[TusFacturasError]]:
    return [base, *(found for child in base.__subclasses__() for found in _all_errors(child))]


@pytest.mark.parametrize("kind", _all_errors(), ids=lambda kind: kind.__name__)
def test_errors_pickle_whole(kind: type[TusFacturasError]) -> None:
    """Class, message and every attribute survive."""
    error = kind("what happened", external_reference="ref", attempts=())
    for name in vars(error).keys() - {"external_reference", "attempts"}:
        setattr(error, name, ("kept",))
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (kind, "what happened", vars(error))


def test_the_tree_is_the_documented_one() -> None:
    """The drawing at the top of ``errors`` names every public class, each below its base."""
    drawn = (errors.__doc__ or "").splitlines()
    for kind in _all_errors():
        if not kind.__name__.startswith("_"):
            assert any(kind.__name__ in line for line in drawn), kind


def test_attempts_and_errors_hold_plain_data() -> None:
    """An error pickles with its attempts."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from tusfacturas_async import Evidence  # noqa: PLC0415

    attempt = Attempt(1, datetime.now(UTC), 0.5, Evidence.MAYBE_SENT, 524, "no usable answer")
    error = errors.OutcomeUnknownError("lost", attempts=(attempt,))
    assert pickle.loads(pickle.dumps(error)).attempts == (attempt,)
