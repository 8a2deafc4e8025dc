"""Results are data: one form for all, ready for JSON, as the schema in the docs says.

``python -m tests.test_data`` writes ``docs/reference/schema.json`` anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import tusfacturas_async
from tests.samples import ALL, ENCOLADO, PROGRESS, REJECTED, REPORT, ROW, VOUCHER
from tusfacturas_async import Credentials, Data, instrumentation, jsonable

SCHEMA = Path(__file__).parent.parent / "docs" / "reference" / "schema.json"


def kinds() -> list[type[Data]]:
    public = [
        getattr(package, name) for package in (tusfacturas_async, instrumentation) for name in package.__all__
    ]
    return [kind for kind in public if isinstance(kind, type) and issubclass(kind, Data) and kind is not Data]


def folded(schema: Any, classes: dict[str, Any]) -> Any:
    """With a ``$ref`` for each class in it, whose schema goes to ``classes``."""
    if isinstance(schema, list):
        return [folded(each, classes) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: folded(value, classes) for name, value in schema.items()}
    if inner.get("type") != "object" or "title" not in inner:
        return inner
    classes[inner["title"]] = inner
    return {"$ref": f"#/$defs/{inner['title']}"}


def written() -> str:
    classes: dict[str, Any] = {}
    folded([kind.json_schema() for kind in kinds()], classes)
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": dict(sorted(classes.items())),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def test_a_result() -> None:
    """Every field and property; the error as its message; money, dates and times as text."""
    assert REJECTED.to_dict() == {
        "external_reference": "pedido-1",
        "outcome": "rejected",
        "response": {
            "error": "S",
            "errores": ["no"],
            "error_details": [{"code": "TFC-8002", "text": "no"}],
            "mantenimiento": True,
            "mantenimiento_hasta": "2026-07-26T05:25:00-03:00",
            "accepted": False,
        },
        "settled_by": "response",
        "attempts": [
            {
                "number": 1,
                "started_at": "2026-07-26T08:25:00+00:00",
                "elapsed": 0.25,
                "evidence": "answered",
                "status_code": 200,
                "error": "a reason",
            }
        ],
        "error": "a reason",
        "voucher": {
            "external_reference": "pedido-1",
            "status": "APROBADO Y EN COLA",
            "scheduled_for": "2026-07-27",
            "tipo": "FACTURA A",
            "punto_venta": 2,
            "numero": 6,
            "fecha": "2026-07-26",
            "total": "1234.50",
            "cae": "65301278726386",
            "vencimiento_cae": "2026-08-05",
            "comprobante_pdf_url": "https://example.test/1.pdf",
            "lane": [2, "FACTURA A"],
            "errored": False,
            "accepted": True,
        },
        "recorded": None,
        "shared": False,
        "billed_calls": 1,
        "error_type": "RejectedError",
    }


def test_a_report_its_progress_a_row_and_an_event() -> None:
    """What each adds to its parts."""
    report = REPORT.to_dict()
    assert [each["outcome"] for each in report["results"]] == ["rejected", "accepted"]
    assert (report["counts"], report["billed_calls"]) == ({"rejected": 1, "accepted": 1}, 1)
    assert PROGRESS.to_dict()["done"] == {"accepted": 2}
    assert (ROW.to_dict()["updated_at"], ROW.to_dict()["doubtful"]) == ("2026-07-26T05:25:00-03:00", True)
    assert (ENCOLADO.to_dict()["evento"], ENCOLADO.to_dict()["msg"]) == ("encolado", ["a"])


@pytest.mark.parametrize("told", ALL, ids=lambda told: type(told).__name__)
def test_each_is_json_and_what_its_schema_says(told: Data) -> None:
    """It survives ``json`` unchanged, the schema in the docs accepts it, and names neither more nor less."""
    data = told.to_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data == dict(told) == {**told}
    whole = json.loads(SCHEMA.read_text())
    named = {"$ref": f"#/$defs/{type(told).__name__}", "$defs": whole["$defs"]}
    for schema in (named, told.json_schema()):
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(data)
    assert set(whole["$defs"][type(told).__name__]["properties"]) == set(data)


def test_the_schema_refuses_what_is_wrong() -> None:
    """It is one that can fail."""
    validator = Draft202012Validator(type(REJECTED).json_schema())
    wrongs: list[dict[str, Any]] = [
        {"outcome": "lost"},
        {"billed_calls": "1"},
        {"voucher": {}},
        {"attempts": [1]},
    ]
    for wrong in wrongs:
        assert not validator.is_valid(REJECTED.to_dict() | wrong), wrong


def test_the_schema_in_the_docs_is_the_one_of_the_code() -> None:
    """If this fails: ``python -m tests.test_data``."""
    assert SCHEMA.read_text() == written()


def test_everything_that_is_told_is_data() -> None:
    """And the credentials are not."""
    told = {kind.__name__ for kind in kinds()}
    assert {type(each).__name__ for each in ALL} <= told
    assert {"DeletionResult", "DateChangeResult", "DeletionResponse", "UnknownWebhook"} <= told
    assert not issubclass(Credentials, Data)
    with pytest.raises(TypeError, match="Credentials"):
        jsonable(Credentials("1134", "apitoken", "usertoken"))


def test_jsonable_is_a_default_for_json() -> None:
    """Also inside of what is the caller's own."""
    mine: dict[str, Any] = {"today": [VOUCHER], "report": REPORT}
    assert json.loads(json.dumps(mine, default=jsonable)) == jsonable(mine)


def test_results_are_no_sequences() -> None:
    """They have keys, and yet nobody loops over one by mistake."""
    with pytest.raises(TypeError, match="not iterable"):
        iter(REPORT)  # type: ignore[call-overload]
    with pytest.raises(KeyError):
        REPORT["raw"]


if __name__ == "__main__":
    SCHEMA.write_text(written())
