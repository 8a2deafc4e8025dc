"""The receiver is killed over and over while the sender redelivers: all is handled, and stays handled."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections import Counter
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from tests.mortal import end, start
from tusfacturas_async import Inbox, WebhookEvent, WebhookReceiver, sign_webhook
from tusfacturas_async._wire.convert import ARGENTINA
from tusfacturas_async.sandbox import LoopbackServer

TOKEN = "crash"
HISTORY = ("encolado", "error", "encolado", "emitido")
REFERENCES = 1250
CONNECTIONS = 50
KILLS = 12


async def worker(path: Path, log: Path, port: int) -> None:
    """One life: receives and handles until it is killed, and says what it does."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def say(*words: str | None) -> None:
        os.write(file, f"{' '.join(map(str, words))}\n".encode())

    class Told(Inbox):
        async def _mark(self, number: int) -> None:
            await super()._mark(number)
            say("recorded", str(number))

    async def handler(event: WebhookEvent) -> None:
        say("begun", event.hook_id)
        assert event.external_reference is not None
        state = await inbox.state(event.external_reference)
        assert state is not None
        assert state.created_at is not None
        say("state", event.external_reference, state.created_at.isoformat(), state.evento)
        say("finished", event.hook_id)

    async with Told.open(path, handler, concurrency=20) as inbox:
        async with LoopbackServer(WebhookReceiver(inbox.receive, tokens=TOKEN), port=port):
            await asyncio.Event().wait()


def deliveries(dice: random.Random) -> list[bytes]:
    start = datetime(2026, 3, 18, 12, 0, tzinfo=ARGENTINA)
    bodies = []
    for number in range(REFERENCES):
        for step, evento in enumerate(HISTORY):
            signed = sign_webhook(
                TOKEN,
                evento=evento,
                external_reference=f"r{number}",
                creado=start + timedelta(minutes=step),
                hook_id=f"{number}-{step}",
            )
            bodies += [signed.body] * dice.randint(1, 4)
    dice.shuffle(bodies)
    return bodies


class Connection:
    """One of the sender's, in bare HTTP: opened again after each death of the receiver."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTF-WebhookToken: {TOKEN}\r\nContent-Length: "
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def arrives(self, body: bytes) -> bool:
        """Whether it was answered 200."""
        try:
            self._streams = self._streams or await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(f"{self._head}{len(body)}\r\n\r\n".encode() + body)
            return (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            await asyncio.sleep(0.05)
            return False

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Sender:
    """Delivers from 50 connections, and again what was not answered 200."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port = port
        self._dice = dice
        self._waiting = deliveries(dice)
        self.total = len(self._waiting)
        self.received = 0
        self.refused = 0

    async def run(self) -> None:
        await asyncio.gather(*(self._deliver() for _ in range(CONNECTIONS)))

    async def _deliver(self) -> None:
        with closing(Connection(self._port)) as connection:
            while self.received < self.total:
                if not self._waiting:
                    await asyncio.sleep(0.01)
                    continue
                body = self._waiting.pop()
                if await connection.arrives(body):
                    self.received += 1
                else:
                    self.refused += 1
                    self._waiting.insert(self._dice.randrange(len(self._waiting) + 1), body)


class Story:
    """What the worker's log tells, over all its lives."""

    def __init__(self, log: str, names: dict[str, str]) -> None:
        recorded: set[str] = set()
        finished: set[str] = set()
        seen: dict[str, str] = {}
        begun: Counter[str] = Counter()
        self.after_record = self.after_return = self.backwards = 0
        for line in log.splitlines():
            what, subject, *more = line.split()
            if what == "recorded":
                recorded.add(names[subject])
            elif what == "finished":
                finished.add(subject)
            elif what == "begun":
                begun[subject] += 1
                self.after_record += subject in recorded
                self.after_return += subject in finished
            else:
                self.backwards += more[0] < seen.get(subject, "")
                seen[subject] = more[0]
        self.twice = sum(count - 1 for count in begun.values())


async def nothing(event: WebhookEvent) -> None:
    """The handler that takes what the last kill left."""


async def test_killed_while_receiving(tmp_path: Path) -> None:
    """5,000 events, each delivered one to four times, shuffled, from 50 connections."""
    dice = random.Random(20261123)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path, log = tmp_path / "inbox", tmp_path / "log"
    sender, kills = Sender(port, dice), 0
    life = start(worker, path, log, port)
    sending = asyncio.create_task(sender.run())
    while sender.received < sender.total:
        enough = min(sender.received + dice.randint(1, sender.total // KILLS), sender.total)
        while sender.received < enough:
            await asyncio.sleep(0.002)
        await asyncio.sleep(dice.uniform(0, 0.02))
        await end(life)
        kills += 1
        life = start(worker, path, log, port)
    await sending
    await end(life)

    async with Inbox.open(path, nothing) as inbox:
        await inbox.drain()
        states = [await inbox.state(f"r{number}") for number in range(REFERENCES)]
        query = "SELECT id, json_extract(payload, '$.hook_id'), handled_at FROM events"
        rows = await inbox._storage.run(lambda connection: connection.execute(query).fetchall())
    story = Story(log.read_text(), {str(number): hook for number, hook, _ in rows})
    unhandled = sum(handled is None for *_, handled in rows)
    print(
        f"\nkills {kills}, events {len(rows)}, deliveries {sender.total}, refused at first {sender.refused},"
    )
    print(f"unhandled {unhandled}, handled again after the record {story.after_record},")
    print(f"begun twice because of a kill {story.twice}, returned and unrecorded {story.after_return},")
    print(f"states gone backwards {story.backwards}")
    assert kills >= KILLS
    assert len(rows) == REFERENCES * len(HISTORY)
    assert (unhandled, story.after_record, story.backwards) == (0, 0, 0)
    assert {state.evento for state in states if state} == {"emitido"}
    assert None not in states
