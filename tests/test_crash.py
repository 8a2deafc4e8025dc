"""SIGKILL at random moments, over and over: nothing is lost, and nothing is repeated blindly."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyreqwest.compatibility.httpx import HttpxTransport

from tests.loopback import Loopback
from tests.mortal import end, start
from tusfacturas_async import AsyncClient, DirectTransport, Journal
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Queue, State

WAYS: dict[str, Any] = {"httpx": None, "direct": DirectTransport, "pyreqwest": HttpxTransport}


async def worker(url: str, path: Path, count: int, way: str) -> None:
    """One life: the whole batch, with the journal of the lives before."""
    options = {"min_interval": 0, "max_concurrency": 4, "transport": WAYS[way]}
    async with (
        Journal.open(path) as journal,
        AsyncClient(SANDBOX_CREDENTIALS, base_url=url, **options) as client,
    ):
        report = await client.reprocess_all((f"pedido-{n}" for n in range(count)), journal=journal)
        assert set(report.counts) <= {"accepted", "skipped"}, report.counts


@pytest.mark.parametrize(
    ("way", "count", "at_least"), [("httpx", 300, 40), ("direct", 100, 12), ("pyreqwest", 100, 12)]
)
async def test_killed_over_and_over(way: str, count: int, at_least: int, tmp_path: Path) -> None:
    """300 references, at least 40 kills; of what the dead had sent, the server finishes a half."""
    references = [f"pedido-{n}" for n in range(count)]
    dice = random.Random(20261123)
    kills = 0
    async with Loopback(Queue(references)) as server:
        server.think = lambda: dice.uniform(0, 0.03)
        server.latency = 0.005
        server.abandon = lambda: dice.random() < 0.5
        while True:
            life = start(worker, server.url, tmp_path / "journal", count, way)
            enough = len(server.resends) + dice.randint(1, 8)
            while life.is_alive() and len(server.resends) < enough:
                await asyncio.sleep(0.001)
            await asyncio.sleep(dice.uniform(0, 0.02))
            if not life.is_alive():
                assert life.exitcode == 0
                break
            await end(life)
            kills += 1
    effects = Counter(server.queue.resent)
    lost = [ref for ref in references if server.queue[ref].state is not State.QUEUED]
    repeats, blind = repeated(server.log)
    print(f"\nkills {kills}, references {count}, lost {len(lost)}, requests {len(server.resends)},")
    print(f"repeats {repeats}, blind repeats {len(blind)}, most effects of one {max(effects.values())}")
    assert kills >= at_least
    assert repeats > 0, "else the dangerous case was not met"
    assert (lost, blind) == ([], [])
    assert set(effects.values()) == {1}


def repeated(log: list[tuple[str, str]]) -> tuple[int, list[str]]:
    """How many re-sends were repeats, and those before which no lookup had said "still errored"."""
    repeats, blind = 0, []
    errored_since_sent: dict[str, bool] = {}
    for what, reference in log:
        if what == "reenviar_encolado":
            if reference in errored_since_sent:
                repeats += 1
                if not errored_since_sent[reference]:
                    blind.append(reference)
            errored_since_sent[reference] = False
        elif what == State.ERRORED.name and reference in errored_since_sent:
            errored_since_sent[reference] = True
    return repeats, blind


def test_the_count_of_blind_repeats_can_see_one() -> None:
    """The check itself: a repeat without a lookup is blind, one after "still errored" is not."""
    sent, errored = ("reenviar_encolado", "a"), (State.ERRORED.name, "a")
    assert repeated([sent, sent]) == (1, ["a"])
    assert repeated([sent, errored, sent]) == (1, [])
    assert repeated([sent, errored, sent, sent]) == (2, ["a"])
