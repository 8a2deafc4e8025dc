"""Litestar: one response class for the routes that return results (``docs/reference/data.md``)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, get

from tests.samples import REJECTED, REPORT, VOUCHER
from tusfacturas_async import BatchReport, ReprocessResult, Voucher

PAGE = (Path(__file__).parent.parent.parent / "docs" / "reference" / "data.md").read_text()


def app() -> Litestar:
    names: dict[str, Any] = {}
    found = re.search(r"<!-- recipe: litestar-data -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    exec(found[1], names)  # noqa: S102 - it is our own documentation

    @get("/result")
    async def result() -> ReprocessResult:
        return REJECTED

    @get("/report")
    async def report() -> BatchReport:
        return REPORT

    @get("/vouchers")
    async def vouchers() -> list[Voucher]:
        return [VOUCHER]

    @get("/mine")
    async def mine() -> dict[str, int]:
        return {"a": 1}

    routes = [result, report, vouchers, mine]
    return Litestar(routes, response_class=names["DataResponse"], logging_config=None)


ROUTES = {
    "/result": REJECTED.to_dict(),
    "/report": REPORT.to_dict(),
    "/vouchers": [VOUCHER.to_dict()],
    "/mine": {"a": 1},
}


@pytest.mark.parametrize("path", ROUTES)
async def test_a_route_returns_it(path: str) -> None:
    """What comes out is what ``to_dict`` gives; other routes are as they were."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app()), base_url="http://app") as client:  # type: ignore[arg-type]
        answer = await client.get(path)
    assert (answer.status_code, answer.json()) == (200, ROUTES[path])


async def test_openapi_can_be_made() -> None:
    """Litestar describes the annotated routes: every annotation resolves."""
    assert app().openapi_schema.paths is not None
