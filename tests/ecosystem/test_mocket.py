"""mocket: it replaces the sockets themselves."""

from __future__ import annotations

import json

from mocket import Mocketizer
from mocket.mocks.mockhttp import Entry

from tests.ecosystem.counting import ACCEPTED, ONCE, RESEND
from tests.loopback.server import CREDENTIALS
from tests.loops import not_on_uvloop
from tusfacturas_async import AsyncClient, Outcome


async def test_a_mocked_call_reaches_no_socket() -> None:
    """Strictly: any other connection would be an error."""
    not_on_uvloop("its connections are none of Python's sockets, which mocket replaces")
    url = "http://127.0.0.1:9/app/api/"
    async with Mocketizer(strict_mode=True):
        Entry.single_register(Entry.POST, url + RESEND, body=json.dumps(ACCEPTED))
        async with AsyncClient(CREDENTIALS, base_url=url, retry=ONCE, min_interval=0) as client:
            result = await client.reprocess("r0")
    assert (result.outcome, result.settled_by) == (Outcome.ACCEPTED, "response")
