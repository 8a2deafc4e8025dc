"""pook: it patches the choice of a transport inside ``httpx.AsyncClient``."""

from __future__ import annotations

import pook

from tests.ecosystem.counting import ACCEPTED, RESEND, counting, reached
from tusfacturas_async import Outcome


async def test_a_mocked_call_reaches_no_socket() -> None:
    """The mock answers, the server hears nothing."""
    async with counting() as (server, client):
        with pook.use():
            mocked = pook.post(server.url + RESEND, reply=200, response_json=ACCEPTED, times=2)
            report = await client.reprocess_all(["r0", "r1"])
        assert report.counts == {Outcome.ACCEPTED: 2}
        assert mocked.calls == 2
    assert reached(server) == 0
