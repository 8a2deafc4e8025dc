"""A long hypothesis run of hostile deliveries: ``python -m tests.fuzz.webhooks [inputs]``.

Each input is a valid delivery with damaged spots, JSON that nobody expects, or noise; what comes out must be
an event that can be kept and read again, or a ``WebhookError``. Prints what came out, the inputs tried and
the escapes.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tusfacturas_async import WebhookError, WebhookEvent, receive_webhook, sign_webhook
from tusfacturas_async.webhooks.events import read_event
from tusfacturas_async.webhooks.keeping import Kept

TOKEN = "fuzz"
EVENTS = ("encolado", "emitido", "error", "eliminado", "cambio_fecha", "test", "anulado")
PIECES = (
    *(b"null", b"true", b"[]", b"{}", b"1e999", b"-0", b"NaN", b'"\\ud800"', b'"', b"\\", b"\xff", b"\x00"),
    *(b"\xef\xbb\xbf", b"[" * 2000, b"9" * 5000, b'"evento":', b'"external_reference":7,', b"18/03/2022"),
    *(b"31/12/9999 23:59:59", b"01/01/0001 00:00", b"-Infinity", b'"x":' + b"[" * 1000 + b"]" * 1000 + b","),
    *(b'"x":' + b'{"a":' * 30 + b"1" + b"}" * 30 + b",", b'"\udfff"', b"1" * 4000, b'"creado":null,'),
)

signed = st.builds(
    lambda evento, reference: (
        sign_webhook(TOKEN, evento=evento, external_reference=reference, msg=["x"]).body
    ),
    st.sampled_from(EVENTS),
    st.none() | st.text(max_size=9),
)
edits = st.lists(
    st.tuples(st.integers(0, 220), st.integers(0, 40), st.sampled_from(PIECES) | st.binary(max_size=4)),
    max_size=5,
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(["creado", "evento", "recurso", "external_reference", "intento", "msg", "hook_id"])
envelopes = st.dictionaries(names, st.sampled_from([*EVENTS, "facturacion"]) | anything).map(
    lambda payload: json.dumps(payload).encode()
)
wrong = st.lists(st.tuples(st.binary(), st.binary())) | st.dictionaries(st.text(), st.text()) | anything
headers = st.integers(0, 9).flatmap(lambda dice: st.just({"TF-WebhookToken": TOKEN}) if dice else wrong)
times = st.sampled_from(
    [
        f"{day}/{year}{rest}"
        for day in ("01/01", "31/12", "00/00", "29/02")
        for year in ("0000", "0001", "1582", "2026", "9998", "9999")
        for rest in ("", " 00:00", " 23:59:59", " 24:00")
    ]
)
VALID = {"evento": "error", "recurso": "facturacion", "external_reference": "a"}
dated = st.builds(
    lambda payload, creado: json.dumps({**VALID, **payload, "creado": creado}).encode(),
    st.dictionaries(names, st.sampled_from(EVENTS) | anything, max_size=2),
    times,
)


def keep(event: WebhookEvent) -> None:
    """What an inbox does with it, without the file."""
    if event.created_at is not None:
        event.created_at.astimezone(UTC).isoformat()
    (event.external_reference or "").encode()
    kept = read_event(json.loads(Kept.of(event).payload.encode()))
    assert kept == event, (kept, event)


def damage(body: bytes, spots: list[tuple[int, int, bytes]]) -> bytes:
    for start, length, piece in spots:
        body = body[:start] + piece + body[start + length :]
    return body


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    outcomes: Counter[str] = Counter()

    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(headers, st.builds(damage, signed, edits) | envelopes | dated | st.binary())
    def deliver(sent: Any, body: bytes) -> None:
        try:
            event = receive_webhook(sent, body, TOKEN)
            keep(event)
        except WebhookError as error:
            outcomes[type(error).__name__] += 1
        except Exception as escape:  # noqa: BLE001 - finding these is what the run is for
            outcomes[f"ESCAPE {escape!r} of {body!r}"] += 1
        else:
            outcomes[type(event).__name__] += 1

    deliver()
    escapes = sum(count for name, count in outcomes.items() if name.startswith("ESCAPE"))
    for name, count in outcomes.most_common(20):
        print(f"{count:>10,} {name}")
    print(f"inputs {outcomes.total():,}, escapes {escapes}")
    sys.exit(bool(escapes))


if __name__ == "__main__":
    main()
