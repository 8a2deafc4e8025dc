"""The sandbox by itself: its state machine, its HTTP face, its webhooks. And one contract for two servers."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from datetime import date, datetime
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
    LoopbackServer,
    Queue,
    Sandbox,
    State,
    StoredVoucher,
    Switches,
)
from tusfacturas_async.sandbox.switches import SwitchOptions

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
            while not all(task.done() for task in sandbox._under_way()):
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
    with pytest.raises(ValueError, match="aware"):
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
