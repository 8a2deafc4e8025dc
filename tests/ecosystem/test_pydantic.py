"""Pydantic: results as fields of a user's models, without this package depending on Pydantic."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from tests.samples import REJECTED, REPORT, VOUCHER
from tusfacturas_async import BatchReport, ReprocessResult, Voucher


class Job(BaseModel):
    report: BatchReport
    vouchers: list[Voucher]


def test_a_model_holds_them() -> None:
    """They are kept as they are, and dumped as ``to_dict`` gives them."""
    job = Job(report=REPORT, vouchers=[VOUCHER])
    assert job.report is REPORT
    expected = {"report": REPORT.to_dict(), "vouchers": [VOUCHER.to_dict()]}
    assert (job.model_dump(), json.loads(job.model_dump_json())) == (expected, expected)


def test_a_type_adapter() -> None:
    """Alone, and with the same schema as ``json_schema``."""
    adapter = TypeAdapter(ReprocessResult)
    assert json.loads(adapter.dump_json(REJECTED)) == REJECTED.to_dict()
    assert adapter.json_schema(mode="serialization") == ReprocessResult.json_schema()


def test_what_is_none_is_refused() -> None:
    """A result is told, never read back: a dictionary is no result."""
    with pytest.raises(ValidationError):
        Job(report=REPORT.to_dict(), vouchers=[])  # type: ignore[arg-type]


def test_pydantic_is_not_loaded() -> None:
    """Also where the hooks are there."""
    code = "import sys, tusfacturas_async as t; t.Voucher.json_schema(); sys.exit('pydantic' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
