"""``unittest.mock`` on ``httpx.AsyncClient.send``, the oldest way of all."""

from __future__ import annotations

from unittest import mock

import httpx

from tests.ecosystem.counting import ACCEPTED, counting, reached
from tests.helpers import ended
from tusfacturas_async import Outcome


async def test_a_mocked_call_reaches_no_socket() -> None:
    """Whatever it answers is the answer."""
    async with counting() as (server, client):
        with mock.patch("httpx.AsyncClient.send", return_value=httpx.Response(200, json=ACCEPTED)) as send:
            result = await client.reprocess("r0")
        assert (result.outcome, send.await_count) == (Outcome.ACCEPTED, 1)
        with mock.patch("httpx.AsyncClient.send", side_effect=httpx.ConnectError("no")):
            assert (await ended(client, "r1")).outcome is Outcome.NOT_SENT
    assert reached(server) == 0
