"""How jobs of the storage thread come together: whoever waits together pays for one commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tusfacturas_async._storage import thread
from tusfacturas_async._storage.thread import Job, JobThread, Work


class Groups:
    """Notes how many jobs each group has; does none while ``open`` is clear."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.open = threading.Event()
        self.open.set()

    @contextmanager
    def working(self) -> Iterator[Work]:
        yield self.work

    def work(self, group: Sequence[Job]) -> list[None]:
        self.sizes.append(len(group))
        self.open.wait(10)
        return [None] * len(group)


@pytest.fixture
async def groups() -> AsyncIterator[tuple[JobThread, Groups]]:
    groups = Groups()
    jobs = JobThread("a test", groups.working)
    await jobs.start()
    yield jobs, groups
    await jobs.end()


@pytest.fixture
def company(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set it, and the thread no longer waits for company; a moment that ends when the test says so."""
    came = threading.Event()
    monkeypatch.setattr(thread, "time", SimpleNamespace(sleep=lambda _: came.wait(10)))
    return came


async def in_company(jobs: JobThread, groups: Groups) -> None:
    """Put jobs that share a group: the next ones are then expected to."""
    groups.open.clear()
    before = len(groups.sizes)
    first = jobs.put(None, "")
    while len(groups.sizes) == before:
        await asyncio.sleep(0)
    others = [jobs.put(None, "") for _ in range(3)]
    groups.open.set()
    await asyncio.gather(first, *others)
    assert groups.sizes[before:] == [1, 3]
    groups.sizes.clear()


async def test_a_job_waits_for_those_that_came_with_others_before(
    groups: tuple[JobThread, Groups], company: threading.Event
) -> None:
    """Two that come one after the other share a group, where a moment ago several did."""
    jobs, seen = groups
    await in_company(jobs, seen)
    first = jobs.put(None, "")
    await asyncio.sleep(0.02)
    assert not first.done()
    second = jobs.put(None, "")
    company.set()
    await asyncio.gather(first, second)
    assert seen.sizes == [2]


async def test_a_job_that_is_alone_waits_for_nobody(
    groups: tuple[JobThread, Groups], company: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the one before was alone, nor where enough are there."""
    jobs, seen = groups
    for _ in range(5):
        await jobs.put(None, "")
    assert seen.sizes == [1] * 5
    monkeypatch.setattr(thread, "_ENOUGH", 0)
    await in_company(jobs, seen)
    await jobs.put(None, "")
    assert not company.is_set()
