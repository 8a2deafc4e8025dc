"""How jobs of the storage thread come together: whoever waits together pays for one commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import pytest

from tusfacturas_async._storage import thread
from tusfacturas_async._storage.thread import Job, JobThread, Work


class Groups:
    """Notes how many jobs each group has."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    @contextmanager
    def working(self) -> Iterator[Work]:
        yield self.work

    def work(self, group: Sequence[Job]) -> list[None]:
        self.sizes.append(len(group))
        return [None] * len(group)


@pytest.fixture
async def groups() -> AsyncIterator[tuple[JobThread, Groups]]:
    groups = Groups()
    jobs = JobThread("a test", groups.working)
    await jobs.start()
    yield jobs, groups
    await jobs.end()


async def in_company(jobs: JobThread, groups: Groups) -> None:
    """Put jobs until some shared a group: the next ones are then expected to."""
    while max(groups.sizes, default=0) < 2:
        await asyncio.gather(*(jobs.put(None, "") for _ in range(3)))


async def test_a_job_waits_for_those_that_came_with_others_before(
    groups: tuple[JobThread, Groups], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that come one after the other share a group, where a moment ago several did."""
    monkeypatch.setattr(thread, "_LINGER", 0.5)
    jobs, seen = groups
    await in_company(jobs, seen)
    seen.sizes.clear()
    first = jobs.put(None, "")
    await asyncio.sleep(0.02)
    assert not first.done()
    await asyncio.gather(first, jobs.put(None, ""))
    assert seen.sizes == [2]


async def test_a_job_that_is_alone_waits_for_nobody(
    groups: tuple[JobThread, Groups], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither where the one before was alone, nor where enough are there."""
    monkeypatch.setattr(thread, "_LINGER", 3600)
    jobs, seen = groups
    for _ in range(5):
        await jobs.put(None, "")
    assert seen.sizes == [1] * 5
    monkeypatch.setattr(thread, "_ENOUGH", 0)
    await in_company(jobs, seen)
    await jobs.put(None, "")
