"""A long run of hostile deliveries: ``python -m tests.fuzz.webhooks [inputs]``. Prints inputs and escapes.

Each input is a valid delivery that is damaged at random, or noise; what comes out must be an event or a
``WebhookError``.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any

from tusfacturas_async import WebhookError, receive_webhook, sign_webhook

TOKEN = "fuzz"
PIECES = (
    *(b"null", b"true", b"[]", b"{}", b"1e999", b"-0", b"NaN", b'"\\ud800"', b'"', b"\\", b"\xff", b"\x00"),
    *(b"\xef\xbb\xbf", b"[" * 2000, b"9" * 5000, b'"evento":', b'"external_reference":7,', b"18/03/2022"),
)


def damaged(body: bytes, dice: random.Random) -> bytes:
    """One to six random edits."""
    damaged = bytearray(body)
    for _ in range(dice.randint(1, 6)):
        start = dice.randrange(len(damaged) + 1)
        end = min(len(damaged), start + dice.choice((0, 0, 1, 5, 40)))
        damaged[start:end] = dice.choice((dice.choice(PIECES), dice.randbytes(dice.randint(0, 4))))
    return bytes(damaged)


def headers(dice: random.Random, valid: dict[str, str]) -> Any:
    """Mostly the right ones, so that bodies are reached."""
    noise = dice.randbytes(dice.randint(0, 8))
    return dice.choice(
        (
            valid,
            valid,
            valid,
            {"tf-webhooktoken": TOKEN},
            [(b"TF-WebhookToken", noise)],
            {"x": noise},
            noise,
            None,
        )
    )


def main() -> None:
    inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    dice = random.Random(20261123)
    events = ("encolado", "emitido", "error", "eliminado", "cambio_fecha", "test", "anulado")
    outcomes: Counter[str] = Counter()
    for _ in range(inputs):
        signed = sign_webhook(TOKEN, evento=dice.choice(events), external_reference="pedido-1", msg=["x"])
        body = damaged(signed.body, dice) if dice.random() < 0.9 else dice.randbytes(dice.randint(0, 99))
        try:
            event = receive_webhook(headers(dice, signed.headers), body, TOKEN)
        except WebhookError as error:
            outcomes[type(error).__name__] += 1
        except Exception as escape:  # noqa: BLE001 - finding these is what the run is for
            outcomes[f"ESCAPE {escape!r}"] += 1
        else:
            outcomes[type(event).__name__] += 1
    escapes = sum(count for name, count in outcomes.items() if name.startswith("ESCAPE"))
    for name, count in outcomes.most_common():
        print(f"{count:>10,} {name}")
    print(f"inputs {inputs:,}, escapes {escapes}")
    sys.exit(bool(escapes))


if __name__ == "__main__":
    main()
