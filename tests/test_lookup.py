"""What a lookup proves: it is read whole, or it proves nothing; and it speaks of exactly what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.helpers import ended
from tusfacturas_async import (
    AsyncClient,
    Journal,
    NotSentError,
    Outcome,
    RetryPolicy,
    UnexpectedResponseError,
)
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Sandbox, State, StoredVoucher

ERRORED, QUEUED = "ENVIADO A PROCESAR - CON ERROR", "EN COLA, ESPERANDO APROBACION"


def entry(reference: object, status: str = ERRORED) -> dict[str, Any]:
    return {"comprobante": {"external_reference": reference, "status": status}}


def listed(*entries: object, total: object = None) -> dict[str, Any]:
    return {"error": "N", "total": len(entries) if total is None else total, "comprobantes": list(entries)}


def client(
    lookups: Callable[[dict[str, Any]], dict[str, Any]], billed: list[str] | None = None
) -> AsyncClient:
    """A client whose lookups are answered so, and whose re-sends get lost."""

    def handler(request: httpx.Request) -> httpx.Response:
        asked = json.loads(request.content)
        if request.url.path.endswith("consulta_avanzada"):
            return httpx.Response(200, json=lookups(asked))
        (billed if billed is not None else []).append(asked["external_reference"])
        return httpx.Response(524)

    policy = RetryPolicy(attempts=2, backoff=0.001)
    transport = httpx.MockTransport(handler)
    return AsyncClient(SANDBOX_CREDENTIALS, transport=transport, min_interval=0, retry=policy)


async def test_a_list_of_references_is_read_to_its_last_page() -> None:
    """100 references of which 50 have two vouchers are two pages, and no errored one is missed."""
    queue = [StoredVoucher(f"r{n}") for n in range(100)]
    queue += [StoredVoucher(f"r{n}", State.ISSUED, tipo="NOTA") for n in range(50)]
    async with Sandbox(queue) as sandbox, sandbox.client() as c:
        found = await c.lookup(*(f"r{n}" for n in range(100)))
        report = await c.reprocess_all([f"r{n}" for n in range(100)], check_first=True)
    assert len(found) == 150
    assert report.counts == {Outcome.ACCEPTED: 100}


async def test_many_vouchers_of_one_reference_are_read_to_the_last_page() -> None:
    """The one that is errored is the oldest of 230, on the third page."""
    vouchers = [StoredVoucher("r", State.ERRORED if n == 0 else State.ISSUED, total=n) for n in range(230)]  # type: ignore[arg-type]
    async with Sandbox(vouchers) as sandbox, sandbox.client() as c:
        found = await c.lookup("r")
    assert (len(found), found[-1].errored) == (230, True)


UNREADABLE = {
    "null": listed(None),
    "another shape": listed({"voucher": {}}),
    "a text": listed("ref"),
    "a comprobante that is a list": listed({"comprobante": []}),
    "a total above what came": listed(entry("ref"), total=2),
    "a total below what came": listed(entry("ref"), entry("ref"), total=1),
    "a total that is no whole number": listed(entry("ref", "EMITIDO"), total=1.5),
    "a total that is no number": listed(entry("ref"), total="two"),
    "an empty list with a total": listed(total=1),
    "no list": {"error": "N", "total": 0},
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_whole_proves_nothing(answer: dict[str, Any]) -> None:
    """It is an error and never "absent"; at the check nothing is sent; after a lost answer it is UNKNOWN."""
    billed: list[str] = []
    async with client(lambda _: answer, billed) as c:
        with pytest.raises(UnexpectedResponseError, match="cannot be read whole"):
            await c.lookup("ref")
        report = await c.reprocess_all(["ref"], check_first=True)
        assert (report.counts, billed) == ({Outcome.NOT_SENT: 1}, [])
        result = await ended(c, "ref")
    assert (result.outcome, billed) == (Outcome.UNKNOWN, ["ref"])


@pytest.mark.parametrize("stranger", ["PEDIDO-1", "pedido-1 ", " pedido-1", "pedido-10", None, 1])
async def test_only_vouchers_of_exactly_this_reference_count(stranger: object) -> None:
    """An issued ``PEDIDO-1`` settles nothing for ``pedido-1``; alone it means that nobody can tell."""
    billed: list[str] = []
    async with client(lambda _: listed(entry(stranger, "EMITIDO")), billed) as c:
        with pytest.raises(UnexpectedResponseError, match="other references only"):
            await c.lookup("pedido-1")
        checked = await c.reprocess_all(["pedido-1"], check_first=True)
        result = await ended(c, "pedido-1")
    assert checked.counts == {Outcome.NOT_SENT: 1}
    assert (result.outcome, result.voucher, billed) == (Outcome.UNKNOWN, None, ["pedido-1"])


async def test_strangers_beside_ours_are_left_out() -> None:
    """And whom they hide in a list is asked for alone."""
    asked: list[list[str]] = []

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        wanted = body["comprobante"].get("external_reference_list") or [
            body["comprobante"]["external_reference"]
        ]
        asked.append(wanted)
        ours = [entry(reference) for reference in wanted if reference == "a"]
        return listed(*ours, *([entry("B")] if len(wanted) > 1 else []))

    async with client(answer) as c:
        found = await c.lookup("a", "b")
    assert [voucher.external_reference for voucher in found] == ["a"]
    assert asked == [["a", "b"], ["b"]]


async def test_identifiers_are_kept_as_they_came() -> None:
    """``"A-1 "`` is not ``"A-1"``; a number is its text; nothing is no reference."""
    strange = listed(entry("A-1 "), entry(17032), entry(""), entry(None))

    async with client(lambda _: strange) as c:
        found = [voucher async for voucher in c.lookup_numbers("FACTURA A", 1, 1, 9)]
    assert [voucher.external_reference for voucher in found] == ["A-1 ", "17032", None, None]


@pytest.mark.parametrize("status", ["", "EN REVISION", None])
async def test_a_status_that_nobody_documented_is_asked_about_again(
    status: str | None, tmp_path: Path
) -> None:
    """At the check nothing is sent and nothing is final: the next run asks again, and may find it errored."""
    billed: list[str] = []
    shown: list[str | None] = [status]

    def seen(_: object) -> dict[str, Any]:
        return listed({"comprobante": {"external_reference": "ref", "status": shown[0]}})

    async with Journal.open(tmp_path / "journal") as journal, client(seen, billed) as c:
        (first,) = (await c.reprocess_all(["ref"], check_first=True, journal=journal)).results
        shown[0] = QUEUED
        (second,) = (await c.reprocess_all(["ref"], check_first=True, journal=journal)).results
    assert (first.outcome, billed, first.voucher is not None) == (Outcome.NOT_SENT, [], True)
    assert isinstance(first.error, NotSentError)
    assert "not known to be errored" in str(first.error)
    assert (second.outcome, second.settled_by) == (Outcome.SKIPPED, "lookup")


async def test_a_strange_status_stops_no_batch_that_may_not_retry() -> None:
    """It says nothing of whether the service can be reached."""

    def handler(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("consulta_avanzada"):
            return httpx.Response(200, json={"error": "N", "errores": []})
        return httpx.Response(200, json=listed(entry("odd", "EN REVISION"), entry("a")))

    policy = RetryPolicy(budget=0)
    async with AsyncClient(
        SANDBOX_CREDENTIALS, transport=httpx.MockTransport(handler), min_interval=0, retry=policy
    ) as c:
        report = await c.reprocess_all(["odd", "a"], check_first=True)
    assert report.counts == {Outcome.NOT_SENT: 1, Outcome.ACCEPTED: 1}


@pytest.mark.parametrize(
    "written",
    [
        "ENVIADO A PROCESAR \u2013 CON ERROR",
        "ENVIADO A PROCESAR\u2014CON ERROR",
        "enviado\u00a0a\u2003procesar \u2212 con  error.",
        "ENVIADO A\u200b PROCESAR \u2010 CON ERROR",
    ],
)
async def test_dashes_and_spaces_of_any_kind_compare_alike(written: str) -> None:
    """A status is the documented one whatever the service's editor made of it."""
    async with client(lambda _: listed(entry("ref", written))) as c:
        (voucher,) = await c.lookup("ref")
    assert voucher.errored


async def test_what_was_seen_is_told() -> None:
    """An UNKNOWN says what the lookup showed, in its message and as its voucher; and is billed once."""
    billed: list[str] = []
    async with client(lambda _: listed(entry("ref"), entry("ref", "EMITIDO")), billed) as c:
        result = await ended(c, "ref")
    assert (result.outcome, billed, result.billed_calls) == (Outcome.UNKNOWN, ["ref"], 1)
    assert "ENVIADO A PROCESAR - CON ERROR; EMITIDO" in str(result.error)
    assert result.voucher is not None
    assert result.voucher.errored
