"""The sandbox by itself: its state machine, its HTTP face, its webhooks. And one contract for two servers."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest
from attrs import fields

from tests.loopback import Loopback
from tests.virtual import run
from tusfacturas_async import (
    AsyncClient,
    Credentials,
    ErrorWebhook,
    Outcome,
    RateLimitError,
    RetryPolicy,
    VoucherNotFoundError,
    WebhookEvent,
    WebhookReceiver,
    parse_webhook,
)
from tusfacturas_async.sandbox import (
    REDELIVERIES,
    SANDBOX_CREDENTIALS,
    WEBHOOK_TOKEN,
    Call,
    Delivered,
    LoopbackServer,
    Queue,
    Sandbox,
    State,
    StoredVoucher,
    Switches,
)
from tusfacturas_async.sandbox.queue import ZONE
from tusfacturas_async.sandbox.switches import HookId, SwitchOptions

SECRETS = {"apikey": "1134", "apitoken": "sandbox-apitoken", "usertoken": "sandbox-usertoken"}


# -- one contract, two servers --------------------------------------------------------------------


@pytest.fixture(params=["sandbox in process", "sandbox on loopback", "raw loopback server"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[tuple[AsyncClient, Queue]]:
    vouchers: list[str | StoredVoucher] = [
        "errored",
        StoredVoucher("queued", State.QUEUED),
        StoredVoucher("issued", State.ISSUED),
    ]
    if request.param == "raw loopback server":
        async with Loopback(Queue(vouchers)) as server:
            async with AsyncClient(SANDBOX_CREDENTIALS, base_url=server.url, min_interval=0) as client:
                yield client, server.queue
        return
    async with Sandbox(vouchers) as sandbox:
        if request.param == "sandbox in process":
            async with sandbox.client() as client:
                yield client, sandbox.queue
        else:
            async with sandbox.serve() as url:
                async with AsyncClient(SANDBOX_CREDENTIALS, base_url=url, min_interval=0) as client:
                    yield client, sandbox.queue


async def test_contract(service: tuple[AsyncClient, Queue]) -> None:
    """What re-sending each state answers, what it costs, and what the lookup shows."""
    client, queue = service
    report = await client.reprocess_all(["errored", "queued", "issued", "deleted", "errored"])
    outcomes = sorted((result.external_reference, str(result.outcome)) for result in report.results)
    assert outcomes == [
        ("deleted", "not_found"),
        ("errored", "accepted"),
        ("errored", "accepted"),
        ("issued", "not_found"),
        ("queued", "not_found"),
    ]
    assert (queue.billed_calls, queue.resent) == (4, ["errored"])
    found = await client.lookup("issued", "errored", "queued", "nobody")
    assert [voucher.external_reference for voucher in found] == ["issued", "queued", "errored"], (
        "newest first"
    )
    assert all(voucher.accepted for voucher in found)
    assert queue.billed_calls == 4, "a lookup is free"
    with pytest.raises(VoucherNotFoundError):
        await client.reprocess("errored")


# -- the state machine ----------------------------------------------------------------------------


def test_states_of_a_voucher() -> None:
    """Errored, queued, errored again, queued, issued; only an errored one is re-sent."""
    queue = Queue(["a"])
    assert queue.reprocess("a")["error"] == "N"
    queue.fail("a", ["Cod. Error: 10036"])
    assert queue.reprocess("a")["error"] == "N"
    queue.issue("a")
    assert queue.reprocess("a")["error"] == "S"
    assert (queue["a"].state, queue["a"].numero, queue.billed_calls) == (State.ISSUED, 1, 3)
    assert [event.evento for event in queue.take_events()] == ["encolado", "error", "encolado", "emitido"]
    with pytest.raises(ValueError, match="not queued"):
        queue.issue("a")


def test_the_first_of_two_with_one_reference_is_taken() -> None:
    """As the vendor says."""
    queue = Queue([StoredVoucher("a", tipo="FACTURA A"), StoredVoucher("a", tipo="FACTURA B")])
    queue.reprocess("a")
    assert [voucher.state for voucher in queue.vouchers] == [State.QUEUED, State.ERRORED]


def test_forbidden_characters_are_answered_with_their_code() -> None:
    """Unless such a voucher exists already."""
    queue = Queue(["pedido 7"])
    assert queue.reprocess("pedido 8")["error_details"][0]["code"] == "TFC-8002"
    assert queue.reprocess("pedido 7")["error"] == "N"


# -- HTTP -----------------------------------------------------------------------------------------


async def post(
    sandbox: Sandbox, call: str, body: dict[str, Any] | bytes, method: str = "POST"
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(SECRETS | body).encode()
    async with httpx.AsyncClient(transport=sandbox.transport(), base_url="http://localhost/app/api") as raw:
        return await raw.request(method, f"/v2/facturacion/{call}", content=content)


async def test_http_refusals() -> None:
    """Wrong path, wrong method, no JSON, wrong credentials."""
    async with Sandbox(["a"]) as sandbox:
        assert (await post(sandbox, "nothing_here", {})).status_code == 404
        assert (await post(sandbox, "reenviar_encolado", {}, "GET")).status_code == 405
        assert (await post(sandbox, "reenviar_encolado", b"{")).status_code == 400
        assert (await post(sandbox, "reenviar_encolado", {"apikey": "9"})).status_code == 401
        assert (await post(sandbox, "reenviar_encolado", {"apikey": 1134})).status_code == 200
        assert sandbox.queue.billed_calls == 1


async def test_lookup_by_date_is_paged() -> None:
    """``total`` counts without paging; the newest comes first."""
    day = date(2026, 3, 1)
    vouchers = [StoredVoucher(f"r{n}", fecha=day) for n in range(5)]
    vouchers += [StoredVoucher("gone", State.DELETED, fecha=day), StoredVoucher("other day")]
    async with Sandbox(vouchers) as sandbox:
        pages = []
        for page in range(3):
            body = {"busqueda_tipo": "F", "pagina": page, "limite": 2, "comprobante": {"fecha": "01/03/2026"}}
            answer = (await post(sandbox, "consulta_avanzada", body)).json()
            assert answer["total"] == 5
            pages.append([entry["comprobante"]["external_reference"] for entry in answer["comprobantes"]])
        unknown = (await post(sandbox, "consulta_avanzada", {"busqueda_tipo": "?"})).json()
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    assert unknown["error"] == "S"


async def test_paging_is_exact() -> None:
    """Whatever the page's size, all pages together are the list; a page beyond the end is empty."""
    references = [f"r{n}" for n in range(7)]
    async with Sandbox(references) as sandbox:
        for size in range(1, 10):
            body = {
                "busqueda_tipo": "EXT_REF_LIST",
                "limite": size,
                "comprobante": {"external_reference_list": references},
            }
            pages = [
                (await post(sandbox, "consulta_avanzada", {**body, "pagina": page})).json()
                for page in range(9)
            ]
            assert {page["total"] for page in pages} == {7}
            assert all(len(page["comprobantes"]) <= size for page in pages)
            listed = [
                entry["comprobante"]["external_reference"] for p in pages for entry in p["comprobantes"]
            ]
            assert listed == references[::-1]


@pytest.mark.parametrize(
    "body",
    [
        {"limite": 0},
        {"limite": "many"},
        {"pagina": -1},
        {"pagina": None},
        {"comprobante": "a"},
        {"comprobante": {"external_reference_list": "a"}},
        {"comprobante": {"external_reference_list": [7]}},
        {"comprobante": {"external_reference_list": ["a"] * 101}},
        {"busqueda_tipo": "F", "comprobante": {"fecha": "2026-03-01"}},
        {"busqueda_tipo": "F", "comprobante": {}},
        {"busqueda_tipo": "TN", "comprobante": {"tipo": "FACTURA A"}},
    ],
    ids=str,
)
async def test_what_the_lookup_does_not_understand_is_400(body: dict[str, Any]) -> None:
    """And nothing found is not the answer to it."""
    asked = {"busqueda_tipo": "EXT_REF_LIST", "comprobante": {"external_reference_list": ["a"]}, **body}
    async with Sandbox(["a"]) as sandbox:
        assert (await post(sandbox, "consulta_avanzada", asked)).status_code == 400
        for wrong in (b"[]", b"7", b"[" * 100_000):
            assert (await post(sandbox, "consulta_avanzada", wrong)).status_code == 400


# -- what nobody documents ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            "No se han encontrado comprobantes.",
            {"error": "S", "errores": ["No se han encontrado comprobantes."]},
        ),
        (None, {"error": "N", "errores": []}),
        ("El comprobante ya fue procesado.", {"error": "S", "errores": ["El comprobante ya fue procesado."]}),
    ],
)
async def test_what_a_resend_of_a_queued_or_issued_voucher_answers(
    answer: str | None, told: dict[str, Any]
) -> None:
    """Not found, N, or another text; each is billed, and none changes the voucher."""
    vouchers = [
        StoredVoucher("q", State.QUEUED),
        StoredVoucher("s", State.SCHEDULED),
        StoredVoucher("i", State.ISSUED),
    ]
    async with Sandbox(vouchers, resend_queued=answer, resend_issued=answer) as sandbox:
        for reference in "qsi":
            body = {"external_reference": reference}
            assert (await post(sandbox, "reenviar_encolado", body)).json() == told
        states = [voucher.state for voucher in vouchers]
        assert (states, sandbox.queue.resent, sandbox.queue.billed_calls) == (
            [State.QUEUED, State.SCHEDULED, State.ISSUED],
            [],
            3,
        )


def test_a_lookup_may_lag() -> None:
    """It shows what was so long ago: by the sandbox's own changes, and by those of a test."""

    async def main() -> list[list[str]]:
        shown = []
        async with Sandbox(["a", "b"], lookup_lag=20, time_scale=10) as sandbox, sandbox.client() as client:

            async def look() -> None:
                shown.append([str(v.status) for v in await client.lookup("a", "b")])

            await client.reprocess("a")
            await look()
            await asyncio.sleep(1.9)
            await look()
            await asyncio.sleep(0.2)
            await look()
            sandbox.queue.issue("a")
            await look()
            await asyncio.sleep(2.1)
            await look()
            sandbox.switches.lookup_lag = 0
            await client.reprocess("b")
            await look()
        return shown

    errored, queued, issued = str(State.ERRORED), str(State.QUEUED), str(State.ISSUED)
    assert run(main()) == [
        [errored, errored],
        [errored, errored],
        [errored, queued],
        [errored, queued],
        [errored, issued],
        [queued, issued],
    ]


async def test_a_lookup_may_misbehave() -> None:
    """A test puts what it likes in the place of the true answer: foreign entries, a page of HTML."""
    stranger = StoredVoucher("stranger").as_wire()

    def foreign(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "total": answer["total"] + 1, "comprobantes": [*answer["comprobantes"], stranger]}

    body = {"busqueda_tipo": "EXT_REF", "comprobante": {"external_reference": "a"}}
    async with Sandbox(["a"], lookup_answer=foreign) as sandbox:
        answer = (await post(sandbox, "consulta_avanzada", body)).json()
        assert (answer["total"], len(answer["comprobantes"]), answer["comprobantes"][1]) == (2, 2, stranger)
        sandbox.switches.lookup_answer = lambda _: "<html>"
        assert (await post(sandbox, "consulta_avanzada", body)).text == "<html>"


async def test_maintenance_and_its_lookups() -> None:
    """It ends at the time that was told, or outlasts it; lookups may answer meanwhile; they are free."""
    look = {"busqueda_tipo": "EXT_REF", "comprobante": {"external_reference": "a"}}
    past = datetime.now(UTC) - timedelta(minutes=1)

    async def answers(sandbox: Sandbox) -> list[str]:
        told = [
            (await post(sandbox, call, {**look, "external_reference": "nobody"})).json()
            for call in ("reenviar_encolado", "consulta_avanzada")
        ]
        return [
            answer.get("mantenimiento_hasta", "untold") if "mantenimiento" in answer else ""
            for answer in told
        ]

    async with Sandbox(["a"], maintenance_until=past) as sandbox:
        assert await answers(sandbox) == ["", ""]
        sandbox.switches.maintenance = True
        assert await answers(sandbox) == [f"{past.astimezone(ZONE):%d/%m/%Y %H:%M}"] * 2
        sandbox.switches.lookup_in_maintenance = True
        sandbox.maintenance_until = None
        assert await answers(sandbox) == ["untold", ""]
        assert sandbox.queue.billed_calls == 3


@pytest.mark.parametrize("seconds", [None, 7])
async def test_a_429_may_name_a_time(seconds: int | None) -> None:
    """Or not: nobody promises a ``Retry-After``."""
    async with Sandbox(["a"], rate_limit=1, retry_after=seconds) as sandbox:
        answers = [await post(sandbox, "reenviar_encolado", {"external_reference": "a"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].headers.get("retry-after") == (None if seconds is None else "7")


async def test_a_share_is_lost_by_seed() -> None:
    """Before the work or after it, the same calls again for the same seed, in whatever order they come."""
    references = [f"r{n}" for n in range(200)]

    async def lost(seed: int, order: list[str]) -> tuple[dict[str, str], Sandbox]:
        async with Sandbox(
            references, lose_before=0.2, lose_after=0.3, lose_lookups=0.5, seed=seed
        ) as sandbox:
            for reference in order:
                answer = await post(sandbox, "reenviar_encolado", {"external_reference": reference})
                assert (answer.status_code == 524) == bool(sandbox.calls[-1].lost)
            return {call.references[0]: call.lost for call in sandbox.calls}, sandbox

    first, sandbox = await lost(1, references)
    again, _ = await lost(1, references[::-1])
    other, _ = await lost(2, references)
    shares = Counter(first.values())
    assert first == again != other
    assert (20 < shares["before"] < 60, 30 < shares["after"] < 90) == (True, True)
    assert sandbox.queue.billed_calls == 200 - shares["before"], "what did not arrive is not billed"
    assert set(sandbox.queue.resent) == {
        reference for reference in references if first[reference] != "before"
    }
    look = {"busqueda_tipo": "EXT_REF", "comprobante": {"external_reference": "r1"}}
    statuses = {(await post(sandbox, "consulta_avanzada", look)).status_code for _ in range(30)}
    assert statuses == {200, 524}, "each try has its own lot"


@pytest.mark.parametrize("way", ["in process", "on loopback"])
async def test_answers_tell_the_services_clock(way: str) -> None:
    """By one ``Date`` header, which may be ahead, or missing."""
    async with Sandbox(["a"], clock_ahead=3600) as sandbox, sandbox.serve() as url:
        transport = sandbox.transport() if way == "in process" else None
        async with httpx.AsyncClient(transport=transport, base_url=url) as raw:
            told = (await raw.post("v2/facturacion/reenviar_encolado", content=b"{}")).headers.get_list(
                "date"
            )
            sandbox.switches.date = False
            untold = (await raw.post("v2/facturacion/reenviar_encolado", content=b"{}")).headers.get_list(
                "date"
            )
    (date_header,) = told
    ahead = parsedate_to_datetime(date_header) - datetime.now(UTC)
    assert timedelta(minutes=59) < ahead <= timedelta(hours=1)
    assert untold == []


@pytest.mark.parametrize(
    ("hook_id", "same_event", "same_url"),
    [("event", True, False), ("delivery", False, False), ("url", True, True), ("none", True, True)],
)
async def test_what_a_redelivery_keeps(hook_id: HookId, same_event: bool, same_url: bool) -> None:
    """``creado`` always; ``hook_id`` as the switch says; ``intento`` may count."""
    receiver = Receiver(500, 500, 200)
    async with (
        Sandbox(
            ["a", "b"], webhook=receiver, time_scale=1e6, hook_id=hook_id, intento_counts=True
        ) as sandbox,
        sandbox.client() as client,
    ):
        await client.reprocess("a")
        await sandbox.drain()
        await client.reprocess("b")
        await sandbox.drain()
    first, *_, third, other = map(json.loads, receiver.bodies)
    assert (first["creado"], first["intento"], third["intento"]) == (third["creado"], 1, 3)
    assert (first.get("hook_id") == third.get("hook_id"), first.get("hook_id") == other.get("hook_id")) == (
        same_event,
        same_url,
    )
    assert ("hook_id" in first) == (hook_id != "none")


async def test_what_happens_can_be_watched() -> None:
    """Each call with what it was billed, each delivery with what it was answered."""
    seen: list[Call | Delivered] = []
    async with Sandbox(["a"], webhook=Receiver(200)) as sandbox, sandbox.client() as client:
        unsubscribe = sandbox.subscribe(seen.append)
        sandbox.lose_answer("a")
        await client.reprocess("a")
        await sandbox.drain()
        unsubscribe()
        await client.lookup("a")
    told = [(one.name, one.status, one.billed, one.lost) for one in seen if isinstance(one, Call)]
    assert told == [("reenviar_encolado", 524, 1, "after"), ("consulta_avanzada", 200, 0, "")]
    assert [one.status for one in seen if isinstance(one, Delivered)] == [200]
    assert [call.name for call in sandbox.calls] == [*(name for name, *_ in told), "consulta_avanzada"]


async def test_what_a_test_does_to_the_queue_is_told_by_webhook() -> None:
    """``queue.issue`` needs no further call before its event is delivered."""
    receiver = Receiver(200)
    async with Sandbox([StoredVoucher("a", State.QUEUED)], webhook=receiver) as sandbox:
        sandbox.queue.issue("a")
        await sandbox.drain()
    assert [json.loads(body)["evento"] for body in receiver.bodies] == ["emitido"]


def test_above_the_rate_it_answers_429() -> None:
    """Five in any second pass; spacing by the client keeps below it."""

    async def main() -> tuple[int, int]:
        references = [f"r{n}" for n in range(20)]
        once = RetryPolicy(attempts=1)
        async with Sandbox(references, rate_limit=5) as sandbox:
            async with sandbox.client(retry=once) as hasty:
                results = await asyncio.gather(
                    *(hasty.reprocess(r) for r in references[:10]), return_exceptions=True
                )
            await asyncio.sleep(2)
            async with sandbox.client(retry=once, min_interval=0.2001) as patient:
                report = await patient.reprocess_all(references[10:])
        limited = sum(isinstance(result, RateLimitError) for result in results)
        return limited, report.counts[Outcome.ACCEPTED]

    assert run(main()) == (5, 10)


# -- webhooks -------------------------------------------------------------------------------------


class Receiver:
    """An ASGI app that answers with the given statuses, the last one for ever."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.bodies: list[bytes] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.times: list[float] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        self.bodies.append(message["body"])
        self.headers.append(dict(scope["headers"]))
        self.times.append(asyncio.get_running_loop().time())
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})


def test_a_resend_is_told_and_later_its_end() -> None:
    """``encolado`` at once, then ``emitido``, or ``error`` with ARCA's reasons."""
    receiver = Receiver(200)

    async def main() -> None:
        def refuse(voucher: StoredVoucher) -> list[str]:
            return ["Cod. Error: 10036"] if voucher.external_reference == "bad" else []

        async with Sandbox(["good", "bad"], webhook=receiver, process_after=60, refuse=refuse) as sandbox:
            async with sandbox.client() as client:
                await client.reprocess_all(["good", "bad"])
            await sandbox.drain()

    run(main())
    events = [json.loads(body) for body in receiver.bodies]
    assert sorted((e["external_reference"], e["evento"], e["msg"]) for e in events) == [
        ("bad", "encolado", []),
        ("bad", "error", ["Cod. Error: 10036"]),
        ("good", "emitido", []),
        ("good", "encolado", []),
    ]
    assert {headers[b"tf-webhooktoken"] for headers in receiver.headers} == {WEBHOOK_TOKEN.encode()}
    assert {headers[b"user-agent"] for headers in receiver.headers} == {b"TusFacturasAPP-webhook/1.0"}
    assert rb"\/" in receiver.bodies[0]
    assert parse_webhook(receiver.bodies[0]).created_at is not None


@pytest.mark.parametrize("scale", [1.0, 3600.0])
def test_redelivery_follows_the_vendors_table(scale: float) -> None:
    """Five redeliveries, then silence; after 24 hours of failures the URL is ignored for good."""
    receiver = Receiver(500)

    async def main() -> None:
        async with (
            Sandbox(["a", "b", "c"], webhook=receiver, time_scale=scale) as sandbox,
            sandbox.client() as client,
        ):
            await client.reprocess("a")
            await sandbox.drain()
            assert len(receiver.times) == 6
            await asyncio.sleep(3 * 3600 / scale)
            await client.reprocess("b")
            await sandbox.drain()
            await client.reprocess("c")
            await sandbox.drain()

    run(main())
    waits = [
        (later - earlier) * scale for earlier, later in zip(receiver.times, receiver.times[1:], strict=False)
    ]
    assert waits[:5] == pytest.approx(REDELIVERIES)
    assert len(receiver.times) == 7, "the 24 hours passed with the first failure of b; c was not tried"


async def test_only_200_counts_as_received() -> None:
    """A 204 is delivered again, over a real socket."""
    receiver = Receiver(204, 200)
    async with (
        LoopbackServer(receiver) as url,
        Sandbox(["a"], webhook=url + "hook?x=1", time_scale=1e6) as sandbox,
    ):
        async with sandbox.client() as client:
            await client.reprocess("a")
        await sandbox.drain()
    assert len(receiver.bodies) == 2


async def test_a_receiver_that_is_down_is_tried_again() -> None:
    """No answer is no receipt."""
    async with (
        Sandbox(["a"], webhook="http://127.0.0.1:9/", time_scale=1e9) as sandbox,
        sandbox.client() as client,
    ):
        await client.reprocess("a")
        await sandbox.drain()


async def test_draining_ends_when_everything_has_ended() -> None:
    """Waiting for deliveries that are over gives way to the loop, so that they can leave (Python 3.12)."""
    async with asyncio.timeout(10):
        async with Sandbox(["a"], webhook=Receiver(200), process_after=0) as sandbox:
            async with sandbox.client() as client:
                await client.reprocess("a")
            while not all(task.done() for task in sandbox.at_work()):
                await asyncio.sleep(0)
            await sandbox.drain()
            await sandbox.drain()


async def test_draining_waits_for_what_a_webhook_starts() -> None:
    """A backend that re-sends on ``error`` is followed to the end."""
    tries = itertools.count()

    async def on_event(event: WebhookEvent) -> None:
        if isinstance(event, ErrorWebhook):
            await client.reprocess(event.external_reference)

    receiver = WebhookReceiver(on_event, tokens=WEBHOOK_TOKEN)
    async with (
        Sandbox(
            ["a"], webhook=receiver, process_after=0, refuse=lambda _: ["again"] if next(tries) < 3 else []
        ) as sandbox,
        sandbox.client() as client,
    ):
        await client.reprocess("a")
        await sandbox.drain()
    assert sandbox.queue["a"].state is State.ISSUED


async def test_a_receiver_that_cancels_itself_has_not_answered() -> None:
    """Its delivery comes again, as after any failure."""
    calls = itertools.count()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if next(calls) == 0:
            raise asyncio.CancelledError
        await Receiver(200)(scope, receive, send)

    async with Sandbox(["a"], webhook=app, time_scale=1e6) as sandbox, sandbox.client() as client:
        await client.reprocess("a")
        await sandbox.drain()
        (sender,) = sandbox._senders()
    assert [delivered.status for delivered in sender.log] == [None, 200]


async def test_what_refuse_raises_is_told() -> None:
    """By ``drain``: in a task of the sandbox nobody would see it."""

    def refuse(voucher: StoredVoucher) -> list[str]:
        raise LookupError(voucher.external_reference)

    async with Sandbox(["a"], process_after=0, refuse=refuse) as sandbox, sandbox.client() as client:
        await client.reprocess("a")
        with pytest.raises(LookupError, match="a"):
            await sandbox.drain()


async def test_what_refuse_raises_is_told_in_the_end() -> None:
    """Also to a test that does not drain; but a failure of its own comes first."""

    async def main(failure: Exception | None) -> None:
        async with Sandbox(["a"], process_after=0, refuse=lambda _: 1 / 0) as sandbox:  # type: ignore[arg-type, return-value]
            async with sandbox.client() as client:
                await client.reprocess("a")
            while sandbox.at_work():
                await asyncio.sleep(0)
            if failure is not None:
                raise failure

    with pytest.raises(ZeroDivisionError):
        await main(None)
    with pytest.raises(LookupError):
        await main(LookupError("the test's own"))


async def test_one_reason_may_be_a_text() -> None:
    """Its letters are not reasons."""
    receiver = Receiver(200)
    async with (
        Sandbox(["a"], webhook=receiver, process_after=0, refuse=lambda _: "Cod. Error: 10036") as sandbox,
        sandbox.client() as client,
    ):
        await client.reprocess("a")
        await sandbox.drain()
    assert ["Cod. Error: 10036"] in [json.loads(body)["msg"] for body in receiver.bodies]


async def _async_refuse(voucher: StoredVoucher) -> list[str]:
    return []


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        ({"refuse": {"a": ["why"]}}, TypeError, "refuse"),
        ({"refuse": None}, TypeError, "refuse"),
        ({"refuse": _async_refuse}, TypeError, "refuse"),
        ({"vouchers": "pedido-1001"}, TypeError, "vouchers"),
        ({"vouchers": [7]}, TypeError, "voucher"),
        ({"credentials": ("1", "2", "3")}, TypeError, "credentials"),
        ({"webhook": 8400}, TypeError, "webhook"),
        ({"webhook": "hook"}, ValueError, "URL"),
        ({"webhook": "http://127.0.0.1/", "webhook_token": None}, TypeError, "webhook_token"),
        ({"rate_limit": 0}, ValueError, "rate_limit"),
        ({"rate_limit": 2.5}, TypeError, "rate_limit"),
        ({"rate_limit": True}, TypeError, "rate_limit"),
        ({"latency": -1}, ValueError, "latency"),
        ({"latency": "slow"}, TypeError, "latency"),
        ({"process_after": -1}, ValueError, "process_after"),
        ({"time_scale": 0}, ValueError, "time_scale"),
        ({"time_scale": "fast"}, TypeError, "time_scale"),
        ({"lose_before": 2}, ValueError, "lose_before"),
        ({"lookup_answer": {}}, TypeError, "lookup_answer"),
        ({"hook_id": "constant"}, ValueError, "hook_id"),
        ({"resend_queued": 7}, TypeError, "resend_queued"),
        ({"maintenance": "yes"}, TypeError, "maintenance"),
        ({"nonsense": 1}, TypeError, "nonsense"),
    ],
)
def test_a_wrong_argument_is_told_where_it_is_given(
    arguments: Any, error: type[Exception], named: str
) -> None:
    """At once and by name, not by a failure somewhere in a test of the user's."""
    with pytest.raises(error, match=named):
        Sandbox(**arguments)


def test_a_switch_is_checked_when_it_is_turned() -> None:
    """As when it is given."""
    sandbox = Sandbox()
    with pytest.raises(ValueError, match="latency"):
        sandbox.switches.latency = -1
    with pytest.raises(TypeError, match="aware"):
        sandbox.maintenance_until = datetime(2026, 3, 18)  # noqa: DTZ001
    with pytest.raises(ValueError, match="already"):
        sandbox.add_point_of_sale(SANDBOX_CREDENTIALS)
    assert set(SwitchOptions.__annotations__) == {field.name for field in fields(Switches)}


async def test_points_of_sale_are_apart() -> None:
    """Each set of credentials sees its own queue."""
    other = Credentials(apikey="2", apitoken="other-token", usertoken="other-user")
    async with Sandbox(["a"]) as sandbox, sandbox.client() as client:
        queue = sandbox.add_point_of_sale(other, ["a", "b"])
        second = client.with_credentials(other)
        await second.reprocess("b")
        assert [v.external_reference for v in await client.lookup("a", "b")] == ["a"]
    assert (sandbox.queue.billed_calls, queue.billed_calls) == (0, 1)


async def test_leaving_the_sandbox_stops_its_work() -> None:
    """Nothing is left of processing and deliveries."""
    before = asyncio.all_tasks()
    async with Sandbox(["a"], webhook="http://127.0.0.1:9/", process_after=3600) as sandbox:
        async with sandbox.client() as client:
            await client.reprocess("a")
    assert asyncio.all_tasks() == before


async def test_a_caller_that_leaves_in_the_middle_of_its_body() -> None:
    """Half a request is none, whatever half came: nothing is billed, and the sandbox goes on."""
    payload = json.dumps({**SECRETS, "external_reference": "a"}).encode()
    messages = [{"type": "http.request", "body": payload, "more_body": True}, {"type": "http.disconnect"}]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    async with Sandbox(["a"]) as sandbox:
        await sandbox({"method": "POST", "path": "/v2/facturacion/reenviar_encolado"}, receive, send)
        assert (sent[0]["status"], sandbox.queue.billed_calls) == (400, 0)
        async with sandbox.client() as client:
            assert (await client.reprocess("a")).outcome is Outcome.ACCEPTED
