"""cattrs: one hook for every class of ours (``docs/reference/data.md``)."""

from __future__ import annotations

import json

import cattrs
import pytest
from attrs import frozen
from cattrs.preconf.json import make_converter

from tests.samples import ALL, REPORT, VOUCHER
from tusfacturas_async import BatchReport, Data, Voucher, jsonable


def configured(converter: cattrs.Converter) -> cattrs.Converter:
    converter.register_unstructure_hook_func(
        lambda kind: isinstance(kind, type) and issubclass(kind, Data), jsonable
    )
    return converter


@frozen
class Job:
    report: BatchReport
    vouchers: list[Voucher]


@pytest.mark.parametrize("told", ALL, ids=lambda told: type(told).__name__)
def test_unstructure(told: Data) -> None:
    """The same as ``to_dict``."""
    assert configured(cattrs.Converter()).unstructure(told) == told.to_dict()


def test_inside_of_the_users_classes() -> None:
    """By their annotations, which resolve."""
    expected = {"report": REPORT.to_dict(), "vouchers": [VOUCHER.to_dict()]}
    job = Job(REPORT, [VOUCHER])
    assert configured(cattrs.Converter()).unstructure(job) == expected
    converter = make_converter()
    configured(converter)
    assert json.loads(converter.dumps(job)) == expected
