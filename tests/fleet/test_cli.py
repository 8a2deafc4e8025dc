"""``tusfacturas fleet``: from the schema to the results, in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

psycopg = pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.service import Service
from tests.helpers import spoken

RESOLVE = "tests.fleet.service:credentials"


@pytest.fixture(autouse=True)
def _covered(covered_processes: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is a process of its own: coverage looks into it."""
    if covered_processes is not None:
        monkeypatch.setenv("COVERAGE_PROCESS_CONFIG", covered_processes)


async def command(conninfo: str, *arguments: str, url: str = "") -> tuple[int, str, str]:
    environment = os.environ | {"TUSFACTURAS_DATABASE": conninfo, "TUSFACTURAS_BASE_URL": url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tusfacturas_async", "fleet", *arguments),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), spoken(told.decode())


async def test_from_the_schema_to_the_results(empty: str, tmp_path: Path) -> None:
    """migrate, submit, worker until SIGTERM, status, results."""
    file = tmp_path / "references.csv"
    file.write_text("external_reference,tipo\na1,A\na2,A\nb1,B\na1,C\n")  # a repeat stays in its first lane
    assert await command(empty, "migrate") == (0, "", "")
    submit = ("submit", "p", str(file), "--lane-column", "tipo")
    assert await command(empty, *submit) == (0, "3\n", "")
    assert await command(empty, *submit) == (0, "0\n", ""), "twice is once"
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("c1\nno good\nnor this\n", encoding="utf-16")
    status, out, told = await command(empty, "submit", "p", str(wrong))
    assert (status, out, "2 references cannot be sent" in told) == (2, "", True)
    async with await psycopg.AsyncConnection.connect(empty) as connection:
        rows = await connection.execute("SELECT lane FROM tusfacturas.work WHERE reference = 'a1'")
        assert await rows.fetchall() == [('["A"]',)]
    status, out, _ = await command(empty, "status", "p", "--json")
    assert (status, json.loads(out)) == (1, {"waiting": 3, "billed_calls": 0, "troubles": {}})
    async with await psycopg.AsyncConnection.connect(empty, autocommit=True) as connection:
        await connection.execute("UPDATE tusfacturas.point SET trouble = 'its key\x1b is gone'")
    status, out, _ = await command(empty, "status")
    assert (status, out.splitlines()[-1]) == (1, r"p: its key\x1b is gone")
    status, out, _ = await command(empty, "status", "p", "--json")
    assert json.loads(out)["troubles"] == {"p": "its key\x1b is gone"}
    async with Service({"p": [["a1", "a2"], ["b1"]]}) as service:
        environment = os.environ | {"TUSFACTURAS_DATABASE": empty, "TUSFACTURAS_BASE_URL": service.url}
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tusfacturas_async", "fleet", "worker", "--resolve", RESOLVE),
            env=environment,
        )
        async with asyncio.timeout(60):
            while (await command(empty, "status"))[0]:
                await asyncio.sleep(0.1)
            worker.send_signal(signal.SIGTERM)
            assert await worker.wait() == 0
    status, out, _ = await command(empty, "status", "--lang", "es")
    assert (status, out) == (0, "        3 aceptados\nllamadas facturadas: 3\n")
    status, out, _ = await command(empty, "results", "p")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["external_reference"], row["outcome"]) for row in rows] == [
        *(("a1", "accepted"), ("a2", "accepted"), ("b1", "accepted"))
    ]


async def test_what_is_wrong_is_said(empty: str) -> None:
    """No schema, and a function that is not there: one line each, and bad usage."""
    status, out, told = await command(empty, "status")
    assert (status, out) == (2, "")
    assert "run `tusfacturas fleet migrate`" in told
    status, _, told = await command(empty, "worker", "--resolve", "nowhere:nothing")
    assert status == 2
    assert "is not MODULE:FUNCTION" in told
