"""The rest of the queue: lookups by date and number, what is errored in order, deletion, change of date."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import Any

import httpx
import pytest

from tests.loopback.server import CREDENTIALS
from tusfacturas_async import (
    AsyncClient,
    CallResult,
    Credentials,
    DateChangeResult,
    DeletionResponse,
    DeletionResult,
    Evidence,
    Outcome,
    OutcomeUnknownError,
    PartialDeletionError,
    RejectedError,
    RetryPolicy,
    TusFacturasError,
    VoucherNotFoundError,
)
from tusfacturas_async.sandbox import Queue, Sandbox, State, StoredVoucher

DAY, NEXT = date(2026, 3, 18), date(2026, 3, 19)
HASTY = RetryPolicy(attempts=3, backoff=0.001)


# -- lookups --------------------------------------------------------------------------------------


async def test_lookup_date_is_lazy_and_pages() -> None:
    """1,200 vouchers are three pages, asked for as they are taken."""
    vouchers = [StoredVoucher(f"r{n}", fecha=DAY) for n in range(1200)] + [StoredVoucher("other", fecha=NEXT)]
    asked: list[int] = []

    async with Sandbox(vouchers) as sandbox:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            asked.append(1)
            await sandbox(scope, receive, send)

        transport = httpx.ASGITransport(app=app)
        async with AsyncClient(sandbox.credentials, transport=transport, min_interval=0) as client:
            pages = client.lookup_date(DAY)
            first = await anext(pages)
            assert (first.external_reference, len(asked)) == ("r1199", 1)
            rest = [voucher.external_reference async for voucher in pages]
    assert rest == [f"r{n}" for n in range(1198, -1, -1)]
    assert (len(asked), sandbox.queue.billed_calls) == (3, 0)


async def test_a_voucher_issued_between_two_pages_shows_nothing_twice() -> None:
    """The list moves down by one: it is read again, and each voucher is told once, the new one last."""
    queue = Queue(StoredVoucher(f"r{n}", fecha=DAY) for n in range(600))
    async with Sandbox() as sandbox:
        sandbox._points[next(iter(sandbox._points))].queue = queue
        async with sandbox.client() as client:
            seen: list[str | None] = []
            async for voucher in client.lookup_date(DAY):
                if not seen:
                    queue.add(StoredVoucher("new", fecha=DAY))
                seen.append(voucher.external_reference)
    assert sorted(Counter(seen).values()) == [1] * 601
    assert seen[-1] == "new"


async def test_a_voucher_that_leaves_between_two_pages_hides_no_other() -> None:
    """The list moves up by one: the voucher that slipped to the page before is told all the same."""
    for whole in (False, True):
        queue = Queue(StoredVoucher(f"r{n}", fecha=DAY) for n in range(700))
        async with Sandbox() as sandbox:
            sandbox._points[next(iter(sandbox._points))].queue = queue
            asked = 0

            async def app(scope: Any, receive: Any, send: Any, queue: Queue = queue) -> None:
                nonlocal asked
                asked += 1
                if asked == 2:
                    queue["r650"].state = State.DELETED
                await sandbox(scope, receive, send)

            transport = httpx.ASGITransport(app=app)
            async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0) as client:
                found = client.errored(DAY) if whole else client.lookup_date(DAY)
                seen = [voucher.external_reference async for voucher in found]
        left = [f"r{n}" for n in range(700) if n != 650]
        assert set(left) <= set(seen)
        assert seen == left if whole else len(seen) == 700


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([{"error": "N", "comprobantes": []}], 0),
        ([{"error": "S", "errores": ["No se han encontrado comprobantes."]}], 0),
        ([{"error": "N", "comprobantes": [{"comprobante": {"external_reference": "a"}}]}], 1),
        (
            [
                {"error": "N", "total": 2, "comprobantes": [{"comprobante": {"external_reference": "a"}}]},
                {"error": "N", "total": 2, "comprobantes": [{"comprobante": {"external_reference": "b"}}]},
            ],
            2,
        ),
    ],
    ids=["empty", "not found", "no total", "shorter pages than asked for"],
)
async def test_the_end_of_the_pages(pages: list[dict[str, Any]], found: int) -> None:
    """By ``total`` where it is told, whatever size the service's pages have."""
    left = list(pages)
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=left.pop(0)))
    async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0) as client:
        assert len([voucher async for voucher in client.lookup_date(DAY)]) == found
    assert left == []


async def test_lookup_numbers() -> None:
    """One type and point of sale, a range of numbers."""
    vouchers = [
        StoredVoucher(f"r{n}", State.ISSUED, numero=n, punto_venta=2, tipo="FACTURA A") for n in range(1, 9)
    ]
    vouchers.append(StoredVoucher("b", State.ISSUED, numero=4, punto_venta=2, tipo="FACTURA B"))
    async with Sandbox(vouchers) as sandbox, sandbox.client() as client:
        found = [v.numero async for v in client.lookup_numbers("FACTURA A", 2, 3, 5)]
        with pytest.raises(ValueError, match="numero_desde"):
            client.lookup_numbers("FACTURA A", 2, 5, 3)
    assert found == [5, 4, 3]


@pytest.mark.parametrize("wrong", ["2026-03-18", datetime(2026, 3, 18, tzinfo=UTC), None, 7])
async def test_dates_are_dates(wrong: Any) -> None:
    """A text is not guessed, and a time would hide whose day is meant; nothing is sent."""
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        with pytest.raises(ValueError, match="fecha must be a"):
            client.lookup_date(wrong)
        with pytest.raises(ValueError, match="since must be a"):
            client.errored(wrong)
        with pytest.raises(ValueError, match="fecha must be"):
            await client.delete("a", wrong)
        with pytest.raises(ValueError, match="vencimiento must be"):
            await client.change_date("a", DAY, wrong)
        with pytest.raises(ValueError, match="vencimiento must not be before fecha"):
            await client.change_date("a", NEXT, DAY)
        with pytest.raises(ValueError, match="until must not be before since"):
            client.errored(NEXT, DAY)
    assert sandbox.queue.billed_calls == 0


# -- the sweep: find, order, re-send --------------------------------------------------------------


async def test_a_sweep_of_three_points_of_sale_and_five_types() -> None:
    """2,000 vouchers in mixed states: the sandbox's own record has each lane in its first order."""
    dice = random.Random(7)
    types = ["FACTURA A", "FACTURA B", "FACTURA C", "NOTA DE CREDITO A", "NOTA DE CREDITO B"]
    states = [State.ERRORED, State.ERRORED, State.ERRORED, State.QUEUED, State.ISSUED]
    start, counts = date(2026, 3, 1), Counter[str]()
    async with Sandbox(latency=0) as sandbox:
        sets = [sandbox.credentials]
        sets += [Credentials(apikey=n, apitoken=f"token-of-{n}", usertoken="user") for n in (2, 3)]
        queues = [sandbox.queue, *(sandbox.add_point_of_sale(each) for each in sets[1:])]
        for number in range(2000):
            day = start + timedelta(days=number * 10 // 2000)
            pdv = dice.randrange(3)
            queues[pdv].add(
                StoredVoucher(
                    f"v{number}", dice.choice(states), tipo=dice.choice(types), punto_venta=pdv + 1, fecha=day
                )
            )
        errored = [
            [v.external_reference for v in queue.vouchers if v.state is State.ERRORED] for queue in queues
        ]
        async with sandbox.client() as client:
            for credentials in sets:
                each = client.with_credentials(credentials)
                found = each.errored(start, start + timedelta(days=9))
                report = await each.reprocess_all(found, lane=attrgetter("lane"))
                counts.update(report.counts)
    for queue, expected in zip(queues, errored, strict=True):
        assert queue.billed_calls == len(expected), "none but errored ones billed"
        for tipo in types:
            lane = [v.external_reference for v in queue.vouchers if v.tipo == tipo]
            resent = [reference for reference in queue.resent if queue[reference].tipo == tipo]
            assert resent == [reference for reference in lane if reference in set(expected)]
    assert counts == {Outcome.ACCEPTED: sum(map(len, errored))}


async def test_errored_vouchers_are_sent_whatever_characters_they_have() -> None:
    """They exist; the rule for new references does not keep them from being re-sent."""
    async with Sandbox([StoredVoucher("pedido 7/ñ", fecha=DAY)]) as sandbox, sandbox.client() as client:
        report = await client.reprocess_all(client.errored(DAY))
    assert report.counts == {Outcome.ACCEPTED: 1}


# -- deletion -------------------------------------------------------------------------------------


async def test_delete() -> None:
    """The voucher is gone; a second deletion finds nothing."""
    async with Sandbox([StoredVoucher("a", fecha=DAY)]) as sandbox, sandbox.client() as client:
        result = await client.delete("a", DAY)
        with pytest.raises(VoucherNotFoundError):
            await client.delete("a", DAY)
        assert await client.lookup("a") == []
    assert (type(result), result.outcome, result.settled_by) == (DeletionResult, Outcome.ACCEPTED, "response")
    assert isinstance(result.response, DeletionResponse)
    assert (result.response.procesados, result.response.procesados_cant) == (("Se elimino FACTURA B a",), 1)
    assert sandbox.queue.billed_calls == 2


async def test_a_partial_deletion_says_what_was_and_was_not_deleted() -> None:
    """Two vouchers with one reference, one of them issued."""
    vouchers = [StoredVoucher("a", fecha=DAY), StoredVoucher("a", State.ISSUED, numero=5, fecha=DAY)]
    async with Sandbox(vouchers) as sandbox, sandbox.client() as client:
        with pytest.raises(PartialDeletionError) as raised:
            await client.delete("a", DAY)
    assert raised.value.procesados == ("Se elimino FACTURA B a",)
    assert raised.value.errores == ("El comprobante FACTURA B 5 ya fue emitido.",)
    assert len(raised.value.attempts) == 1


# -- change of date -------------------------------------------------------------------------------


async def test_change_date() -> None:
    """The voucher has its new date and is in the queue again."""
    async with Sandbox([StoredVoucher("a", fecha=DAY)]) as sandbox, sandbox.client() as client:
        result = await client.change_date("a", NEXT, NEXT)
    assert (type(result), result.outcome) == (DateChangeResult, Outcome.ACCEPTED)
    assert (sandbox.queue["a"].fecha, sandbox.queue["a"].state) == (NEXT, State.QUEUED)


# -- as truthful as a re-send ---------------------------------------------------------------------


async def ask(client: AsyncClient, what: str) -> CallResult:
    return await (client.delete("a", DAY) if what == "delete" else client.change_date("a", NEXT, NEXT))


@pytest.mark.parametrize("what", ["delete", "change_date"])
async def test_a_lost_answer_is_settled_by_lookup(what: str) -> None:
    """The work is done, its answer lost: one billed call."""
    async with Sandbox([StoredVoucher("a", fecha=DAY)]) as sandbox, sandbox.client(retry=HASTY) as client:
        sandbox.lose_answer("a")
        result = await ask(client, what)
    assert (result.outcome, result.settled_by, result.billed_calls) == (Outcome.ACCEPTED, "lookup", 1)
    assert [attempt.evidence for attempt in result.attempts] == [Evidence.MAYBE_SENT]
    assert sandbox.queue.billed_calls == 1


def dropping_the_first(sandbox: Sandbox) -> AsyncClient:
    """A client whose first billed request is lost on its way."""
    drops = [1]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if drops and not scope["path"].endswith("consulta_avanzada"):
            drops.pop()
            raise httpx.ReadError("dropped")
        await sandbox(scope, receive, send)

    return sandbox.client(transport=httpx.ASGITransport(app=app), retry=HASTY)


@pytest.mark.parametrize("what", ["delete", "change_date"])
async def test_a_request_that_was_lost_before_the_work_is_made_again(what: str) -> None:
    """The lookup shows it undone."""
    async with Sandbox([StoredVoucher("a", fecha=DAY)]) as sandbox:
        async with dropping_the_first(sandbox) as client:
            result = await ask(client, what)
    assert (result.outcome, len(result.attempts), sandbox.queue.billed_calls) == (Outcome.ACCEPTED, 2, 1)


async def test_an_errored_voucher_with_the_same_date_is_not_done() -> None:
    """Only ``vencimiento`` was to change, which no lookup shows: it is made again, as it is errored."""
    async with Sandbox([StoredVoucher("a", fecha=NEXT)]) as sandbox:
        async with dropping_the_first(sandbox) as client:
            result = await client.change_date("a", NEXT, NEXT)
    assert (result.settled_by, len(result.attempts)) == ("response", 2)
    assert sandbox.queue["a"].state is State.QUEUED


@pytest.mark.parametrize(
    ("what", "found", "error"),
    [
        ("delete", [StoredVoucher("a", State.ISSUED, fecha=DAY)], OutcomeUnknownError),
        ("delete", [StoredVoucher("a", fecha=DAY)], RejectedError),
        ("change_date", [StoredVoucher("a", State.QUEUED, fecha=DAY)], OutcomeUnknownError),
        ("change_date", [StoredVoucher("a", fecha=DAY)], RejectedError),
        ("change_date", [], VoucherNotFoundError),
    ],
)
async def test_a_refusal_after_a_lost_answer_goes_through_the_lookup(
    what: str, found: list[StoredVoucher], error: type[TusFacturasError]
) -> None:
    """It is believed where the lookup shows the request undone; else nobody knows."""
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("consulta_avanzada"):
            return httpx.Response(200, json={"error": "N", "comprobantes": [v.as_wire() for v in found]})
        asked.append(request.url.path)
        if len(asked) == 1:
            return httpx.Response(524)
        return httpx.Response(200, json={"error": "S", "errores": ["no"]})

    transport = httpx.MockTransport(handler)
    async with AsyncClient(CREDENTIALS, transport=transport, min_interval=0, retry=HASTY) as client:
        with pytest.raises(error):
            await ask(client, what)
