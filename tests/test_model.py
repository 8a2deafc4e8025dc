"""The states of one call, searched: every choice that the service, the lookup, a webhook and a crash have.

The search walks all sequences of choices up to its bounds, and dice beyond them, in virtual time. On every
path the outcome is true of the service's state, a billed repeat comes only after a lookup that said
"errored", and it ends.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.virtual import run
from tusfacturas_async import AsyncClient, Outcome, ReprocessResult, RetryPolicy, parse_webhook, sign_webhook
from tusfacturas_async._call.call import call
from tusfacturas_async._call.operations import resend
from tusfacturas_async._call.waiting import Deadline
from tusfacturas_async.models import ReprocessRequest
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS
from tusfacturas_async.webhooks.confirmations import Confirmations

ERRORED, QUEUED = "ENVIADO A PROCESAR - CON ERROR", "EN COLA, ESPERANDO APROBACION"
ISSUED, STRANGE = "EMITIDO", "EN REVISION"


class Choices:
    """One path: what was chosen at each fork, and how many ways each fork had."""

    def __init__(self, path: Sequence[int], dice: random.Random | None = None) -> None:
        self._path = path
        self._dice = dice
        self.taken: list[int] = []
        self.widths: list[int] = []

    def pick(self, options: Sequence[str]) -> str:
        at = len(self.taken)
        chosen = 0 if self._dice is None else self._dice.randrange(len(options))
        chosen = self._path[at] if at < len(self._path) else chosen
        self.taken.append(chosen)
        self.widths.append(len(options))
        return options[chosen]

    def following(self) -> list[int] | None:
        """The next path in order; ``None`` after the last."""
        path = list(self.taken)
        while path:
            if path[-1] + 1 < self.widths[len(path) - 1]:
                return [*path[:-1], path[-1] + 1]
            path.pop()
        return None


class CrashError(BaseException):
    """The process dies here."""


class Service:
    """The service with one reference, and a fork wherever it, the network or the process may go two ways."""

    def __init__(
        self, statuses: Sequence[str], choices: Choices, crashes: int, tell: Callable[[datetime], None]
    ) -> None:
        self.statuses = list(statuses)
        self.stale = list(statuses)
        self.choices = choices
        self.tell = tell
        self.log: list[str] = []
        self.later = 0
        self.worked = 0
        self.crashes = crashes

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        if request.url.path.endswith("consulta_avanzada"):
            return self._lookup()
        return self._resend()

    def _maybe_crash(self) -> None:
        if self.crashes and self.choices.pick(["live", "crash"]) == "crash":
            self.crashes -= 1
            raise CrashError

    def _work(self) -> dict[str, Any]:
        if ERRORED in self.statuses[:1]:  # the service takes the first it finds
            self.stale = list(self.statuses)
            self.statuses[0] = QUEUED
            self.worked += 1
            return {"error": "N", "errores": []}
        return {"error": "S", "errores": ["No se han encontrado comprobantes."]}

    def _resend(self) -> httpx.Response:
        options = ["answered", "lost after", "lost before", "lost, later", "told by webhook", "refused"]
        chosen = self.choices.pick(options)
        if chosen == "refused":
            raise httpx.ConnectError("nobody there")
        self.log.append("re-send")
        if chosen == "lost before":
            raise httpx.ReadTimeout("lost")
        if chosen == "lost, later":
            self.later += 1
            raise httpx.ReadTimeout("lost")
        answer = self._work()
        self._maybe_crash()
        if chosen == "told by webhook" and answer["error"] == "N":
            self.tell(datetime.now(UTC))
        if chosen != "answered":
            raise httpx.ReadTimeout("lost")
        return httpx.Response(200, json=answer)

    def _lookup(self) -> httpx.Response:
        stale = ["stale"] if self.stale != self.statuses else []
        chosen = self.choices.pick(["true", "unreadable", "foreign", *stale])
        shown, reference = (self.stale if chosen == "stale" else self.statuses), "ref"
        if chosen == "foreign":
            shown, reference = [ISSUED], "REF"
        elif shown and all(status == ERRORED for status in shown) and chosen != "unreadable":
            self.log.append("errored")
        while self.later:  # what was lost on its way takes effect now
            self.later -= 1
            self._work()
        entries = [{"comprobante": {"external_reference": reference, "status": status}} for status in shown]
        found = [None] if chosen == "unreadable" else entries
        return httpx.Response(200, json={"error": "N", "total": len(found), "comprobantes": found})


def one_path(
    statuses: Sequence[str], choices: Choices, attempts: int, crashes: int, *, survives: bool = False
) -> tuple[ReprocessResult, Service]:
    """Run one call, and again after a crash as a journal would: told to be doubtful.

    Or its client survives, as when a caller was cancelled: it remembers by itself.
    """
    confirmations = Confirmations(within=0.0)

    def tell(at: datetime) -> None:
        body = sign_webhook("t", external_reference="ref", creado=at + timedelta(seconds=1)).body
        confirmations.tell(parse_webhook(body))

    service = Service(statuses, choices, crashes, tell)

    async def main() -> ReprocessResult:
        doubtful = False
        while True:
            async with AsyncClient(
                SANDBOX_CREDENTIALS,
                transport=httpx.MockTransport(service),
                min_interval=0,
                retry=RetryPolicy(attempts=attempts, backoff=0.01),
            ) as client:
                for _ in range(crashes + 1 if survives else 1):
                    with suppress(CrashError):
                        return await one_call(client, doubtful)
            doubtful = True

    async def one_call(client: AsyncClient, doubtful: bool) -> ReprocessResult:
        with closing(confirmations.expect("ref")) as expectation:
            operation = resend(ReprocessRequest("ref"))
            return await call(
                *(client._channel, operation, Deadline(None)), doubtful=doubtful, expectation=expectation
            )

    return run(main()), service


def violations(result: ReprocessResult, service: Service) -> list[str]:
    """What this path's end breaks of the promise."""
    wrong = []
    now, outcome = service.statuses, result.outcome
    if outcome is Outcome.ACCEPTED and not all(status in {QUEUED, ISSUED} for status in now):
        answered = result.settled_by in {"response", "webhook"} and service.worked
        if not answered:  # one of several is accepted when the service said so
            wrong.append("told ACCEPTED, and it is not")
    if outcome is Outcome.NOT_FOUND and ERRORED in now[:1]:
        wrong.append("told NOT_FOUND, and it is errored")
    if outcome is Outcome.NOT_FOUND and service.worked:
        wrong.append("told NOT_FOUND, and it was re-sent")
    if outcome is Outcome.NOT_SENT and "re-send" in service.log:
        wrong.append("told NOT_SENT, and a request arrived")
    if outcome is Outcome.REJECTED:
        wrong.append("nothing here is a refusal")
    sent_since = False
    for what in service.log:
        if what == "re-send":
            if sent_since:
                wrong.append("a billed repeat without a lookup that said errored")
            sent_since = True
        else:
            sent_since = False
    return wrong


STATES: tuple[list[str], ...] = (
    [ERRORED],
    [QUEUED],
    [],
    [ERRORED, ISSUED],
    [ISSUED, ERRORED],
    [STRANGE],
    [ERRORED, ERRORED],
)


def named(statuses: Sequence[str]) -> str:
    return "+".join(statuses) or "absent"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("attempts", "crashes", "survives"),
    [(2, 0, False), (1, 1, False), (1, 1, True)],
    ids=["two attempts", "a crash", "a caller is cancelled"],
)
@pytest.mark.parametrize("statuses", STATES, ids=named)
def test_every_path_ends_in_the_truth(
    statuses: list[str], attempts: int, crashes: int, survives: bool
) -> None:
    """All choices of service, network, lookup and webhook for one call, and for its life after a crash."""
    path: list[int] | None = []
    outcomes, wrong = Counter[Outcome](), []
    while path is not None:
        choices = Choices(path)
        result, service = one_path(statuses, choices, attempts, crashes, survives=survives)
        outcomes[result.outcome] += 1
        wrong += [(choices.taken, broken) for broken in violations(result, service)]
        path = choices.following()
    print(f"\n{named(statuses)}: {outcomes.total()} paths, {dict(outcomes)}, {len(wrong)} wrong")
    assert wrong == []
    assert outcomes.total() > 20


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("statuses", STATES, ids=named)
def test_long_paths_by_dice_end_in_the_truth(statuses: list[str]) -> None:
    """Three attempts and two crashes, 300 paths of each state."""
    dice, outcomes, wrong = random.Random(20261124), Counter[Outcome](), []
    for _ in range(300):
        choices = Choices((), dice)
        survives = dice.random() < 0.5
        result, service = one_path(statuses, choices, attempts=3, crashes=2, survives=survives)
        outcomes[result.outcome] += 1
        wrong += [(choices.taken, broken) for broken in violations(result, service)]
    print(f"\n{named(statuses)}: {dict(outcomes)}, {len(wrong)} wrong")
    assert wrong == []


def test_the_search_can_see_an_untruth() -> None:
    """The checks themselves: a blind repeat, and each outcome that is not so."""
    choices = Choices(())
    service = Service([ERRORED], choices, 0, lambda _: None)
    service.log = ["re-send", "re-send"]
    for outcome in (Outcome.ACCEPTED, Outcome.NOT_FOUND, Outcome.NOT_SENT, Outcome.REJECTED):
        assert len(violations(ReprocessResult("ref", outcome), service)) == 2
    service.log = ["re-send", "errored", "re-send"]
    assert violations(ReprocessResult("ref", Outcome.UNKNOWN), service) == []
