"""Observers: what they are told, in which order, and that whatever they do changes nothing else."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.loopback.server import CREDENTIALS
from tests.test_client import answering
from tusfacturas_async import (
    AsyncClient,
    Data,
    EncoladoWebhook,
    Evidence,
    Inbox,
    MaintenanceError,
    Outcome,
    OutcomeUnknownError,
    RetryPolicy,
    VoucherNotFoundError,
)
from tusfacturas_async._call import telling
from tusfacturas_async.instrumentation import (
    AttemptEnded,
    CallEnded,
    CoolDownStarted,
    LoggingObserver,
    LookupEnded,
    RequestStarted,
    WaitStarted,
)
from tusfacturas_async.instrumentation.observers import HOOKS, Observers
from tusfacturas_async.sandbox import Sandbox


class Recorder:
    """Has every hook, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Callable[[Any], None]:
        if name not in HOOKS:
            raise AttributeError(name)
        return lambda event: self.told.append((name, event))

    @property
    def hooks(self) -> list[str]:
        return [hook for hook, _ in self.told]

    def of(self, hook: str) -> list[Any]:
        return [event for each, event in self.told if each == hook]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_an_accepted_reference(recorder: Recorder) -> None:
    """One start, one attempt, one result, in this order, with plain data and no credential."""
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[recorder]) as client:
        await client.reprocess("ref")
        fingerprint = sandbox.credentials.fingerprint
    (_, start), (_, attempt), (_, end) = recorder.told
    assert recorder.hooks == ["on_start", "on_attempt", "on_result"]
    about = {"fingerprint": fingerprint, "operation": "reprocess", "external_reference": "ref"}
    assert start == RequestStarted(**about)
    assert isinstance(attempt, AttemptEnded)
    assert (attempt.number, attempt.evidence, attempt.status_code) == (1, Evidence.ANSWERED, 200)
    assert attempt.url.endswith("/app/api/v2/facturacion/reenviar_encolado")
    assert isinstance(end, CallEnded)
    assert (end.outcome, end.settled_by, end.billed_calls) == ("accepted", "response", 1)
    assert (end.attempts[0].started_at, end.attempts[0].elapsed) == (attempt.started_at, attempt.elapsed)
    assert 0 <= attempt.elapsed <= end.elapsed < 60
    assert datetime.now(UTC) - end.started_at < timedelta(minutes=1)
    for _, event in recorder.told:
        told = json.dumps(event.to_dict())
        assert not [secret for secret in (CREDENTIALS.apitoken, CREDENTIALS.usertoken) if secret in told]


async def test_a_clock_that_is_set_back_takes_no_time_away(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A counter of seconds that falls looks like a process that was started anew."""
    back = itertools.count(step=-1)  # a minute whenever it is read
    monkeypatch.setattr(
        "tusfacturas_async._call.clock.utcnow", lambda: datetime.now(UTC) + timedelta(minutes=next(back))
    )
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[recorder]) as client:
        await client.reprocess("ref")
    (ended,) = recorder.of("on_result")
    assert ended.elapsed == 0.0


async def test_a_lost_answer(recorder: Recorder, hasty: RetryPolicy) -> None:
    """The wait before the lookup says why; the lookup is told; the result is settled by it."""
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[recorder], retry=hasty) as client:
        sandbox.lose_answer("ref")
        await client.reprocess("ref")
    assert recorder.hooks == ["on_start", "on_attempt", "on_wait", "on_start", "on_lookup", "on_result"]
    (attempt,), (wait,) = recorder.of("on_attempt"), recorder.of("on_wait")
    assert (attempt.evidence, attempt.status_code) == (Evidence.MAYBE_SENT, 524)
    assert isinstance(wait, WaitStarted)
    assert (wait.number, wait.reason, wait.operation) == (1, "backoff", "reprocess")
    assert "524" in (wait.error or "")
    (lookup,) = recorder.of("on_lookup")
    assert isinstance(lookup, LookupEnded)
    assert (lookup.operation, lookup.external_reference, lookup.status_code) == ("lookup", "ref", 200)
    assert recorder.of("on_result")[0].settled_by == "lookup"


async def test_too_many_requests(recorder: Recorder, hasty: RetryPolicy) -> None:
    """A 429 tells of the cool-down, and of the wait that was asked for; its attempt is not billed."""
    limited = httpx.Response(429, headers={"Retry-After": "0"})
    transport, _ = answering(limited, httpx.Response(200, json={"error": "N", "errores": []}))
    async with AsyncClient(CREDENTIALS, transport=transport, observers=[recorder], retry=hasty) as client:
        await client.reprocess("ref")
    (cool_down,), (wait,), (end,) = (recorder.of(f"on_{name}") for name in ("cool_down", "wait", "result"))
    assert isinstance(cool_down, CoolDownStarted)
    assert (cool_down.reason, cool_down.seconds) == ("rate_limit", 0.0)
    assert (wait.reason, wait.number) == ("retry_after", 1)
    assert (end.billed_calls, [each.number for each in recorder.of("on_attempt")]) == (1, [1, 2])


async def test_maintenance(recorder: Recorder) -> None:
    """One cool-down for the first answer of it, and none for what is refused because of it."""
    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[recorder]) as client:
        sandbox.maintenance_until = datetime.now(UTC) + timedelta(minutes=30)
        for _ in range(2):
            with pytest.raises(MaintenanceError):
                await client.reprocess("ref")
    (cool_down,) = recorder.of("on_cool_down")
    assert cool_down.reason == "maintenance"
    assert 0 < cool_down.seconds <= 1800
    assert [each.error_type for each in recorder.of("on_result")] == ["MaintenanceError"] * 2


async def test_waiting_is_told_apart(recorder: Recorder) -> None:
    """Seconds in line for the spacing, and seconds for a slot."""
    async with (
        Sandbox(["a", "b", "c"], latency=0.05) as sandbox,
        sandbox.client(observers=[recorder], max_concurrency=1) as client,
    ):
        await client.reprocess_all(["a"])
        await asyncio.gather(client.reprocess("b"), client.reprocess("c"))
    waits = [attempt.waited_for_slot for attempt in recorder.of("on_attempt")]
    assert waits[:2] == [0, 0]
    assert waits[2] > 0
    recorder.told.clear()
    async with (
        Sandbox(["a", "b"]) as sandbox,
        sandbox.client(observers=[recorder], min_interval=0.05) as client,
    ):
        await asyncio.gather(client.reprocess("a"), client.reprocess("b"))
    first, second = recorder.of("on_attempt")
    assert first.waited_for_spacing < second.waited_for_spacing
    assert second.waited_for_slot < second.waited_for_spacing


async def test_every_reference_of_a_batch_ends_once(recorder: Recorder) -> None:
    """Accepted, not found, refused for its characters, and a repeat: what is billed is told once."""
    async with Sandbox(["a"]) as sandbox, sandbox.client(observers=[recorder]) as client:
        await client.reprocess_all(["a", "nobody", "wrong one", "a"])
    ended = {event.external_reference: event.outcome for event in recorder.of("on_result")}
    assert ended == {"a": "accepted", "nobody": "not_found", "wrong one": "rejected"}
    assert len(recorder.of("on_result")) == 3
    assert sandbox.queue.billed_calls == sum(event.billed_calls for event in recorder.of("on_result"))


async def test_a_cancelled_request_is_told(recorder: Recorder) -> None:
    """It may have been sent: whoever counts what is in flight and what may be billed hears of its end."""
    async with Sandbox(["a"], latency=60) as sandbox, sandbox.client(observers=[recorder]) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.reprocess("a")
    assert recorder.hooks == ["on_start", "on_attempt"]
    assert recorder.of("on_attempt")[0].evidence is Evidence.MAYBE_SENT


async def test_an_inbox_tells_of_its_events(tmp_path: Path, recorder: Recorder) -> None:
    """Of each that is stored, and of each duplicate."""
    event = EncoladoWebhook(external_reference="ref", creado="18/03/2022 15:58:11", hook_id="x")
    async with Inbox.open(tmp_path / "inbox.db", observers=[recorder]) as inbox:
        await inbox.receive(event)
        await inbox.receive(event)
    assert [(each.external_reference, each.duplicate) for each in recorder.of("on_webhook")] == [
        ("ref", False),
        ("ref", True),
    ]


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError])
async def test_an_observer_that_fails_changes_nothing(
    kind: type[BaseException], recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """Its exception is logged; the call and the observers after it go on."""

    class Broken:
        def on_result(self, _: CallEnded) -> None:
            raise kind("the observer's own")

    async with Sandbox(["ref"]) as sandbox, sandbox.client(observers=[Broken(), recorder]) as client:
        assert (await client.reprocess("ref")).outcome is Outcome.ACCEPTED
    assert "the observer's own" in caplog.text
    assert "on_result" in recorder.hooks


def test_what_is_no_observer_is_told_at_once() -> None:
    """An object without a hook, a class, an async hook in three forms; and one observer without its list."""

    class Late:
        async def on_result(self, event: CallEnded) -> None: ...

    class LateObject:
        async def __call__(self, event: CallEnded) -> None: ...

    class Holder:
        on_result = LateObject()

    class Generator:
        async def on_result(self, event: CallEnded) -> AsyncIterator[None]:
            yield

    for wrong, named in (
        (object(), "none of on_start"),
        (Recorder, "call it"),
        *((late, "not async") for late in (Late(), Holder(), Generator())),
    ):
        with pytest.raises(TypeError, match=named):
            AsyncClient(CREDENTIALS, observers=[wrong])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"observers= takes several"):
        AsyncClient(CREDENTIALS, observers=Recorder())  # type: ignore[arg-type]


def test_no_event_is_made_for_nobody() -> None:
    """A hook that no observer has is ``None``, which is all that a call looks at."""

    class Results:
        def on_result(self, event: CallEnded) -> None: ...

    observers = Observers([Results()])
    assert [hook for hook in HOOKS if getattr(observers, hook) is not None] == ["on_result"]
    assert [hook for hook in HOOKS if getattr(Observers(), hook) is not None] == []


# -- the default: logging -------------------------------------------------------------------------


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "tusfacturas_async"]


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in records(caplog) if record.levelno > logging.INFO]


async def test_the_log_is_the_default(caplog: pytest.LogCaptureFixture, hasty: RetryPolicy) -> None:
    """INFO for each end and each retry, with reason and wait, and every field beside the text."""
    caplog.set_level(logging.INFO)
    async with Sandbox(["ref"]) as sandbox, sandbox.client(retry=hasty) as client:
        sandbox.lose_answer("ref")
        await client.reprocess("ref")
    wait, end = records(caplog)
    assert (wait.levelno, end.levelno) == (logging.INFO, logging.INFO)
    assert "tries again in" in wait.message
    assert vars(wait)["reason"] == "backoff"
    assert {"external_reference": "ref", "outcome": "accepted", "billed_calls": 1}.items() <= vars(
        end
    ).items()
    assert vars(end)["attempts"][0]["evidence"] == "maybe_sent"


async def test_what_nobody_can_tell_is_a_warning(
    caplog: pytest.LogCaptureFixture, hasty: RetryPolicy
) -> None:
    """``UNKNOWN``, a cool-down, maintenance; and nothing else of the default is above INFO."""
    caplog.set_level(logging.INFO)
    transport, _ = answering(httpx.Response(524))
    async with AsyncClient(CREDENTIALS, transport=transport, retry=hasty, min_interval=0) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.reprocess("ref")
    assert [vars(record)["outcome"] for record in warnings(caplog)] == ["unknown"]
    caplog.clear()
    async with Sandbox(["ref"]) as sandbox, sandbox.client() as client:
        sandbox.maintenance_until = datetime.now(UTC) + timedelta(minutes=30)
        with pytest.raises(MaintenanceError):
            await client.reprocess("ref")
    assert [vars(each)["reason"] for each in warnings(caplog)] == ["maintenance"]


async def test_a_log_that_is_off_makes_no_record(caplog: pytest.LogCaptureFixture) -> None:
    """At WARNING, a plain end is not written."""
    caplog.set_level(logging.WARNING)
    async with Sandbox() as sandbox, sandbox.client() as client:
        with pytest.raises(VoucherNotFoundError):
            await client.reprocess("ref")
    assert records(caplog) == []


async def test_no_event_is_made_for_a_log_that_nobody_reads(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, recorder: Recorder
) -> None:
    """Of what went well; whoever else observes is told all the same, and so is a log that is read again."""
    made: list[dict[str, Any]] = []

    def make(**told: Any) -> CallEnded:
        made.append(told)
        return CallEnded(**told)

    monkeypatch.setattr(telling, "CallEnded", make)
    caplog.set_level(logging.WARNING)
    async with Sandbox([f"r{n}" for n in range(4)]) as sandbox:
        async with sandbox.client() as client:
            await client.reprocess("r0")
            assert made == []
            with pytest.raises(VoucherNotFoundError):
                await client.reprocess("unknown")
            assert len(made) == 1
            caplog.set_level(logging.INFO)
            await client.reprocess("r1")
            assert [vars(each)["external_reference"] for each in records(caplog)] == ["r1"]
        caplog.set_level(logging.WARNING)
        async with sandbox.client(observers=[LoggingObserver(), recorder]) as client:
            await client.reprocess("r2")
    assert [told["external_reference"] for told in made] == ["unknown", "r1", "r2"]


def test_events_are_data() -> None:
    """So that any of them can be written down as it is."""
    event = CoolDownStarted(fingerprint="f", seconds=1.0, reason="rate_limit")
    assert isinstance(event, Data)
    assert event.to_dict() == {"fingerprint": "f", "seconds": 1.0, "reason": "rate_limit", "error": None}
