"""The backend and the worker of ``docs/how-to/fleet.md``, run for real."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("psycopg", reason="the extra `fleet` is not installed")

from tests.fleet.service import Service, credentials
from tests.fleet.test_fleet import until_done
from tusfacturas_async.fleet import Fleet

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "fleet.md").read_text()


def recipe(name: str) -> dict[str, Any]:
    found = re.search(rf"<!-- recipe: fleet {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)  # noqa: S102 - it is our own page
    return names


async def test_a_backend_and_a_worker(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by a lookup, submitted by the one, sent by the other, which drains on SIGTERM."""
    monkeypatch.setenv("TUSFACTURAS_DATABASE", conninfo)
    async with Service({"0": [["a", "b"]]}) as service:
        async with service.client() as client:
            await recipe("backend")["resend_errored"]("0", await client.lookup("a", "b"))
        working = asyncio.create_task(recipe("worker")["work"](credentials, base_url=service.url))
        async with Fleet(conninfo) as fleet:
            await until_done(fleet)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(working, 20)
    assert dict(service.sent) == {"a": 1, "b": 1}
