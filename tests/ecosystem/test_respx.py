"""respx, in both of its modes: the one patches httpcore, the other ``httpx.AsyncClient``."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import respx

from tests.ecosystem.counting import ACCEPTED, RESEND, counting, reached
from tests.helpers import ended
from tusfacturas_async import Outcome

MODES = pytest.mark.parametrize("using", ["httpcore", "httpx"])


@MODES
async def test_a_mocked_call_reaches_no_socket(using: str) -> None:
    """However many are in flight; the mock saw each with its body."""
    async with counting() as (server, client):
        with respx.mock(using=using) as router:
            route = router.post(server.url + RESEND).respond(json=ACCEPTED)
            results = await asyncio.gather(*(client.reprocess(f"r{n}") for n in range(10)))
        assert {result.outcome for result in results} == {Outcome.ACCEPTED}
        assert route.call_count == 10
        assert b'"external_reference":"r0"' in route.calls[0].request.content.replace(b": ", b":")
        assert reached(server) == 0
        await client.reprocess("r1")
        assert server.resends == ["r1"], "and without the mock it does"


@MODES
@pytest.mark.parametrize(
    ("raised", "outcome"),
    [(httpx.ConnectError, Outcome.NOT_SENT), (httpx.ReadTimeout, Outcome.UNKNOWN)],
)
async def test_a_mocked_failure_means_what_it_means(
    using: str, raised: type[Exception], outcome: Outcome
) -> None:
    """A user's test of their own error handling meets the outcome that the real failure has."""
    async with counting() as (server, client):
        with respx.mock(using=using) as router:
            router.post(url__startswith=server.url).mock(side_effect=raised)
            assert (await ended(client, "r0")).outcome is outcome
        assert reached(server) == 0
