"""The decision table (``docs/reference/outcomes.md``), walked: each row is an exchange with a bad server."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import ended
from tests.loopback import Fault, Loopback
from tests.loopback.faults import HTML, LOST, say
from tests.loopback.server import CREDENTIALS, http, ok
from tusfacturas_async import AsyncClient, Outcome, RetryPolicy
from tusfacturas_async.sandbox import Queue

DOCS = Path(__file__).parent.parent / "docs" / "reference" / "outcomes.md"
ERRORED, QUEUED = "ENVIADO A PROCESAR - CON ERROR", "EN COLA, ESPERANDO APROBACION"
MAINTENANCE = {"error": "S", "mantenimiento": 1, "mantenimiento_hasta": "", "errores": ["cerrado"]}
NOT_FOUND = {"error": "S", "errores": ["No se han encontrado comprobantes."]}
REFUSED = {"error": "S", "errores": ["No."]}


def answer(payload: dict[str, Any], status: str = "200 OK") -> Fault:
    return Fault(status, say(http(status, json.dumps(payload).encode(), "Content-Type: application/json")))


def shown(*statuses: str, reference: str = "ref", total: int | None = None) -> Fault:
    found = [{"comprobante": {"external_reference": reference, "status": status}} for status in statuses]
    total = len(found) if total is None else total
    return answer({"error": "N", "errores": [], "total": total, "comprobantes": found})


CAME_BACK = {
    "accepted": answer({"error": "N", "errores": []}),
    "not found": answer(NOT_FOUND),
    "refused": answer(REFUSED),
    "maintenance": answer(MAINTENANCE),
    "400 with an envelope": answer(REFUSED, "400 Bad Request"),
    "400 without one": Fault("400", say(http("400 Bad Request", HTML))),
    "401": Fault("401", say(http("401 Unauthorized", HTML))),
    "404": Fault("404", say(http("404 Not Found", HTML))),
    "429": Fault("429", say(http("429 Too Many Requests", HTML, "Retry-After: 0"))),
    "lost": LOST[0],
}
SHOWN = {
    "queued": shown(QUEUED),
    "issued": shown("EMITIDO"),
    "errored": shown(ERRORED),
    "nothing": shown(),
    "two: errored and issued": shown(ERRORED, "EMITIDO"),
    "two: errored and errored": shown(ERRORED, ERRORED),
    "two: queued and issued": shown(QUEUED, "EMITIDO"),
    "a status that nobody documented": shown("EN REVISION"),
    "other references only": shown(QUEUED, reference="REF"),
    "an entry that is null": Fault("null", say(ok(b'{"error": "N", "total": 1, "comprobantes": [null]}'))),
    "an empty list with a total of 1": shown(total=1),
    "maintenance": answer(MAINTENANCE),
    "lost": LOST[0],
}


def rows() -> list[list[str]]:
    table = DOCS.read_text().partition("<!-- decision table -->\n")[2].partition("\n\n")[0]
    return [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.split("\n")[2:]
    ]


@pytest.mark.parametrize("row", rows(), ids=lambda row: " | ".join(row[:2]))
async def test_each_row_of_the_table_is_what_happens(row: list[str]) -> None:
    """Outcome, who told it, requests that arrived, and free lookups."""
    came_back, what_is_shown, outcome, settled_by, resends, lookups = row
    answers = [] if came_back == "no connection" else [CAME_BACK[name] for name in came_back.split(", then ")]
    seen = [SHOWN[name] for name in what_is_shown.split(", then ") if name]
    policy = RetryPolicy(attempts=2, backoff=0.001, max_retry_after=0.001)
    async with Loopback(Queue(), answers, seen + seen[-1:] * 20) as server:
        url = server.url if answers else f"http://127.0.0.1:{closed_port()}/"
        async with AsyncClient(CREDENTIALS, base_url=url, min_interval=0, retry=policy) as client:
            result = await ended(client)
    told = (result.outcome, result.settled_by or "", len(server.resends), server.lookups)
    assert told == (Outcome[outcome], settled_by, int(resends), int(lookups))
    assert (result.outcome is Outcome.UNKNOWN) == ("look it up before" in str(result.error))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_the_table_has_every_answer_and_every_lookup() -> None:
    """What the code can be told stands in some row, so that the table is the whole decision."""
    came_back = {name for row in rows() for name in row[0].split(", then ")}
    what_is_shown = {name for row in rows() for name in row[1].split(", then ") if name}
    assert came_back == {*CAME_BACK, "no connection"}
    assert what_is_shown == set(SHOWN)
    assert {row[2] for row in rows()} == {
        outcome.name for outcome in Outcome if outcome not in {Outcome.SKIPPED, Outcome.HELD}
    }
