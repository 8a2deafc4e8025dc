"""``AsyncClient`` on the in-process sandbox: what it raises, how it ends, who may use it."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.helpers import ended, every_way_and_foreign
from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS
from tests.virtual import run
from tusfacturas_async import (
    AsyncClient,
    AuthenticationError,
    Credentials,
    Evidence,
    InvalidReferenceError,
    MaintenanceError,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    RateLimitError,
    RejectedError,
    ReprocessRequest,
    RetryPolicy,
    UnexpectedResponseError,
    VoucherNotFoundError,
    VoucherStatus,
)
from tusfacturas_async.sandbox import Queue, Sandbox, State, StoredVoucher

STRANGER = Credentials(apikey="9", apitoken="nobody-knows-me", usertoken="nobody-knows-me")


def answering(*answers: httpx.Response | Exception) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A transport that gives these answers in turn, the last one for ever."""
    asked: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        answer = answers[min(len(asked), len(answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    return httpx.MockTransport(handler), asked


async def test_accepted() -> None:
    """An errored voucher is in the queue again, for one billed call."""
    async with Sandbox(["ref"]) as sandbox, sandbox.client() as client:
        result = await client.reprocess("ref")
    assert (result.outcome, result.settled_by, result.billed_calls) == (Outcome.ACCEPTED, "response", 1)
    assert result.response is not None
    assert result.response.accepted
    assert result.attempts[0].started_at.utcoffset() == timedelta(0)
    assert sandbox.queue["ref"].state is State.QUEUED


async def test_not_found_raises() -> None:
    """With the result's story on the error."""
    async with Sandbox() as sandbox, sandbox.client() as client:
        with pytest.raises(VoucherNotFoundError) as raised:
            await client.reprocess("ref")
    assert raised.value.external_reference == "ref"
    assert raised.value.errores == ("No se han encontrado comprobantes.",)
    assert [attempt.evidence for attempt in raised.value.attempts] == [Evidence.ANSWERED]


async def test_a_wrong_reference_costs_nothing() -> None:
    """It is refused before anything is sent; an existing one goes through when told to."""
    odd = "pedido 7"
    async with Sandbox([odd]) as sandbox, sandbox.client() as client:
        with pytest.raises(InvalidReferenceError):
            await client.reprocess(odd)
        assert sandbox.queue.billed_calls == 0
        result = await client.reprocess(ReprocessRequest(odd, any_characters=True))
    assert result.outcome is Outcome.ACCEPTED


async def test_bad_credentials() -> None:
    """401 is final and is not retried."""
    async with Sandbox(["ref"]) as sandbox, sandbox.client() as client:
        with pytest.raises(AuthenticationError) as raised:
            await client.with_credentials(STRANGER).reprocess("ref")
    assert (raised.value.status_code, len(raised.value.attempts)) == (401, 1)


async def test_maintenance_is_not_retried() -> None:
    """It says until when."""
    until = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(hours=2)
    async with Sandbox(["ref"]) as sandbox, sandbox.client() as client:
        sandbox.maintenance_until = until
        with pytest.raises(MaintenanceError) as raised:
            await client.reprocess("ref")
    assert (raised.value.until, len(raised.value.attempts)) == (until, 1)


@pytest.mark.parametrize(("status", "outcome"), [(404, Outcome.NOT_SENT), (400, Outcome.NOT_SENT)])
async def test_refused_at_the_door(status: int, outcome: Outcome) -> None:
    """A wrong path concerns every reference; a 400 without the service's envelope comes from in between."""
    transport, asked = answering(httpx.Response(status))
    async with AsyncClient(CREDENTIALS, transport=transport) as client:
        result = await ended(client)
    assert (result.outcome, len(asked)) == (outcome, 1)
    assert isinstance(result.error, UnexpectedResponseError)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(503),
        httpx.Response(429),
        httpx.Response(302, headers={"location": "https://example.com/"}),
        httpx.ConnectError("down"),
        httpx.ReadTimeout("late"),
    ],
    ids=lambda answer: str(getattr(answer, "status_code", type(answer).__name__)),
)
async def test_one_attempt_means_one(answer: httpx.Response | Exception) -> None:
    """``RetryPolicy(attempts=1)``: one re-send request, and that is told."""
    transport, asked = answering(answer)
    async with AsyncClient(
        CREDENTIALS, transport=transport, min_interval=0, retry=RetryPolicy(attempts=1, backoff=0)
    ) as client:
        with pytest.raises((OutcomeUnknownError, NotSentError, RateLimitError)) as raised:
            await client.reprocess("ref")
    assert len(raised.value.attempts) == 1
    assert sum(request.url.path.endswith("reenviar_encolado") for request in asked) == 1


@pytest.mark.parametrize(
    ("second", "states", "outcome"),
    [
        ({"error": "S", "errores": ["CbtesAsoc"]}, [State.ERRORED], Outcome.REJECTED),
        ({"error": "S", "errores": ["CbtesAsoc"]}, [State.QUEUED], Outcome.ACCEPTED),
        ({"error": "S", "errores": ["No se han encontrado comprobantes"]}, [State.ERRORED], Outcome.UNKNOWN),
        ({"error": "S", "errores": ["No se han encontrado comprobantes"]}, [], Outcome.NOT_FOUND),
        ({"error": "S", "mantenimiento": 1, "errores": []}, [State.ERRORED], Outcome.NOT_SENT),
        ({"error": "S", "mantenimiento": 1, "errores": []}, None, Outcome.UNKNOWN),
        ({"error": "S", "errores": ["CbtesAsoc"]}, [State.ERRORED, State.QUEUED], Outcome.UNKNOWN),
        ({"error": "N"}, [State.ERRORED], Outcome.ACCEPTED),
    ],
)
async def test_a_refusal_after_a_lost_answer(
    second: dict[str, object], states: list[State] | None, outcome: Outcome
) -> None:
    """It tells nothing of the attempt before; the lookup after it does, or nobody does."""
    errored = Queue(["ref"]).find(["ref"])[0].as_wire()
    lookups = 0

    def handler(request: httpx.Request) -> httpx.Response:
        nonlocal lookups
        if request.url.path.endswith("reenviar_encolado"):
            resends.append(request)
            return httpx.Response(524) if len(resends) == 1 else httpx.Response(200, json=second)
        lookups += 1
        if lookups == 1:
            return httpx.Response(200, json={"error": "N", "comprobantes": [errored]})
        if states is None:
            return httpx.Response(500)
        found = [StoredVoucher("ref", state).as_wire() for state in states]
        return httpx.Response(200, json={"error": "N", "comprobantes": found})

    resends: list[httpx.Request] = []
    policy = RetryPolicy(backoff=0)
    async with AsyncClient(
        CREDENTIALS, transport=httpx.MockTransport(handler), min_interval=0, retry=policy
    ) as client:
        result = await ended(client)
    assert (result.outcome, len(resends)) == (outcome, 2)


# -- time -----------------------------------------------------------------------------------------


def test_the_timeout_counts_from_holding_the_slot() -> None:
    """Waiting in the line does not use it up."""

    async def main() -> list[Outcome]:
        async with Sandbox([f"r{n}" for n in range(20)], latency=0.9) as sandbox:
            async with sandbox.client(max_concurrency=1, timeout=1.0) as client:
                results = await asyncio.gather(*(client.reprocess(f"r{n}") for n in range(20)))
        return [result.outcome for result in results]

    assert run(main()) == [Outcome.ACCEPTED] * 20


def test_the_deadline_bounds_everything() -> None:
    """Attempts, waits and lookups end with it, and what is told is true."""

    async def main() -> tuple[float, OutcomeUnknownError]:
        async with Sandbox(["ref"], latency=1.0) as sandbox:
            async with sandbox.client(timeout=0.9, deadline=2.5, retry=RetryPolicy(attempts=50)) as client:
                with pytest.raises(OutcomeUnknownError) as raised:
                    await client.reprocess("ref")
                return asyncio.get_running_loop().time(), raised.value

    ended_at, error = run(main())
    assert (ended_at <= 2.5, error.attempts[0].evidence) == (True, Evidence.MAYBE_SENT)


def test_a_deadline_that_passes_in_the_line_is_not_sent() -> None:
    """Nothing left: safe to call again, and nothing was billed."""

    async def main() -> int:
        async with Sandbox(["a", "b"], latency=5.0) as sandbox:
            async with sandbox.client(max_concurrency=1, deadline=1.0) as client:
                first = asyncio.create_task(client.reprocess("a"))
                await asyncio.sleep(0)
                with pytest.raises(NotSentError) as raised:
                    await client.reprocess("b")
                assert raised.value.attempts == ()
                with pytest.raises(OutcomeUnknownError):
                    await first
            return sandbox.queue.billed_calls

    assert run(main()) == 0  # the sandbox was cancelled before it answered "a"


def test_a_429_cools_down_all_callers_of_those_credentials() -> None:
    """One meets it, and nobody starts before the ``Retry-After`` is over."""
    starts: list[float] = []

    async def main() -> None:
        async def app(scope: dict[str, object], receive: object, send: object) -> None:
            starts.append(asyncio.get_running_loop().time())
            limited = len(starts) == 1
            headers = [(b"retry-after", b"7")] if limited else []
            await send({"type": "http.response.start", "status": 429 if limited else 200, "headers": headers})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": b'{"error": "N"}'})  # type: ignore[operator]

        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0.1) as client:
            await asyncio.gather(*(client.reprocess(f"r{n}") for n in range(5)))

    run(main())
    assert starts[0] == 0
    assert min(starts[1:]) >= 7


# -- lookup ---------------------------------------------------------------------------------------


async def test_lookup_in_chunks() -> None:
    """250 references are three requests; those that nobody has are not among the answers."""
    have = [f"r{n}" for n in range(250)]
    async with Loopback(Queue(have)) as server:
        async with AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0) as client:
            found = await client.lookup(*have, "nobody")
            assert await client.lookup() == []
    assert (server.lookups, {v.external_reference for v in found}) == (3, set(have))
    assert {v.status for v in found} == {VoucherStatus.ERRORED}


@pytest.mark.parametrize("refusal", [403, 413, 200])
async def test_lookup_sends_fewer_when_the_firewall_refuses(refusal: int) -> None:
    """A refused chunk is split until it passes."""
    queue = Queue([f"r{n}" for n in range(100)])
    asked: list[int] = []

    def handler(request: httpx.Request) -> httpx.Response:
        references = request.content.count(b'"r')
        asked.append(references)
        if references > 30:
            return httpx.Response(refusal, html="<html>blocked</html>")
        found = [
            v.as_wire() for v in queue.vouchers if f'"{v.external_reference}"'.encode() in request.content
        ]
        return httpx.Response(200, json={"error": "N", "comprobantes": found})

    async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(handler), min_interval=0) as client:
        found = await client.lookup(*(f"r{n}" for n in range(100)))
    assert (len(found), asked) == (100, [100, 50, 25, 25, 50, 25, 25])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (httpx.Response(401), AuthenticationError),
        (httpx.Response(200, json={"error": "S", "errores": ["x"]}), RejectedError),
        (httpx.Response(200, json={"error": "N"}), UnexpectedResponseError),
        (httpx.Response(502), UnexpectedResponseError),
        (httpx.Response(429), RateLimitError),
        (httpx.ConnectError("down"), NotSentError),
        (httpx.ReadTimeout("late"), UnexpectedResponseError),
    ],
)
async def test_lookup_errors(answer: httpx.Response | Exception, error: type[Exception]) -> None:
    """Each is one of ours."""
    transport, _ = answering(answer)
    policy = RetryPolicy(attempts=2, backoff=0, max_retry_after=0)
    async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0, retry=policy) as client:
        with pytest.raises(error):
            await client.lookup("ref")


async def test_lookup_not_found_is_an_empty_list() -> None:
    """Should the service say it as it does for a re-send."""
    answer = httpx.Response(200, json={"error": "S", "errores": ["No se han encontrado comprobantes."]})
    async with AsyncClient(CREDENTIALS, transport=answering(answer)[0]) as client:
        assert await client.lookup("ref") == []


# -- whose client is it, and until when -----------------------------------------------------------


async def test_a_closed_client_says_so() -> None:
    """And names the remedy."""
    async with Sandbox() as sandbox:
        client = sandbox.client()
        await client.aclose()
        await client.aclose()
        for call in (client.reprocess("a"), client.lookup("a"), client.__aenter__()):
            with pytest.raises(RuntimeError, match="closed"):
                await call
        with pytest.raises(RuntimeError, match="closed"):
            client.reprocess_many(["a"])


def test_a_second_event_loop_is_refused() -> None:
    """A client belongs to the loop that first used it."""

    async def build() -> tuple[Sandbox, AsyncClient]:
        sandbox = Sandbox(["a"])
        client = sandbox.client()
        await client.reprocess("a")
        return sandbox, client

    _, client = asyncio.run(build())
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(client.reprocess("a"))


async def test_closing_lets_what_is_in_flight_finish() -> None:
    """In flight ends as it ends; in the line is NOT_SENT; nobody hangs."""
    async with Sandbox(["a", "b", "c"], latency=0.05) as sandbox:
        client = sandbox.client(max_concurrency=1)
        tasks = [asyncio.create_task(client.reprocess(ref)) for ref in "abc"]
        await asyncio.sleep(0.01)
        await client.aclose()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result).__name__ for result in results] == [
        "ReprocessResult",
        "NotSentError",
        "NotSentError",
    ]
    assert sandbox.queue.billed_calls == 1


async def test_with_credentials_shares_the_slots_and_closes_alone() -> None:
    """Two sets never have more than ``max_concurrency`` in flight; closing the second leaves the first."""
    other = Credentials(apikey="2", apitoken="other-token", usertoken="other-user")
    async with Sandbox([f"a{n}" for n in range(20)], latency=0.002) as sandbox:
        sandbox.add_point_of_sale(other, [f"b{n}" for n in range(20)])
        async with sandbox.client(max_concurrency=3) as client:
            async with client.with_credentials(other) as second:
                await asyncio.gather(
                    *(client.reprocess(f"a{n}") for n in range(20)),
                    *(second.reprocess(f"b{n}") for n in range(10)),
                )
            with pytest.raises(RuntimeError, match="closed"):
                await second.reprocess("b11")
            await client.with_credentials(other).reprocess("b11")
    assert sandbox.most_in_flight == 3


def test_clients_of_the_same_credentials_share_their_spacing() -> None:
    """``min_interval`` is per credentials, not per client object."""

    async def main() -> float:
        async with Sandbox([f"r{n}" for n in range(10)]) as sandbox:
            async with sandbox.client(min_interval=1.0) as client:
                twin = client.with_credentials(sandbox.credentials)
                calls = [(client, twin)[n % 2].reprocess(f"r{n}") for n in range(10)]
                await asyncio.gather(*calls)
            return asyncio.get_running_loop().time()

    assert run(main()) == pytest.approx(9.0)


@pytest.mark.parametrize(
    "wrong",
    [{"max_concurrency": 0}, {"min_interval": -1}, {"timeout": 0}, {"deadline": 0}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_arguments_out_of_range_are_named(wrong: dict[str, int]) -> None:
    """At construction, by field."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AsyncClient(CREDENTIALS, **wrong)  # type: ignore[arg-type]


# -- cancelled callers ----------------------------------------------------------------------------


@every_way_and_foreign
async def test_a_thousand_cancelled_callers_harm_nobody(way: str) -> None:
    """1,000 cancelled under contention, then 1,000 good calls: none fails, nothing is leaked."""
    before = asyncio.all_tasks()
    foreign = way == "pyreqwest"  # which leaves connections open, hundreds of them
    good = [f"good-{n}" for n in range(1000)]
    async with Loopback(Queue([*good, *(f"cancelled-{n}" for n in range(1000))])) as server:
        server.latency = 0.002
        async with AsyncClient(
            CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=20
        ) as client:
            doomed = [asyncio.create_task(client.reprocess(f"cancelled-{n}")) for n in range(1000)]
            for number, task in enumerate(doomed):
                if number % 10 == 0:
                    await asyncio.sleep(0.001)
                task.cancel()
            await asyncio.gather(*doomed, return_exceptions=True)
            results = await asyncio.gather(*(client.reprocess(reference) for reference in good))
            assert {result.outcome for result in results} == {Outcome.ACCEPTED}
            assert server.open_connections <= 20 or foreign
            started = time.monotonic()
        while server.open_connections and time.monotonic() - started < 10 and not foreign:
            await asyncio.sleep(0.01)  # the server sees the closing a moment later
        assert server.open_connections == 0 or foreign
    assert asyncio.all_tasks() - before == set()


@pytest.mark.parametrize(
    ("argument", "wrong", "error"),
    [
        ("max_concurrency", 2.5, TypeError),
        ("max_concurrency", True, TypeError),
        ("max_concurrency", "10", TypeError),
        ("max_concurrency", float("inf"), TypeError),
        ("max_concurrency", 10**9, ValueError),
        ("max_concurrency", 0, ValueError),
        ("min_interval", "0.1", TypeError),
        ("min_interval", True, TypeError),
        ("min_interval", float("nan"), ValueError),
        ("timeout", None, TypeError),
        ("timeout", True, TypeError),
        ("timeout", float("nan"), ValueError),
        ("deadline", "5", TypeError),
        ("deadline", 0, ValueError),
        ("retry", 4, TypeError),
        ("retry", None, TypeError),
    ],
)
async def test_a_wrong_number_is_told_before_anything_is_sent(
    argument: str, wrong: object, error: type[Exception]
) -> None:
    """Some were told after a billed call, when the client was closed, or never; the argument is named."""
    with pytest.raises(error, match=f"^{argument} must be "):
        AsyncClient(CREDENTIALS, **{argument: wrong})  # type: ignore[arg-type]


async def test_wrong_numbers_of_vouchers_and_waits_are_named() -> None:
    """A flag is no point of sale, and a text no number."""
    async with AsyncClient(CREDENTIALS) as client:
        for numbers in ((True, 1, 2), (1.5, 1, 2), (1, "1", 2), (1, 1, 10**8)):
            with pytest.raises(
                (TypeError, ValueError), match=r"^(punto_venta|numero_(desde|hasta)) must be "
            ):
                client.lookup_numbers("FACTURA A", *numbers)
        with pytest.raises(TypeError, match=r"^within must be "):
            async with client.confirmations(None, within="30"):  # type: ignore[arg-type]
                pass
