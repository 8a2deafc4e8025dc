"""FastAPI: results are returned from routes as they are, with an annotation and without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from jsonschema import Draft202012Validator

from tests.samples import ENCOLADO, REJECTED, REPORT, VOUCHER
from tusfacturas_async import AnyWebhookEvent, BatchReport, ReprocessResult, Voucher

ROUTES = {
    "/result": REJECTED.to_dict(),
    "/report": REPORT.to_dict(),
    "/vouchers": [VOUCHER.to_dict()],
    "/event": ENCOLADO.to_dict(),
}


def annotated() -> FastAPI:
    app = FastAPI()

    @app.get("/result")
    async def result() -> ReprocessResult:
        return REJECTED

    @app.get("/report")
    async def report() -> BatchReport:
        return REPORT

    @app.get("/vouchers")
    async def vouchers() -> list[Voucher]:
        return [VOUCHER]

    @app.get("/event")
    async def event() -> AnyWebhookEvent:
        return ENCOLADO

    return app


def bare() -> FastAPI:
    app = FastAPI()
    told = {"/result": REJECTED, "/report": REPORT, "/vouchers": [VOUCHER], "/event": ENCOLADO}
    for path, value in told.items():
        app.get(path)(lambda value=value: value)
    return app


@pytest.fixture(params=[annotated, bare])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=request.param())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client


@pytest.mark.parametrize("path", ROUTES)
async def test_a_route_returns_it(http: httpx.AsyncClient, path: str) -> None:
    """What comes out is what ``to_dict`` gives."""
    answer = await http.get(path)
    assert (answer.status_code, answer.json()) == (200, ROUTES[path])


async def test_openapi_has_its_schema() -> None:
    """An annotated route is described, and the description accepts what it answers."""
    transport = httpx.ASGITransport(app=annotated())
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        document: dict[str, Any] = (await client.get("/openapi.json")).json()
    for path, answer in ROUTES.items():
        described = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"][
            "schema"
        ]
        Draft202012Validator({**described, "components": document.get("components", {})}).validate(answer)
        assert "billed_calls" in str(described) or path in {"/vouchers", "/event"}
