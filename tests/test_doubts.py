"""What may have arrived is looked up before it is asked for again, whoever asks: a client remembers it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import (
    AsyncClient,
    AuthenticationError,
    CallResult,
    Credentials,
    Journal,
    NotSentError,
    Outcome,
    OutcomeUnknownError,
    RateLimitError,
    RetryPolicy,
    VoucherNotFoundError,
)
from tusfacturas_async._call.doubts import Doubts
from tusfacturas_async.sandbox import Sandbox, State

ONCE = RetryPolicy(attempts=1)
DAY = date(2026, 3, 18)
Ask = Callable[[AsyncClient], Awaitable[CallResult]]

ASKED: list[tuple[Ask, State]] = [
    (lambda client: client.reprocess("a"), State.QUEUED),
    (lambda client: client.delete("a", DAY), State.DELETED),
    (lambda client: client.change_date("a", DAY, DAY), State.QUEUED),
]
each_operation = pytest.mark.parametrize(
    ("ask", "state"), ASKED, ids=["re-send", "deletion", "change of date"]
)


@each_operation
async def test_what_ended_as_unknown_is_looked_up_before_it_is_asked_for_again(
    ask: Ask, state: State
) -> None:
    """It had arrived: asking blindly would be billed, and answered "not found"."""
    async with Sandbox(["a"]) as sandbox, sandbox.client(retry=ONCE) as client:
        sandbox.lose_answer("a")
        sandbox.switches.lose_lookups = 1.0
        for _ in range(2):  # no lookup works: nothing is sent again
            with pytest.raises(OutcomeUnknownError):
                await ask(client)
        sandbox.switches.lose_lookups = 0.0
        result = await ask(client)
        assert (result.outcome, result.settled_by, result.billed_calls) == (Outcome.ACCEPTED, "lookup", 0)
        assert (sandbox.queue.billed_calls, sandbox.queue["a"].state) == (1, state)
        assert not client._channel.doubts


@each_operation
def test_what_was_given_up_on_its_way_is_looked_up_before_it_is_asked_for_again(
    ask: Ask, state: State
) -> None:
    """As when a browser leaves, and its user clicks again."""

    async def main() -> tuple[CallResult, int, State]:
        async with Sandbox(["a"], latency=1.0) as sandbox, sandbox.client() as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await ask(client)
            transport = sandbox.transport()  # the request arrives all the same
            async with AsyncClient(sandbox.credentials, transport=transport) as arrived:
                await ask(arrived)
            return await ask(client), sandbox.queue.billed_calls, sandbox.queue["a"].state

    result, billed, ended = run(main())
    assert (result.outcome, result.settled_by, result.billed_calls) == (Outcome.ACCEPTED, "lookup", 0)
    assert (billed, ended) == (1, state)


async def test_a_doubt_that_the_lookup_lifts_is_none_any_more() -> None:
    """The first request never arrived: the lookup says errored, so it is sent, and then it is known."""
    async with Sandbox(["a"], lose_before=1.0, lose_lookups=1.0) as sandbox:
        async with sandbox.client(retry=ONCE) as client:
            with pytest.raises(OutcomeUnknownError):
                await client.reprocess("a")
            sandbox.switches.lose_before = sandbox.switches.lose_lookups = 0.0
            result = await client.reprocess("a")
            assert (result.settled_by, result.billed_calls) == ("response", 1)
            assert not client._channel.doubts


async def test_a_repeat_in_one_batch_behind_an_unknown_is_looked_up() -> None:
    """Its first result was taken long ago, and there is no journal."""
    taken = asyncio.Event()

    async def references() -> AsyncIterator[str]:
        yield "a"
        await taken.wait()
        yield "a"

    async with Sandbox(["a"]) as sandbox, sandbox.client(retry=ONCE) as client:
        sandbox.lose_answer("a")
        sandbox.switches.lose_lookups = 1.0
        seen = []
        async with client.reprocess_many(references()) as batch:
            async for result in batch:
                seen.append((result.outcome, result.settled_by, result.billed_calls))
                sandbox.switches.lose_lookups = 0.0
                taken.set()
    assert seen == [(Outcome.UNKNOWN, None, 1), (Outcome.ACCEPTED, "lookup", 0)]
    assert sandbox.queue.billed_calls == 1


@pytest.mark.parametrize("journaled", [False, True], ids=["no journal", "another journal"])
async def test_a_batch_after_one_that_was_given_up_looks_first(journaled: bool, tmp_path: Path) -> None:
    """What a second cancellation gave up may have arrived."""
    references = [f"r{n}" for n in range(5)]
    async with Sandbox(references, latency=0.3) as sandbox, sandbox.client() as client:
        sweep = asyncio.create_task(client.reprocess_all(references))
        await asyncio.sleep(0.1)
        for _ in range(2):
            sweep.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await sweep
        for reference in references:
            sandbox.queue.reprocess(reference)  # they arrive
        sandbox.switches.latency = 0.0
        billed = sandbox.queue.billed_calls
        if journaled:
            async with Journal.open(tmp_path / "journal") as journal:
                report = await client.reprocess_all(references, journal=journal)
        else:
            report = await client.reprocess_all(references)
    assert report.counts == {Outcome.ACCEPTED: 5}
    assert {result.settled_by for result in report.results} == {"lookup"}
    assert sandbox.queue.billed_calls == billed == 5


def test_what_was_given_up_while_it_waited_for_its_webhook_is_looked_up() -> None:
    """It was answered, but nobody was told: blindly it would be billed, and not found."""

    class Silent:
        def subscribe(self, _: object) -> Callable[[], None]:
            return lambda: None

    async def main() -> tuple[str | None, int]:
        async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
            async with client.confirmations(Silent(), within=30) as confirmed:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(5):
                        await confirmed.reprocess("a")
            return (await client.reprocess("a")).settled_by, sandbox.queue.billed_calls

    assert run(main()) == ("lookup", 1)


async def test_a_doubt_of_a_journal_is_the_clients_too(tmp_path: Path) -> None:
    """An earlier process sent it, and the lookup could not tell: a single call, without a journal, looks."""
    async with (
        Sandbox(["a"], lose_lookups=1.0) as sandbox,
        sandbox.client(retry=ONCE) as client,
        Journal.open(tmp_path / "journal") as journal,
    ):
        await journal.sending(sandbox.credentials.identity, "a", datetime.now(UTC))
        journal.release(sandbox.credentials.identity, "a")  # as a crash leaves it
        sandbox.queue.reprocess("a")
        assert (await client.reprocess_all(["a"], journal=journal)).counts == {Outcome.UNKNOWN: 1}
        sandbox.switches.lose_lookups = 0.0
        assert (await client.reprocess("a")).settled_by == "lookup"
    assert sandbox.queue.billed_calls == 1


# -- what is no doubt -----------------------------------------------------------------------------


def test_what_waited_in_line_when_it_was_given_up_is_no_doubt() -> None:
    """Nothing of it left, so no lookup is needed."""

    async def main() -> tuple[str | None, int, int]:
        async with Sandbox(["a", "b"], latency=1.0) as sandbox, sandbox.client(max_concurrency=1) as client:
            first = asyncio.create_task(client.reprocess("b"))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await client.reprocess("a")
            await first
            result = await client.reprocess("a")
            return result.settled_by, sandbox.queue.billed_calls, len(client._channel.doubts)

    assert run(main()) == ("response", 2, 0)


@pytest.mark.parametrize(
    ("answer", "raised"),
    [
        (httpx.ConnectError("nobody there"), NotSentError),
        (httpx.Response(429), RateLimitError),
        (httpx.Response(200, json={"error": "S", "errores": ["No se han encontrado comprobantes."]}), None),
    ],
    ids=["no connection", "429", "not found"],
)
async def test_what_has_an_end_that_is_known_is_no_doubt(
    answer: httpx.Response | Exception, raised: type[Exception] | None, hasty: RetryPolicy
) -> None:
    """Neither when it ended, nor while it waits for its next attempt."""
    doubts: list[int] = []

    class Waiting:
        def on_wait(self, _: object) -> None:
            doubts.append(len(client._channel.doubts))

    def handler(_: httpx.Request) -> httpx.Response:
        doubts.append(-len(client._channel.doubts))
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx.MockTransport(handler)
    client = AsyncClient(STRANGER, transport=transport, min_interval=0, retry=hasty, observers=[Waiting()])
    async with client:
        with pytest.raises(raised or VoucherNotFoundError):
            await client.reprocess("a")
        assert not client._channel.doubts
    assert doubts == ([-1, 0, -1, 0, -1, 0, -1] if raised else [-1])


async def test_a_doubt_is_its_point_of_sales_and_outlives_its_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Another point of sale's voucher of that name is another; a crowd of others makes nobody forget."""
    caplog.set_level("CRITICAL", "tusfacturas_async")  # a record would keep the error, and that all the rest
    async with Sandbox(["a"]) as sandbox, sandbox.client(retry=ONCE) as client:
        theirs = sandbox.add_point_of_sale(STRANGER, ["a"])
        sandbox.switches.lose_after = sandbox.switches.lose_lookups = 1.0
        with pytest.raises(OutcomeUnknownError):
            await client.with_credentials(STRANGER).reprocess("a")
        sandbox.switches.lose_after = sandbox.switches.lose_lookups = 0.0
        assert (await client.reprocess("a")).settled_by == "response"
        for number in range(200):
            crowd = client.with_credentials(Credentials(f"10{number}", "token", "user"))
            with suppress(AuthenticationError):
                await crowd.reprocess("a")
        gc.collect()
        assert (await client.with_credentials(STRANGER).reprocess("a")).settled_by == "lookup"
        assert theirs.billed_calls == 1


def test_so_many_are_kept_and_the_oldest_forgotten() -> None:
    """An outage of days takes no more memory."""
    doubts = Doubts(most=2)
    for name in "abcb":
        doubts.add(name)
    assert [name in doubts for name in "abc"] == [False, True, True]
    doubts.discard("b")
    doubts.discard("a")
    assert (len(doubts), "b" in doubts) == (1, False)


STRANGER = Credentials(apikey="2", apitoken="two-apitoken", usertoken="two-usertoken")
