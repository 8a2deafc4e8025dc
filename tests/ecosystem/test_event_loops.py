"""asgiref and Django under WSGI: each call has a loop of its own (``docs/how-to/event-loops.md``)."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from django.urls import clear_url_caches, path

from tests.helpers import asked_by_all
from tests.test_recipes import wsgi_server
from tusfacturas_async import Outcome
from tusfacturas_async.sandbox import Sandbox

PAGE = (Path(__file__).parent.parent.parent / "docs" / "how-to" / "event-loops.md").read_text()
REFERENCES = [f"ref-{n}" for n in range(6)]


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """Over a socket: the loops that ask it are not this one."""
    async with asked_by_all(REFERENCES, monkeypatch) as sandbox:
        yield sandbox


def recipes() -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "recipe"}
    for source in re.findall(r"<!-- recipe: event-loops-\w+ -->\n```python\n(.*?)```", PAGE, re.DOTALL):
        exec(source, names)  # noqa: S102 - it is our own documentation
    return names


async def test_async_to_sync_twice(sandbox: Sandbox) -> None:
    """The recipe's function works call after call."""
    resend = async_to_sync(recipes()["resend"])
    for reference in REFERENCES[:2]:
        report = await asyncio.to_thread(resend, [reference])
        assert report.counts == {Outcome.ACCEPTED: 1}
    assert sandbox.queue.resent == REFERENCES[:2]


async def test_one_client_for_two_loops_is_told_what_to_do(sandbox: Sandbox) -> None:
    """The second loop gets an error that names the recipe; nothing is sent, and nothing hangs."""
    client = sandbox.client()  # without a socket, which its loop would leave open

    async def resend(reference: str) -> None:
        await client.reprocess(reference)

    await asyncio.to_thread(async_to_sync(resend), "ref-0")
    with pytest.raises(RuntimeError, match=r"one client for each loop.*async with.*event-loops"):
        await asyncio.to_thread(async_to_sync(resend), "ref-1")
    with pytest.raises(RuntimeError, match="event-loops"):
        await asyncio.to_thread(asyncio.run, resend("ref-1"))
    assert sandbox.queue.resent == ["ref-0"]


@pytest.mark.parametrize("view", ["resend_view", "resend_async_view"])
async def test_django_under_wsgi(view: str, sandbox: Sandbox) -> None:
    """A synchronous and an asynchronous view, request after request, through Django's own handler."""
    if not settings.configured:  # as tests/test_recipes.py, whichever comes first
        sys.modules["recipe_urls"] = types.ModuleType("recipe_urls")
        sys.modules["recipe_urls"].urlpatterns = []  # type: ignore[attr-defined]
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="recipe_urls", SECRET_KEY="for tests")
    urls = types.ModuleType("event_loop_urls")
    urls.urlpatterns = [path("resend", recipes()[view])]  # type: ignore[attr-defined]
    sys.modules["event_loop_urls"] = urls

    clear_url_caches()
    with override_settings(ROOT_URLCONF="event_loop_urls"), wsgi_server(get_wsgi_application()) as url:
        async with httpx.AsyncClient() as browser:
            answers = [await browser.get(f"{url}resend?reference={each}") for each in REFERENCES[:3]]
    clear_url_caches()
    assert [answer.json()["counts"] for answer in answers] == [{"accepted": 1}] * 3
    assert sandbox.queue.resent == REFERENCES[:3]
