"""Signals: once lets what is in flight finish, twice ends at once; and the numbers add up to the input."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.person import COMMAND, written
from tests.loopback import Loopback
from tusfacturas_async import Journal
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Queue, State

NAMES = [f"pedido-{n}" for n in range(200)]


@asynccontextmanager
async def running(server: Loopback, folder: Path, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``reprocess`` of 200 references and ten repeats, as a process, once a dozen have arrived."""
    source = written(folder, "\n".join([*NAMES, *NAMES[:10]]))
    environment = {
        **os.environ,
        "TUSFACTURAS_BASE_URL": server.url,
        **{
            f"TUSFACTURAS_{n.upper()}": getattr(SANDBOX_CREDENTIALS, n)
            for n in ("apikey", "apitoken", "usertoken")
        },
    }
    pipe = asyncio.subprocess.PIPE
    command = [*COMMAND, "reprocess", source, "--yes", "--interval", "0.01", *options]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    while len(server.resends) < 12:
        await asyncio.sleep(0.01)
    yield process


def reckoned(said: str) -> dict[str, int]:
    found = re.search(r"interrupted: (.*); (\d+) in all", said)
    assert found is not None, said
    counts = {what: int(count) for count, what in re.findall(r"(\d+) ([a-z ]+?)(?:,|$)", found[1])}
    assert sum(counts.values()) == int(found[2]) == len(NAMES) + 10
    return counts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_each_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    """In flight finishes and is told, files and report are whole, and the status is the shells' own."""
    async with Loopback(Queue(NAMES)) as server:
        server.latency = 0.1
        options = ["--output", str(tmp_path / "r.jsonl"), "--report", str(tmp_path / "r.html")]
        options += ["--journal", str(tmp_path / "journal")]
        async with running(server, tmp_path, *options) as process:
            process.send_signal(number)
            out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 128 + number
    counts = reckoned(err.decode())
    assert counts["in flight when it ended"] == counts["unclear"] == counts["not found"] == 0
    assert counts["done"] >= len(server.resends) == server.queue.billed_calls
    told = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sum(result["outcome"] == "accepted" and not result["shared"] for result in told) == len(
        server.resends
    )
    assert "<html" in (tmp_path / "r.html").read_text()
    assert f"billed calls: {len(server.resends)}" in err.decode()
    async with Journal.open(tmp_path / "journal") as journal:
        assert "sending" not in await journal.summary()
    assert out.decode().count("\taccepted\t") >= len(server.resends)


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """With the table, without a traceback; what was in flight is told apart, and the journal knows it."""
    async with Loopback(Queue(NAMES)) as server:
        async with running(server, tmp_path, "--journal", str(tmp_path / "journal")) as process:
            server.latency = 60.0  # from now on nothing is answered
            before = len(server.resends)
            while len(server.resends) < before + 8:
                await asyncio.sleep(0.01)
            process.send_signal(signal.SIGINT)
            await asyncio.sleep(0.3)
            assert process.returncode is None
            process.send_signal(signal.SIGINT)
            out, err = await asyncio.wait_for(process.communicate(), 20)
        said = err.decode()
        assert process.returncode == 130
        assert "Traceback" not in said
        counts = reckoned(said)
        assert counts["in flight when it ended"] >= 8
        assert out.decode().count("\n") + counts["in flight when it ended"] <= len(NAMES) + 10
        assert "may have arrived" in said
        async with Journal.open(tmp_path / "journal") as journal:
            assert (await journal.summary())["sending"] == counts["in flight when it ended"]
        assert sum(voucher.state is State.QUEUED for voucher in server.queue.vouchers) >= counts["done"] - 10
