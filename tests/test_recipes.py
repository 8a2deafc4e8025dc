"""The recipes of ``docs/how-to/webhooks.md``, run for real: the sandbox delivers to each over a socket."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import types
import wsgiref.simple_server
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.conf import settings
from django.core.wsgi import get_wsgi_application

from tusfacturas_async import sign_webhook
from tusfacturas_async.sandbox import LoopbackServer, Sandbox, StoredVoucher

PAGE = (Path(__file__).parent.parent / "docs" / "how-to" / "webhooks.md").read_text()
TOKEN = "a token with ñ"
PATH = "webhooks/tusfacturas"


def recipe(name: str) -> str:
    found = re.search(rf"<!-- recipe: {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None, name
    return found[1]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUSFACTURAS_WEBHOOK_TOKEN", TOKEN)
    if not settings.configured:
        sys.modules["recipe_urls"] = types.ModuleType("recipe_urls")
        sys.modules["recipe_urls"].urlpatterns = []  # type: ignore[attr-defined]
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="recipe_urls", SECRET_KEY="for tests")


def names_of(name: str) -> dict[str, Any]:
    module = types.ModuleType("recipe")
    module.__file__ = __file__  # frameworks look up the module that defines a handler
    sys.modules["recipe"] = module
    source = recipe("handler") + recipe(name)
    # Litestar's default logging runs a thread, which would outlive the test and meet pytest's closed stderr.
    source = source.replace("Litestar([tusfacturas])", "Litestar([tusfacturas], logging_config=None)")
    exec(source, vars(module))  # noqa: S102 - it is our own documentation
    return vars(module)


@contextmanager
def wsgi_server(app: Callable[..., Any]) -> Iterator[str]:
    class Quiet(wsgiref.simple_server.WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@asynccontextmanager
async def serving(name: str) -> AsyncIterator[str]:
    names = names_of(name)
    if name == "django-view":
        sys.modules["recipe_urls"].urlpatterns = names["urlpatterns"]  # type: ignore[attr-defined]
        with wsgi_server(get_wsgi_application()) as url:
            yield url
    elif name == "flask":
        with wsgi_server(names["app"]) as url:
            yield url
    else:
        async with LoopbackServer(names.get("app") or names["application"]) as url:
            yield url


RECIPES = ["starlette", "fastapi", "litestar", "django-asgi", "django-view", "flask"]


@pytest.mark.parametrize("name", RECIPES)
async def test_recipe(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Events arrive and are answered 200; a wrong token 403, a broken body 400, a GET 405."""

    def refuse(voucher: StoredVoucher) -> list[str]:
        return ["Cod. Error: 10036"] if voucher.external_reference == "bad" else []

    async with serving(name) as url:
        hook = url + PATH
        async with Sandbox(
            ["good", "bad"], webhook=hook, webhook_token=TOKEN, process_after=0, refuse=refuse
        ) as sandbox:
            async with sandbox.client() as client:
                await client.reprocess_all(["good", "bad"])
            await sandbox.drain()
            (sender,) = sandbox._senders()
        async with httpx.AsyncClient() as http:
            headers, body = sign_webhook(TOKEN, external_reference="a")
            ours = {name.encode(): value.encode() for name, value in headers.items()}
            statuses = [
                (await http.post(hook, content=body, headers={"TF-WebhookToken": "wrong"})).status_code,
                (await http.post(hook, content=b"{", headers=ours)).status_code,
                (await http.get(hook, headers=ours)).status_code,
            ]
    assert [delivered.status for delivered in sender.log] == [200] * 4
    assert statuses == [403, 400, 405]
    await asyncio.sleep(0)
    printed = capsys.readouterr().out
    for told in ("encolado good", "encolado bad"):
        assert told in printed
    assert not [thread.name for thread in threading.enumerate() if "_monitor" in thread.name]
    assert ("needs a person bad" in printed) == ("on_event" in recipe(name))
