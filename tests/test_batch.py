"""``reprocess_many``: one result per reference, bounded work, an orderly end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.loopback import Loopback
from tests.loopback.server import CREDENTIALS
from tests.virtual import TURN, run
from tusfacturas_async import (
    AsyncClient,
    Credentials,
    InvalidReferenceError,
    Outcome,
    RetryPolicy,
    Voucher,
    VoucherStatus,
)
from tusfacturas_async.batch import WINDOW
from tusfacturas_async.sandbox import Queue, Sandbox, State, StoredVoucher


async def test_one_result_per_reference() -> None:
    """Whatever became of it, a reference that breaks a rule included; nothing raises."""
    async with Sandbox(["a", "b"]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(["a", "b", "nobody", "not allowed"])
    assert report.counts == {Outcome.ACCEPTED: 2, Outcome.NOT_FOUND: 1, Outcome.REJECTED: 1}
    assert report.billed_calls == sandbox.queue.billed_calls == 3
    wrong = next(result for result in report.results if result.outcome is Outcome.REJECTED)
    assert isinstance(wrong.error, InvalidReferenceError)


async def test_async_input() -> None:
    """An async iterable is consumed as well."""

    async def references() -> AsyncIterator[str]:
        for n in range(50):
            yield f"r{n}"

    async with Sandbox([f"r{n}" for n in range(50)]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(references())
    assert Counter(r.external_reference for r in report.results) == Counter(f"r{n}" for n in range(50))


def test_a_slow_consumer_slows_the_sending() -> None:
    """Reading and sending keep a bounded distance ahead of the consumer."""
    taken = 0

    def references() -> Iterator[str]:
        nonlocal taken
        for n in range(10_000):
            taken += 1
            yield f"r{n}"

    async def main() -> list[tuple[int, int]]:
        ahead = []
        async with Sandbox(f"r{n}" for n in range(10_000)) as sandbox, sandbox.client() as client:
            async with client.reprocess_many(references()) as batch:
                done = 0
                async for _ in batch:
                    done += 1
                    await asyncio.sleep(1)
                    ahead.append((taken - done, sandbox.queue.billed_calls - done))
                    if done == 100:
                        break
        return ahead

    reading, sending = zip(*run(main()), strict=True)
    assert max(reading) <= WINDOW + 1
    assert max(sending) <= 30, "twice max_concurrency wait as results, and once is in flight"


def test_never_more_in_flight_than_allowed() -> None:
    """The server's own count."""

    async def main() -> int:
        references = [f"r{n}" for n in range(300)]
        async with Sandbox(references, latency=0.1) as sandbox, sandbox.client(max_concurrency=7) as client:
            await asyncio.gather(*(client.reprocess_all(references[n::3]) for n in range(3)))
        return sandbox.most_in_flight

    assert run(main()) == 7


async def test_a_batch_is_used_once_and_entered_first() -> None:
    """Misuse says what to do."""
    async with Sandbox() as sandbox, sandbox.client() as client:
        batch = client.reprocess_many([])
        with pytest.raises(RuntimeError, match="async with"):
            await anext(batch)
        async with batch:
            assert [result async for result in batch] == []
            assert [result async for result in batch] == []
        with pytest.raises(RuntimeError, match="make a new one"):
            await batch.__aenter__()


# -- check first ----------------------------------------------------------------------------------


async def test_check_first_sends_only_what_is_errored() -> None:
    """The rest comes out with its voucher, and the report says what was saved."""
    vouchers: list[StoredVoucher | str] = ["errored", StoredVoucher("queued", State.QUEUED)]
    vouchers.append(StoredVoucher("issued", State.ISSUED))
    async with Sandbox(vouchers) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(["errored", "queued", "issued", "nobody"], check_first=True)
    by_reference = {result.external_reference: result for result in report.results}
    assert {reference: str(result.outcome) for reference, result in by_reference.items()} == {
        "errored": "accepted",
        "queued": "skipped",
        "issued": "skipped",
        "nobody": "not_found",
    }
    voucher = by_reference["issued"].voucher
    assert voucher is not None
    assert voucher.status is VoucherStatus.ISSUED
    assert (report.billed_calls, report.saved_calls, sandbox.queue.billed_calls) == (1, 3, 1)


async def test_check_first_asks_in_chunks() -> None:
    """250 references are three free lookups."""
    async with Loopback(Queue([f"r{n}" for n in range(250)])) as server:
        async with AsyncClient(CREDENTIALS, base_url=server.url, min_interval=0) as client:
            await client.reprocess_all([f"r{n}" for n in range(250)], check_first=True)
    assert (server.lookups, len(server.resends)) == (3, 250)


async def test_what_cannot_be_checked_is_not_sent() -> None:
    """Sending unchecked is not what was asked for."""

    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path.endswith("consulta_avanzada")
        return httpx.Response(500)

    policy = RetryPolicy(attempts=1)
    async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(handler), retry=policy) as client:
        report = await client.reprocess_all(["a", "b"], check_first=True, lane=lambda _: 1)
    assert report.counts == {Outcome.NOT_SENT: 1, Outcome.HELD: 1}


# -- trouble at the service -----------------------------------------------------------------------


def test_a_network_that_is_down_ends_the_batch_soon() -> None:
    """The retry budget is spent once, the rest is NOT_SENT unasked."""
    asked = 0

    async def main() -> Counter[Outcome]:
        def handler(request: httpx.Request) -> httpx.Response:
            nonlocal asked
            asked += 1
            raise httpx.ConnectError("down")

        transport = httpx.MockTransport(handler)
        async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0.1) as client:
            report = await client.reprocess_all([f"r{n}" for n in range(3000)])
        return Counter(report.counts)

    assert run(main()) == {Outcome.NOT_SENT: 3000}
    assert asked < 200


# -- many points of sale --------------------------------------------------------------------------


def test_a_hundred_points_of_sale_share_one_client() -> None:
    """Each keeps its own spacing, all share the connections, none starves."""
    starts: dict[str, list[float]] = {}
    most = 0

    async def main() -> float:
        nonlocal most
        in_flight = 0

        async def app(scope: Any, receive: Any, send: Any) -> None:
            nonlocal in_flight, most
            apikey = json.loads((await receive())["body"])["apikey"]
            starts.setdefault(apikey, []).append(asyncio.get_running_loop().time())
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0.05)
            in_flight -= 1
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b'{"error": "N"}'})

        transport = httpx.ASGITransport(app=app)
        async with AsyncClient(
            CREDENTIALS, transport=transport, max_concurrency=20, min_interval=1.0
        ) as client:
            sets = [Credentials(apikey=n, apitoken=f"token-{n}", usertoken="user") for n in range(100)]
            batches = (client.with_credentials(c).reprocess_all([f"r{i}" for i in range(10)]) for c in sets)
            await asyncio.gather(*batches)
        return asyncio.get_running_loop().time()

    ended = run(main(), turn=TURN)
    gaps = [later - earlier for times in starts.values() for earlier, later in pairwise(times)]
    assert (len(starts), most) == (100, 20)
    assert min(gaps) >= 1.0 - 1e-9
    assert max(gaps) < 1.5, "none starves"
    assert ended < 12, "1,000 calls of 50 ms over 20 slots take 2.5 s; the spacing asks for 9"


def test_a_pause_of_one_point_of_sale_holds_up_no_other() -> None:
    """Whoever waits its minute waits in a batch of its own, and holds nothing that the others need."""
    ended: dict[int, float] = {}
    paused = False

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal paused
        await asyncio.sleep(0.05)
        if not paused and json.loads(request.content)["apikey"] == "0":
            paused = True
            return httpx.Response(429, headers={"Retry-After": "60"})
        return httpx.Response(200, json={"error": "N", "errores": []})

    async def main() -> None:
        transport = httpx.MockTransport(answer)
        async with AsyncClient(CREDENTIALS, transport=transport, max_concurrency=10) as client:

            async def one(point: int) -> None:
                mine = Credentials(apikey=str(point), apitoken=f"token-{point}", usertoken="user")
                await client.with_credentials(mine).reprocess_all([f"r{point}-{n}" for n in range(20)])
                ended[point] = asyncio.get_running_loop().time()

            await asyncio.gather(*map(one, range(10)))

    run(main())
    assert ended.pop(0) > 60
    assert max(ended.values()) < 3, "20 starts, 0.1 s apart"


async def test_a_voucher_that_cannot_be_sent_comes_out_by_its_name() -> None:
    """Its reference as it came, and empty where it has none."""
    given = [Voucher(name, VoucherStatus.ERRORED) for name in (None, "n" * 256)]
    async with Sandbox() as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(given)
    assert [result.external_reference for result in report.results] == ["", "n" * 256]
    assert report.counts == {Outcome.REJECTED: 2}


async def test_a_small_batch_has_no_more_tasks_than_it_needs() -> None:
    """Many small ones side by side: each has a sender for each of its references, not for each free slot."""

    async def answer(_: httpx.Request) -> httpx.Response:
        most.append(len(asyncio.all_tasks()))
        await asyncio.sleep(0.01)
        return httpx.Response(200, json={"error": "N", "errores": []})

    most = [0]
    options: dict[str, Any] = {"transport": httpx.MockTransport(answer), "min_interval": 0}
    async with AsyncClient(CREDENTIALS, max_concurrency=50, **options) as client:
        await asyncio.gather(*(client.reprocess_all([f"a{n}", f"b{n}"]) for n in range(40)))
    assert max(most) <= 40 * (2 + 3) + 10, "two senders, and three for the batch itself"
