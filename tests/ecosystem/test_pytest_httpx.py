"""pytest-httpx: its fixture patches ``httpx.AsyncHTTPTransport``."""

from __future__ import annotations

import httpx
import pytest
from pytest_httpx import HTTPXMock

from tests.ecosystem.counting import ACCEPTED, RESEND, counting, reached
from tests.helpers import ended
from tusfacturas_async import Outcome


async def test_a_mocked_call_reaches_no_socket(httpx_mock: HTTPXMock) -> None:
    """Also in a batch."""
    async with counting() as (server, client):
        httpx_mock.add_response(url=server.url + RESEND, json=ACCEPTED, is_reusable=True)
        report = await client.reprocess_all(["r0", "r1", "r2"])
    assert report.counts == {Outcome.ACCEPTED: 3}
    assert (len(httpx_mock.get_requests()), reached(server)) == (3, 0)


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(httpx.ConnectError("no"), Outcome.NOT_SENT), (httpx.ReadTimeout("late"), Outcome.UNKNOWN)],
    ids=["connect", "read"],
)
async def test_a_mocked_failure_means_what_it_means(
    httpx_mock: HTTPXMock, raised: Exception, outcome: Outcome
) -> None:
    """A user's test of their own error handling meets the outcome that the real failure has."""
    httpx_mock.add_exception(raised, is_reusable=True)
    async with counting() as (server, client):
        assert (await ended(client, "r0")).outcome is outcome
    assert reached(server) == 0
