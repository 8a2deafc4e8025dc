"""Every fault of ``tests/loopback`` over real sockets: the outcome, the evidence, the bill, the lookups."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest
from pyreqwest.compatibility.httpx import HttpxTransport

from tests.helpers import ended
from tests.loopback import FAULTS, Fault, Loopback
from tests.loopback.faults import LOST, REFUSED
from tests.loopback.server import CREDENTIALS, http, ok
from tusfacturas_async import (
    AsyncClient,
    DirectTransport,
    Evidence,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    RateLimitError,
    RetryPolicy,
    TusFacturasError,
)
from tusfacturas_async._http import connection, dial
from tusfacturas_async.instrumentation import CoolDownStarted
from tusfacturas_async.sandbox import Queue, State, StoredVoucher

every_way = pytest.mark.usefixtures("way")

PATIENCE, SHORT = 60.0, 1.0
"""Seconds of the client's timeout: short where a fault ends with nothing else, as a machine may be busy."""


def client(
    server: Loopback,
    retry: RetryPolicy,
    fault: Fault | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncClient:
    return AsyncClient(
        CREDENTIALS,
        base_url=server.url,
        min_interval=0,
        timeout=SHORT if fault is not None and fault.stalls else PATIENCE,
        retry=retry,
        transport=transport,
    )


@every_way
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_one_fault_then_health(fault: Fault, hasty: RetryPolicy) -> None:
    """One fault changes neither the truth nor, where the work was done, the bill."""
    async with Loopback(Queue(["ref"]), [fault]) as server, client(server, hasty, fault) as c:
        result = await ended(c)
    evidence = [attempt.evidence for attempt in result.attempts]
    assert result.outcome is Outcome.ACCEPTED
    assert server.queue["ref"].state is State.QUEUED
    if fault.processed:
        assert (evidence, result.settled_by) == ([Evidence.MAYBE_SENT], "lookup")
        assert server.resends == ["ref"]
        assert server.queue.billed_calls == result.billed_calls == 1
    else:
        assert (evidence, result.settled_by) == ([fault.evidence, Evidence.ANSWERED], "response")
        assert len(server.resends) == (1 if fault.before_reading else 2)
    assert (server.lookups > 0) == (fault.evidence is Evidence.MAYBE_SENT)


@every_way
@pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.name)
async def test_a_fault_that_stays(fault: Fault) -> None:
    """When every answer is lost and the lookup still says errored, nobody knows, and that is what is told."""
    retry = RetryPolicy(attempts=2, backoff=0.002)
    async with Loopback(Queue(["ref"]), [fault] * 2) as server, client(server, retry, fault) as c:
        with pytest.raises(OutcomeUnknownError) as raised:
            await c.reprocess("ref")
    assert [a.evidence for a in raised.value.attempts] == [Evidence.MAYBE_SENT] * 2
    assert (server.resends, server.lookups >= 2) == (["ref", "ref"], True)


@every_way
@pytest.mark.parametrize("fault", LOST, ids=lambda fault: fault.name)
async def test_the_answer_and_every_lookup_lost(fault: Fault) -> None:
    """The work is done, its answer and the lookups are lost: nothing is repeated, and nobody knows."""
    retry = RetryPolicy(attempts=3, backoff=0.002)
    async with (
        Loopback(Queue(["ref"]), [fault.after_processing()], [fault] * 50) as server,
        client(server, retry, fault) as c,
    ):
        result = await ended(c)
    # On a busy machine a connect may outlast the short timeout: then nothing left, and it is tried again.
    arrived = [a.evidence for a in result.attempts if a.evidence is not Evidence.NOT_SENT]
    assert result.outcome is Outcome.UNKNOWN
    assert arrived == [Evidence.MAYBE_SENT]
    assert (server.resends, server.lookups) == (["ref"], 3)


@every_way
async def test_a_lookup_that_recovers_settles_it(hasty: RetryPolicy) -> None:
    """The free lookup is asked again while it fails; then it says what the lost answer would have."""
    lost = LOST[0].after_processing()
    async with Loopback(Queue(["ref"]), [lost], [LOST[0], LOST[9]]) as server, client(server, hasty) as c:
        result = await ended(c)
    assert (result.outcome, result.settled_by) == (Outcome.ACCEPTED, "lookup")
    assert (server.resends, server.lookups) == (["ref"], 3)


@every_way
async def test_the_case_that_matters_most(hasty: RetryPolicy) -> None:
    """The first request is processed, its answer lost, a second would say "not found": ACCEPTED, one call."""
    lost = LOST[0].after_processing()
    async with Loopback(Queue(["ref"]), [lost]) as server, client(server, hasty) as c:
        result = await c.reprocess("ref")
    assert (result.outcome, result.settled_by) == (Outcome.ACCEPTED, "lookup")
    assert (server.queue.billed_calls, len(server.resends), server.lookups) == (1, 1, 1)


@every_way
@pytest.mark.parametrize("vouchers", [[], [StoredVoucher("ref", State.ISSUED)]], ids=["absent", "issued"])
async def test_not_found_is_asked_once(vouchers: list[StoredVoucher], hasty: RetryPolicy) -> None:
    """ "No se han encontrado comprobantes." is final: one request, no lookup."""
    async with Loopback(Queue(vouchers)) as server, client(server, hasty) as c:
        result = await ended(c)
    assert (result.outcome, result.settled_by) == (Outcome.NOT_FOUND, "response")
    assert (server.resends, server.lookups) == (["ref"], 0)


@every_way
async def test_not_found_after_a_lost_answer_is_confirmed_by_lookup(hasty: RetryPolicy) -> None:
    """A voucher that does not exist stays NOT_FOUND through a lost answer, and costs no second call."""
    async with Loopback(Queue(), [LOST[0]]) as server, client(server, hasty) as c:
        result = await ended(c)
    assert (result.outcome, result.settled_by) == (Outcome.NOT_FOUND, "lookup")
    assert (server.resends, server.lookups) == (["ref"], 1)


@every_way
@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.name)
async def test_rate_limited_to_the_end(fault: Fault, hasty: RetryPolicy) -> None:
    """429 to the last attempt: nothing was processed, nothing is looked up."""
    async with Loopback(Queue(["ref"]), [fault] * 4) as server, client(server, hasty) as c:
        with pytest.raises(RateLimitError) as raised:
            await c.reprocess("ref")
    assert [a.evidence for a in raised.value.attempts] == [Evidence.NOT_SENT] * 4
    assert (server.lookups, server.queue["ref"].state) == (0, State.ERRORED)


@pytest.mark.parametrize("interval", [0.0, 0.01])
@pytest.mark.parametrize("way", ["httpx", "direct"])
async def test_a_pause_holds_back_what_has_not_left_yet(
    way: str, interval: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 429 that comes while another request still opens its connection: that one waits it out, too.

    It had its turn before. No attempt is counted for it until it leaves.
    """
    loop, openings = asyncio.get_running_loop(), iter(("first", "second"))
    opening, told = asyncio.Event(), asyncio.Event()

    async def open_slowly() -> None:
        if next(openings, "") == "second":
            opening.set()
            await told.wait()

    async def pause(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        await opening.wait()
        answered.append(loop.time())  # the pause that is heard of later cannot end earlier
        writer.write(http("429 Too Many Requests", b"", "Retry-After: 1"))

    async def slow_dial(host: str, port: int) -> socket.socket:
        await open_slowly()
        return await dial.dial(host, port)

    class SlowSlot(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await open_slowly()
            return await super().handle_async_request(request)

    class Pauses:
        def on_cool_down(self, event: CoolDownStarted) -> None:
            pauses.append(event.seconds)
            told.set()

    answered: list[float] = []
    pauses: list[float] = []
    arrivals: list[tuple[float, str]] = []
    monkeypatch.setattr(connection, "dial", slow_dial)
    async with Loopback(Queue(["first", "second"]), [Fault("429", pause, Evidence.NOT_SENT)]) as server:

        def arrived() -> float:
            arrivals.append((loop.time(), server.resends[-1]))
            return 0.0

        server.think = arrived
        async with AsyncClient(
            CREDENTIALS,
            base_url=server.url,
            min_interval=interval,
            max_concurrency=2,
            retry=RetryPolicy(attempts=2, max_retry_after=0.2),
            transport=DirectTransport if way == "direct" else SlowSlot,
            observers=[Pauses()],
        ) as c:
            first, second = await asyncio.gather(c.reprocess("first"), c.reprocess("second"))
    (said,), (lasts,) = answered, pauses
    assert [reference for at, reference in arrivals if at < said + lasts] == ["first"]
    assert [a.evidence for a in first.attempts] == [Evidence.NOT_SENT, Evidence.ANSWERED]
    assert [a.evidence for a in second.attempts] == [Evidence.ANSWERED]


@every_way
async def test_refused_connection(hasty: RetryPolicy) -> None:
    """Nobody listens: provably nothing left, and it is safe to call again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with AsyncClient(
        CREDENTIALS, base_url=f"http://127.0.0.1:{port}/", min_interval=0, retry=hasty
    ) as c:
        with pytest.raises(NotSentError) as raised:
            await c.reprocess("ref")
    assert [a.evidence for a in raised.value.attempts] == [Evidence.NOT_SENT] * 4


@every_way
async def test_a_connection_that_never_completes() -> None:
    """A connect that outlasts the timeout is NOT_SENT: the trace, not the exception's class, proves it."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/"
        policy = RetryPolicy(attempts=1)
        async with AsyncClient(CREDENTIALS, base_url=url, timeout=0.1, min_interval=0, retry=policy) as c:
            with pytest.raises(NotSentError):
                await c.reprocess("ref")
        for filler in fillers:
            filler.close()


@every_way
async def test_keep_alive_closed_between_two_requests(hasty: RetryPolicy) -> None:
    """A connection that the server closes after an answer costs nothing."""

    async def answer_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
        writer.write(ok(answer))
        writer.close()

    polite = Fault("closes after answering", answer_and_close, processed=True)
    async with Loopback(Queue(["a", "b"]), [polite]) as server, client(server, hasty) as c:
        first = await c.reprocess("a")
        while server.open_connections:  # the close is on its way
            await asyncio.sleep(0.001)
        second = await c.reprocess("b")
    assert (first.outcome, second.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
    assert second.settled_by in {"response", "lookup"}
    assert server.queue.billed_calls == 2


# -- a foreign transport: no outcome may become untrue, only less certain ---------------------------


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_foreign_transport(fault: Fault, hasty: RetryPolicy) -> None:
    """Over pyreqwest an attempt that reached the server is never called NOT_SENT, and the outcome holds."""
    async with (
        Loopback(Queue(["ref"]), [fault]) as server,
        client(server, hasty, fault, HttpxTransport()) as c,
    ):
        result = await ended(c)
    assert result.outcome is Outcome.ACCEPTED
    assert server.queue["ref"].state is State.QUEUED
    assert len(server.queue.resent) == 1
    if fault.evidence is Evidence.MAYBE_SENT:
        assert result.attempts[0].evidence is Evidence.MAYBE_SENT
        assert server.lookups > 0


async def test_foreign_transport_refused_connection() -> None:
    """A refused connection over a foreign transport is less certain: it may have been a lost reply."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    policy = RetryPolicy(attempts=2, backoff=0.002)
    url = f"http://127.0.0.1:{port}/"
    async with AsyncClient(
        CREDENTIALS, base_url=url, min_interval=0, retry=policy, transport=HttpxTransport()
    ) as c:
        with pytest.raises(OutcomeUnknownError):
            await c.reprocess("ref")


class Wrapping(httpx.AsyncBaseTransport):
    """Somebody else's transport that passes the trace on, as caches and loggers do."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


async def test_trace_proves_it_on_a_wrapping_transport() -> None:
    """Where httpcore's trace reaches us it is proof, whoever owns the transport."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    policy = RetryPolicy(attempts=1)
    url = f"http://127.0.0.1:{port}/"
    async with AsyncClient(CREDENTIALS, base_url=url, retry=policy, transport=Wrapping()) as c:
        with pytest.raises(NotSentError):
            await c.reprocess("ref")


@pytest.mark.parametrize(
    ("error", "evidence"),
    [
        (httpx.ConnectError("dns"), Evidence.NOT_SENT),
        (httpx.ConnectTimeout("slow"), Evidence.NOT_SENT),
        (httpx.PoolTimeout("full"), Evidence.NOT_SENT),
        (httpx.ReadTimeout("late"), Evidence.MAYBE_SENT),
        (httpx.RemoteProtocolError("what"), Evidence.MAYBE_SENT),
        (RuntimeError("a bug of theirs"), Evidence.MAYBE_SENT),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_exception_class_is_proof_on_httpx_own_transports(error: Exception, evidence: Evidence) -> None:
    """On ``MockTransport`` the class of httpx's exception tells; anything else may have been sent."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise error

    async with AsyncClient(
        CREDENTIALS, retry=RetryPolicy(attempts=1, backoff=0), transport=httpx.MockTransport(handler)
    ) as c:
        with pytest.raises(TusFacturasError) as raised:
            await c.reprocess("ref")
    assert [a.evidence for a in raised.value.attempts] == [evidence]
