"""What the fleet needs of a call: a gate that is asked last, a cool-down that is told, budgets apart."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tests.fleet.service import Service, credentials
from tusfacturas_async import AsyncClient, Evidence, Outcome, ReprocessRequest, RetryPolicy
from tusfacturas_async._call.call import call
from tusfacturas_async._call.operations import resend
from tusfacturas_async._call.waiting import Deadline
from tusfacturas_async._http.evidence import Leave
from tusfacturas_async._http.transport import Transport, TransportFailure
from tusfacturas_async.results import ReprocessResult


async def through(client: AsyncClient, gate: Callable[[], str | None]) -> ReprocessResult:
    operation = resend(ReprocessRequest("a"))
    return await call(client._channel, operation, Deadline(None), leaving=gate)


async def test_the_gate_is_asked_again_once_a_connection_is_open() -> None:
    """Opening it takes its time, in which a lease can be lost: then nothing leaves."""
    async with Service({"p": [["a"]]}) as service:
        policy = RetryPolicy(attempts=1)
        async with AsyncClient(credentials("p"), base_url=service.url, retry=policy) as client:
            answers = [None, "the lease was lost meanwhile"]
            result = await through(client, lambda: answers.pop(0))
        assert (result.outcome, result.attempts[0].evidence) == (Outcome.NOT_SENT, Evidence.NOT_SENT)
        assert "lost meanwhile" in str(result.error)
        assert not service.sent


async def test_the_gate_is_asked_once_more_between_head_and_body() -> None:
    """They are two writes, and a process can be paused between them: a head alone is no request."""
    async with Service({"p": [["a"]]}) as service:
        policy = RetryPolicy(attempts=1)
        async with AsyncClient(credentials("p"), base_url=service.url, retry=policy) as client:
            answers = [None, None, "the lease was lost meanwhile"]
            result = await through(client, lambda: answers.pop(0))
        assert (result.outcome, result.attempts[0].evidence) == (Outcome.UNKNOWN, Evidence.MAYBE_SENT)
        assert "lost meanwhile" in (result.attempts[0].error or "")
        assert not service.sent


async def test_who_refuses_late_keeps_the_request_from_leaving() -> None:
    """``begin`` raises before the first byte: that is told as ``NOT_SENT``."""

    class Refusing(Leave):
        def begin(self) -> None:
            raise TransportFailure("not any more", Evidence.NOT_SENT)

    async with Service({"p": [["a"]]}) as service:
        transport = Transport(service.url)
        with pytest.raises(TransportFailure, match="not any more") as raised:
            await transport.post("v2/facturacion/reenviar_encolado", b"{}", timeout=5, leave=Refusing())
        await transport.aclose()
    assert raised.value.evidence is Evidence.NOT_SENT


async def test_a_gate_that_is_shut_costs_nothing() -> None:
    """Nothing leaves, and no attempt is told."""
    async with Service({"p": [["a"]]}) as service:
        async with AsyncClient(credentials("p"), base_url=service.url) as client:
            result = await through(client, lambda: "shut")
        assert (result.outcome, result.attempts, dict(service.sent)) == (Outcome.NOT_SENT, (), {})


async def test_a_cool_down_is_told_to_who_listens() -> None:
    """What the service asked for, with its seconds, as soon as it is known."""
    async with Service({"p": [["a"]]}) as service:
        service.pause = 0.05
        told: list[float] = []
        async with AsyncClient(
            credentials("p"), base_url=service.url, retry=RetryPolicy(attempts=1)
        ) as client:
            client._channel.pace.on_cool_down = told.append
            await through(client, lambda: None)
        assert told == [0.05]


async def test_one_tenants_outage_does_not_spend_anothers_retries() -> None:
    """Each set of credentials has a retry budget of its own."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down")

    policy = RetryPolicy(attempts=2, backoff=0.001, budget=5)
    transport = httpx.MockTransport(answer)
    async with AsyncClient(credentials("down"), transport=transport, min_interval=0, retry=policy) as down:
        report = await down.reprocess_all(["a", "b"])
        assert set(report.counts) == {Outcome.NOT_SENT}
        spent = [client._channel.budget.spent for client in (down, down.with_credentials(credentials("up")))]
    assert spent == [True, False]
