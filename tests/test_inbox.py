"""The inbox: once, durable, in order of meaning, handled until it is handled."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import sqlite3
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tusfacturas_async import (
    Inbox,
    JournalError,
    JournalInUseError,
    WebhookEvent,
    parse_webhook,
    sign_webhook,
)
from tusfacturas_async._wire.convert import ARGENTINA
from tusfacturas_async.webhooks import stored
from tusfacturas_async.webhooks.keeping import Kept

START = datetime(2026, 3, 18, 15, 0, tzinfo=ARGENTINA)


def event(evento: str = "encolado", reference: str = "a", after: int = 0, **fields: Any) -> WebhookEvent:
    created = START + timedelta(seconds=after)
    signed = sign_webhook("t", evento=evento, external_reference=reference, creado=created, **fields)
    return parse_webhook(signed.body)


async def test_an_event_is_kept_once(tmp_path: Path) -> None:
    """The same ``creado`` of one reference and event is a duplicate, whatever its ``hook_id``."""
    async with Inbox.open(tmp_path / "inbox") as inbox:
        assert await inbox.receive(event(hook_id="h")) is True
        assert await inbox.receive(event(hook_id="h", intento=2)) is False
        assert await inbox.receive(event(hook_id="h", after=60)) is True
        assert await inbox.receive(event(hook_id="other")) is False
        assert await inbox.receive(event(hook_id="other", after=60)) is False
        assert await inbox.receive(event("error", hook_id="h", after=70)) is True
        assert await inbox.receive(event("error", hook_id="h", after=80)) is True, "one hook_id for each URL"
        assert await inbox.receive(event("emitido", hook_id="h", after=90)) is True
        assert await inbox.receive(event(reference="b", hook_id="h")) is True


async def test_events_without_identity_are_told_apart_by_their_payload(tmp_path: Path) -> None:
    """Less the counter, which a redelivery may change."""
    bare = [
        parse_webhook(b'{"evento": "error", "recurso": "facturacion", "external_reference": "a", %b}' % extra)
        for extra in (b'"intento": 1', b'"intento": 2', b'"msg": ["x"]')
    ]
    async with Inbox.open(tmp_path / "inbox") as inbox:
        assert [await inbox.receive(each) for each in bare] == [True, False, True]


@pytest.mark.parametrize(
    ("history", "meaning"),
    [
        ([("encolado", 0)], "encolado"),
        ([("encolado", 0), ("emitido", 5)], "emitido"),
        ([("encolado", 0), ("error", 5)], "error"),
        ([("encolado", 0), ("error", 5), ("encolado", 9)], "encolado"),
        ([("encolado", 0), ("error", 5), ("encolado", 9), ("emitido", 12)], "emitido"),
        ([("error", 5), ("eliminado", 9)], "eliminado"),
        ([("error", 5), ("cambio_fecha", 9)], "cambio_fecha"),
        ([("encolado", 5), ("error", 5)], "error"),
        ([("encolado", 5), ("emitido", 5)], "emitido"),
    ],
)
async def test_state_is_the_latest_meaning_in_any_order_of_arrival(
    history: list[tuple[str, int]], meaning: str, tmp_path: Path
) -> None:
    """A late ``encolado`` changes nothing; a re-send moves ``error`` back to ``encolado``."""
    for number, order in enumerate(itertools.permutations(history)):
        async with Inbox.open(tmp_path / f"inbox-{number}") as inbox:
            for evento, after in order:
                await inbox.receive(event(evento, after=after))
            state = await inbox.state("a")
            assert state is not None
            assert state.evento == meaning, order
            assert await inbox.state("nobody") is None


async def test_unknown_events_are_kept_and_mean_no_state(tmp_path: Path) -> None:
    """They reach the handler all the same."""
    seen: list[str] = []

    async def handler(received: WebhookEvent) -> None:
        seen.append(received.evento)

    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        await inbox.receive(event("encolado"))
        await inbox.receive(event("anulado", after=9))
        await inbox.drain()
        state = await inbox.state("a")
    assert state is not None
    assert (state.evento, seen) == ("encolado", ["encolado", "anulado"])


async def test_a_failing_handler_is_called_again_and_a_finished_one_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other references go on meanwhile; those of the same one wait, in order."""
    monkeypatch.setattr("tusfacturas_async.webhooks.inbox._FIRST_RETRY", 0.01)
    calls: Counter[tuple[str | None, str]] = Counter()
    finished: list[tuple[str | None, str]] = []

    async def handler(received: WebhookEvent) -> None:
        key = (received.external_reference, received.evento)
        calls[key] += 1
        if key == ("a", "encolado") and calls[key] < 4:
            raise LookupError("not yet")
        finished.append(key)

    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        await inbox.receive(event())
        await inbox.receive(event("emitido", after=5))
        await inbox.receive(event(reference="b"))
        await inbox.drain()
    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        assert await inbox.receive(event()) is False
        await inbox.drain()
    assert finished == [("b", "encolado"), ("a", "encolado"), ("a", "emitido")]
    assert calls == {("a", "encolado"): 4, ("b", "encolado"): 1, ("a", "emitido"): 1}


class Oddity(BaseException):
    pass


@pytest.mark.parametrize("ending", [asyncio.CancelledError, Oddity, GeneratorExit, "itself"])
async def test_however_a_handler_ends_its_worker_goes_on(
    ending: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ``CancelledError`` of its own making is a failure: it is called again, and so are the others."""
    monkeypatch.setattr("tusfacturas_async.webhooks.inbox._FIRST_RETRY", 0.01)
    calls: Counter[str | None] = Counter()

    async def handler(received: WebhookEvent) -> None:
        calls[received.external_reference] += 1
        if calls[received.external_reference] > 1:
            return
        if ending == "itself":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(0)
        raise ending

    async with Inbox.open(tmp_path / "inbox", handler, concurrency=1) as inbox:
        for reference in "abc":
            await inbox.receive(event(reference=reference))
        async with asyncio.timeout(10):
            await inbox.drain()
    assert calls == dict.fromkeys("abc", 2)


async def test_a_handler_that_swallows_its_cancellation_does_not_keep_the_inbox_open(tmp_path: Path) -> None:
    """Leaving waits for it, and for nothing more."""
    started = asyncio.Event()

    async def deaf(received: WebhookEvent) -> None:
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)

    async with asyncio.timeout(10):
        async with Inbox.open(tmp_path / "inbox", deaf) as inbox:
            await inbox.receive(event())
            await inbox.receive(event(reference="b"))
            await started.wait()


async def test_a_listener_that_fails_keeps_no_other_from_hearing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged; and an async one, which nobody would await, is refused."""
    heard: list[str | None] = []

    def broken(received: WebhookEvent) -> None:
        raise LookupError("a listener's own")

    async def asynchronous(received: WebhookEvent) -> None: ...

    async with Inbox.open(tmp_path / "inbox") as inbox:
        inbox.subscribe(broken)
        for _ in range(5):  # a set has no order: some come after the broken one
            inbox.subscribe(lambda received: heard.append(received.external_reference))
        with pytest.raises(TypeError, match="listener"):
            inbox.subscribe(asynchronous)  # type: ignore[arg-type]
        await inbox.receive(event())
        await asyncio.sleep(0)
    assert heard == ["a"] * 5
    assert "a listener's own" in caplog.text


async def test_a_file_of_an_earlier_release_opens(tmp_path: Path) -> None:
    """With its ``hook``, its duplicates, and a payload that would not be taken today."""
    earlier = event("error", hook_id="h")
    odd = b'{"evento": "error", "recurso": "facturacion", "external_reference": "odd", "x": Infinity}'
    with contextlib.closing(sqlite3.connect(tmp_path / "inbox")) as file:
        for statement in stored.KIND.schema[:3]:
            file.execute(statement)
        for number, (one, payload) in enumerate([(earlier, json.dumps(earlier.raw)), (None, odd.decode())]):
            meaning = Kept.of(one).meaning if one else "odd"
            values = (f"hook-{number}", meaning, json.loads(payload)["external_reference"], 3, "", payload)
            file.execute(
                "INSERT INTO events (hook, meaning, external_reference, rank, received_at, payload)"
                " VALUES (?,?,?,?,?,?)",
                values,
            )
        file.execute(f"PRAGMA application_id={stored.KIND.application_id}")
        file.execute("PRAGMA user_version=3")
        file.commit()
    seen: list[str | None] = []

    async def handler(received: WebhookEvent) -> None:
        seen.append(received.external_reference)

    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        assert await inbox.receive(earlier) is False
        assert await inbox.receive(event("error", hook_id="h", after=9)) is True
        await inbox.drain()
    assert sorted(seen, key=str) == ["a", "a", "odd"]


def test_an_inbox_without_workers_is_refused(tmp_path: Path) -> None:
    """It would keep events and never handle one."""
    with pytest.raises(ValueError, match="concurrency"):
        Inbox.open(tmp_path / "inbox", concurrency=0)


async def test_what_was_not_handled_is_handled_after_a_restart(tmp_path: Path) -> None:
    """Also what was stored by an inbox without a handler, and what was being handled at the end."""
    started = asyncio.Event()
    seen: list[str | None] = []

    async def stuck(received: WebhookEvent) -> None:
        started.set()
        await asyncio.sleep(3600)

    async def handler(received: WebhookEvent) -> None:
        seen.append(received.external_reference)

    async with Inbox.open(tmp_path / "inbox") as inbox:
        await inbox.receive(event(reference="kept"))
    async with Inbox.open(tmp_path / "inbox", stuck) as inbox:
        await inbox.receive(event(reference="stuck"))
        await started.wait()
    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        await inbox.drain()
    assert seen == ["kept", "stuck"]


def test_an_inbox_that_a_module_holds_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    """As an app's lifespan does that is entered by each test."""

    async def handle(_: WebhookEvent) -> None:
        await asyncio.sleep(0.01)

    inbox = Inbox.open(tmp_path / "inbox", handle)

    async def live(reference: str) -> None:
        async with inbox:
            await inbox.receive(event(reference=reference))
            await inbox.drain()

    for reference in ("a", "b"):
        asyncio.run(live(reference))


async def test_who_gives_up_waiting_does_not_keep_an_event_from_its_handler(tmp_path: Path) -> None:
    """A receiver's time limit may cancel ``receive`` after the event is durable."""
    seen: list[str | None] = []

    async def handler(received: WebhookEvent) -> None:
        seen.append(received.external_reference)

    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        receiving = asyncio.create_task(inbox.receive(event()))
        await asyncio.sleep(0)
        receiving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await receiving
        while not seen:
            await asyncio.sleep(0.001)
        await inbox.drain()
    assert seen == ["a"]


async def test_events_built_by_hand_are_kept_whole(tmp_path: Path) -> None:
    """Without a payload, their attributes are stored."""
    made = WebhookEvent(external_reference="a", evento="error", creado="18/03/2026 15:00:00", msg=("why",))
    async with Inbox.open(tmp_path / "inbox") as inbox:
        await inbox.receive(made)
        state = await inbox.state("a")
    assert state is not None
    assert (state.msg, state.creado) == (("why",), made.creado)


async def test_an_inbox_is_not_a_journal(tmp_path: Path) -> None:
    """And cannot be used twice at once."""
    async with Inbox.open(tmp_path / "inbox"):
        with pytest.raises(JournalInUseError, match="in use"):
            async with Inbox.open(tmp_path / "inbox"):
                raise AssertionError
    from tusfacturas_async import Journal  # noqa: PLC0415

    with pytest.raises(JournalError, match="not a journal"):
        async with Journal.open(tmp_path / "inbox"):
            raise AssertionError


async def test_a_store_that_fails_is_told(tmp_path: Path) -> None:
    """So that the receiver answers 500, and the service delivers again."""
    async with Inbox.open(tmp_path / "inbox") as inbox:
        (tmp_path / "inbox").unlink()
        with pytest.raises(JournalError, match="deleted"):
            await inbox.receive(event())


async def test_many_events_in_any_order(tmp_path: Path) -> None:
    """Each is handled once, one of a reference at a time."""
    dice = random.Random(5)
    events = [
        event(evento, f"r{n}", after)
        for n in range(60)
        for after, evento in enumerate(("encolado", "emitido"))
    ]
    deliveries = [each for each in events for _ in range(dice.randint(1, 4))]
    dice.shuffle(deliveries)
    handled: Counter[tuple[str | None, str]] = Counter()
    under_way: set[str | None] = set()

    async def handler(received: WebhookEvent) -> None:
        assert received.external_reference not in under_way
        under_way.add(received.external_reference)
        await asyncio.sleep(dice.uniform(0, 0.002))
        under_way.discard(received.external_reference)
        handled[received.external_reference, received.evento] += 1

    async with Inbox.open(tmp_path / "inbox", handler) as inbox:
        new = await asyncio.gather(*(inbox.receive(each) for each in deliveries))
        await inbox.drain()
        states = [await inbox.state(f"r{n}") for n in range(60)]
    assert (sum(new), set(handled.values()), len(handled)) == (120, {1}, 120)
    assert {state.evento for state in states if state} == {"emitido"}
