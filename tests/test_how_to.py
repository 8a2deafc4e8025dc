"""The pages of ``docs/how-to``, run for real: each app as its page shows it, the service on loopback."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import sys
import tempfile
import types
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import certifi
import httpx
import pytest
import trustme
import uvicorn
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.urls import clear_url_caches
from flask import Flask
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.helpers import asked_by_all
from tests.test_recipes import wsgi_server
from tests.test_transport import tunnelling
from tusfacturas_async import AsyncClient, Journal, NotSentError, RetryPolicy, WebhookReceiver, sign_webhook
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, WEBHOOK_TOKEN, Sandbox

FOLDER = Path(__file__).parent.parent / "docs" / "how-to"
FRAMEWORKS = ["fastapi", "starlette", "litestar", "django-asgi", "django-wsgi", "flask"]
PAGES = {
    "background-sweep.md": ["background-sweep"],
    "frameworks.md": FRAMEWORKS,
    "proxies-and-tls.md": ["proxies-and-tls", "proxies-and-tls-own-client"],
    "several-workers.md": ["several-workers"],
    "webhook-inbox.md": ["webhook-inbox", "webhook-inbox-late"],
}


def recipes_of(page: str) -> dict[str, str]:
    text = (FOLDER / page).read_text()
    return dict(re.findall(r"<!-- recipe: (.*?) -->\n```python\n(.*?)```", text, re.DOTALL))


RECIPES = {name: source for page in PAGES for name, source in recipes_of(page).items()}
REFERENCES = [f"pedido-{n}" for n in range(6)]
ONCE = RetryPolicy(attempts=1)


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    async with asked_by_all(REFERENCES, monkeypatch) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox_url(sandbox: Sandbox) -> str:
    """What ``sandbox`` is served at."""
    return str((AsyncClient.__init__.__kwdefaults__ or {})["base_url"])


def names_of(recipe: str) -> dict[str, Any]:
    """What the recipe defines, as a module: frameworks look annotations up there."""
    module = sys.modules["how_to"] = types.ModuleType("how_to")
    module.__file__ = __file__
    # Litestar's default logging runs a thread, which would outlive the test.
    source = RECIPES[recipe].replace("lifespan=[lifespan])", "lifespan=[lifespan], logging_config=None)")
    exec(source, vars(module))  # noqa: S102 - it is our own documentation
    return vars(module)


def test_every_recipe_is_run() -> None:
    """What a page marks is executed here, and nowhere else."""
    assert {page: list(recipes_of(page)) for page in PAGES} == PAGES


@asynccontextmanager
async def living(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A browser before the app, whose lifespan it is within."""
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as browser,
    ):
        yield browser


async def until_it_ends(browser: httpx.AsyncClient, path: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while (told := (await browser.get(path)).json())["running"]:
            await asyncio.sleep(0.01)
    return dict(told)


async def test_a_background_sweep(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answered at once, told while it runs, stopped with the app; nothing is billed twice."""
    monkeypatch.setenv("SWEEPS", str(tmp_path))
    path = "/sweeps/2026-03-18"
    app = names_of("background-sweep")["app"]
    async with living(app) as browser:
        assert (await browser.get(path)).status_code == 404
        started = await browser.put(path, json=REFERENCES)
        assert (started.status_code, started.json()["running"]) == (202, True)
        again = await browser.put(path, json=["pedido-that-nobody-has"])
        assert (again.status_code, again.json()["running"]) == (202, True)
        while len(sandbox.queue.resent) < 2:
            await asyncio.sleep(0.001)
    (stopped,) = app.state.sweeps.values()
    assert not stopped.status()["running"]
    counts = stopped.status()["progress"]["done"]
    assert counts["accepted"] == len(sandbox.queue.resent) == sandbox.queue.billed_calls
    assert counts["held"] == len(REFERENCES) - counts["accepted"] > 0
    async with living(app) as browser:
        await browser.put(path, json=REFERENCES)
        told = await until_it_ends(browser, path)
    before = counts["accepted"]
    assert told["progress"]["done"] == {"accepted": len(REFERENCES) - before, "skipped": before}
    assert (sandbox.queue.billed_calls, told["error"]) == (len(REFERENCES), None)


async def test_a_background_sweep_tells_its_error(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stops it is in the status; so is a stop before its journal was open."""
    monkeypatch.setenv("SWEEPS", str(tmp_path))
    app = names_of("background-sweep")["app"]
    monkeypatch.setenv("TUSFACTURAS_APITOKEN", "not-a-token")
    async with living(app) as browser:
        await browser.put("/sweeps/2026-03-18", json=REFERENCES)
        told = await until_it_ends(browser, "/sweeps/2026-03-18")
        assert "401" in told["error"]
        await browser.put("/sweeps/2026-03-19", json=REFERENCES)
    assert [sweep.status()["running"] for sweep in app.state.sweeps.values()] == [False, False]
    assert sandbox.queue.billed_calls == 0


@pytest.fixture
def inbox_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUSFACTURAS_INBOX", str(tmp_path / "inbox"))
    monkeypatch.setenv("TUSFACTURAS_WEBHOOK_TOKEN", WEBHOOK_TOKEN)


async def test_an_inbox_in_the_lifespan(
    sandbox: Sandbox, inbox_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the service delivers is kept and handled; the app lives, ends and lives again."""
    names = names_of("webhook-inbox")
    app = names["app"]
    sandbox.deliver_to(app, path="/webhooks/tusfacturas")
    sandbox.switches.process_after = 0
    sandbox.switches.refuse = lambda _: ["Cod. Error: 10036"]
    for reference in REFERENCES[:2]:
        async with living(app) as browser:
            await app.state.client.reprocess(reference)
            await sandbox.drain()
            await names["inbox"].drain()
            assert (await browser.get(f"/vouchers/{reference}")).json() == {"evento": "error"}
            assert (await browser.get("/vouchers/nobody")).json() == {"evento": None}
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        "encolado pedido-0",
        "needs a person: pedido-0 ('Cod. Error: 10036',) errored",
        "encolado pedido-1",
        "needs a person: pedido-1 ('Cod. Error: 10036',) errored",
    ]


async def test_an_inbox_made_in_the_lifespan(inbox_environment: None) -> None:
    """The receiver is there before it. Without it, and by a mount, the service is told to deliver again."""
    app = names_of("webhook-inbox-late")["app"]
    headers, body = sign_webhook(WEBHOOK_TOKEN, external_reference="a")
    async with living(app) as browser:
        answer = await browser.post("/webhooks/tusfacturas", content=body, headers=headers)
        assert (answer.status_code, (await app.state.inbox.state("a")).evento) == (200, "encolado")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as browser:
        assert (await browser.post("/webhooks/tusfacturas", content=body, headers=headers)).status_code == 500


async def test_what_the_inbox_page_says_of_mounts(inbox_environment: None) -> None:
    """A mount redirects the URL without a slash, and a mounted app's lifespan does not run."""
    inner = names_of("webhook-inbox-late")["app"]
    headers, body = sign_webhook(WEBHOOK_TOKEN, external_reference="a")
    outer = Starlette(routes=[Mount("/hook", WebhookReceiver(nothing, tokens="t")), Mount("/site", inner)])
    async with living(outer) as browser:
        assert (await browser.post("/hook")).status_code == 307
        answer = await browser.post("/site/webhooks/tusfacturas", content=body, headers=headers)
        assert (answer.status_code, hasattr(inner.state, "inbox")) == (500, False)


async def nothing(event: object) -> None:
    """A handler."""


SERVED = """
import os
from tusfacturas_async import AsyncClient
AsyncClient.__init__.__kwdefaults__["base_url"] = os.environ["SANDBOX_URL"]
from how_to import app as inner

async def app(scope, receive, send):
    async def named(message):
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-worker", str(os.getpid()).encode())]
        await send(message)
    await inner(scope, receive, named)
"""
SERVERS = {
    "uvicorn": ["uvicorn", "--uds", "{socket}", "--log-level", "warning", "served:app"],
    "gunicorn": [
        *("gunicorn", "-k", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "90"),
        *("--bind", "unix:{socket}", "--log-level", "warning", "served:app"),
    ],
}


async def answers(path: str) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:  # it is bound before a worker listens
        return False
    writer.close()
    return True


@asynccontextmanager
async def two_workers(server: str, recipe: str, folder: Path, **environment: str) -> AsyncIterator[str]:
    """The recipe in two processes of a real server; ended by SIGTERM. Gives its socket's path."""
    (folder / "how_to.py").write_text(RECIPES[recipe])
    (folder / "served.py").write_text(SERVED)
    environment |= {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path]), "WEB_CONCURRENCY": "2"}
    # Not the test's folder: the name of a socket holds 107 bytes, and that path may be any length.
    with tempfile.TemporaryDirectory(prefix="http-", dir="/tmp") as short:
        path = f"{short}/socket"
        command = [each.format(socket=path) for each in SERVERS[server]]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command), env=os.environ | environment, cwd=folder
        )
        try:
            async with asyncio.timeout(60):
                while not await answers(path):
                    assert process.returncode is None
                    await asyncio.sleep(0.02)
            yield path
            process.terminate()
            async with asyncio.timeout(60):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def ask(uds: str, method: str, path: str, **options: Any) -> httpx.Response:
    """By a connection of its own, so that any worker may answer."""
    transport = httpx.AsyncHTTPTransport(uds=uds, retries=3)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", timeout=30) as browser:
        return await browser.request(method, path, **options)


@pytest.mark.parametrize("server", SERVERS)
async def test_several_workers(server: str, sandbox: Sandbox, sandbox_url: str, tmp_path: Path) -> None:
    """One worker sweeps, the others are kept away and tell its state; SIGTERM drains it."""
    path, references = "/sweeps/2026-03-18", [f"sweep-{n}" for n in range(200)]
    for reference in references:
        sandbox.queue.add(reference)
    async with two_workers(
        server, "several-workers", tmp_path, SANDBOX_URL=sandbox_url, SWEEPS=str(tmp_path)
    ) as socket:
        assert (await ask(socket, "GET", path)).status_code == 404
        (tmp_path / "2026-03-19.journal").write_text("something else\n" * 99)
        broken = await ask(socket, "PUT", "/sweeps/2026-03-19", json=references)
        assert broken.status_code == 500, "nobody has it: waiting would not help"
        started = await ask(socket, "PUT", path, json=references)
        sweeper = started.headers["x-worker"]
        assert started.status_code == 202
        refused: set[str] = set()
        told: dict[str, int] = {}
        async with asyncio.timeout(30):
            while refused <= {sweeper} or not told.get("accepted"):
                again = await ask(socket, "PUT", path, json=references)
                assert (again.status_code, "in use" in again.text) == (409, True)
                refused.add(again.headers["x-worker"])
                status = await ask(socket, "GET", path)
                told = status.json()
    async with Journal.read(tmp_path / "2026-03-18.journal") as rows:
        summary = await rows.summary()
    assert summary["accepted"] == sandbox.queue.billed_calls == len(sandbox.queue.resent) < len(references)
    assert "sending" not in summary


async def test_the_workers_share_the_spacing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes as many times the spacing as there are."""
    monkeypatch.setenv("WEB_CONCURRENCY", "3")
    app = names_of("several-workers")["app"]
    async with living(app):
        assert app.state.client.min_interval == pytest.approx(0.3)


@asynccontextmanager
async def real_server(app: Any, **options: Any) -> AsyncIterator[int]:
    """uvicorn in this event loop; gives its port."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, **options))
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    yield listener.getsockname()[1]
    server.should_exit = True
    await serving


@asynccontextmanager
async def tls_sandbox(sandbox: Sandbox, folder: Path) -> AsyncIterator[int]:
    """The sandbox behind TLS, for clients with a certificate alone; the folder gets the files."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(folder / "client.pem"))
    authority.issue_cert("service.invalid", "localhost").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    files = {"ssl_certfile": "server.pem", "ssl_keyfile": "server.pem", "ssl_ca_certs": "ca.pem"}
    options = {name: str(folder / file) for name, file in files.items()}
    async with real_server(sandbox, lifespan="off", ssl_cert_reqs=ssl.CERT_REQUIRED, **options) as port:
        yield port


async def test_proxies_and_tls(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a tunnel of the proxy, with the company's authority and the client's certificate."""
    async with tls_sandbox(sandbox, tmp_path) as port, tunnelling(port) as (proxy, heads):
        for name, value in {
            "COMPANY_CA": f"{tmp_path}/ca.pem",
            "CLIENT_CERTIFICATE": f"{tmp_path}/client.pem",
            "COMPANY_PROXY": proxy,
            "PROXY_PASSWORD": "a password",
            "GATEWAY_KEY": "a key",
        }.items():
            monkeypatch.setenv(name, value)
        resend = names_of("proxies-and-tls")["resend"]
        assert await resend("pedido-0", base_url="https://service.invalid/app/api/") == "accepted"
        (head,) = heads
        assert head.startswith(b"CONNECT service.invalid:443 ")
        assert b"Basic " + b64encode(b"app:a password") in head

        resend = names_of("proxies-and-tls-own-client")["resend"]
        assert await resend("pedido-1", base_url=f"https://localhost:{port}/app/api/") == "accepted"
        monkeypatch.setenv("COMPANY_CA", certifi.where())
        with pytest.raises(NotSentError, match="certificate"):
            await resend(
                "pedido-2", base_url=f"https://localhost:{port}/app/api/", retry=RetryPolicy(attempts=1)
            )
    assert sandbox.queue.resent == ["pedido-0", "pedido-1"]


async def test_a_transport_of_ones_own_takes_the_environments_place(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It connects directly, whatever proxy the environment names; the default asks that proxy."""
    options: dict[str, Any] = {
        "base_url": "https://service.invalid/app/api/",
        "retry": RetryPolicy(attempts=1),
    }
    async with tunnelling(1) as (proxy, heads):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        for transport, asked in ((httpx.AsyncHTTPTransport, 0), (None, 1)):
            async with AsyncClient(SANDBOX_CREDENTIALS, transport=transport, **options) as client:
                with pytest.raises(NotSentError):
                    await client.reprocess("pedido-0")
            assert len(heads) == asked


@pytest.fixture
def django_settings() -> Iterator[None]:
    """Django's, for the recipe's own URLs."""
    if not settings.configured:  # as in test_recipes, whichever comes first
        sys.modules["recipe_urls"] = types.ModuleType("recipe_urls")
        sys.modules["recipe_urls"].urlpatterns = []  # type: ignore[attr-defined]
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF="recipe_urls", SECRET_KEY="for tests")
    clear_url_caches()
    with override_settings(ROOT_URLCONF="how_to"):
        yield
    clear_url_caches()


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """By uvicorn with the app's lifespan, or by a WSGI server."""
    if isinstance(app, Flask | WSGIHandler):
        with wsgi_server(app) as url:
            yield url
    else:
        async with real_server(app) as port:
            yield f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_frameworks(name: str, sandbox: Sandbox, django_settings: None) -> None:
    """Each re-sends, tells what went wrong, and goes on."""
    names = names_of(name)
    async with served(names.get("app") or names["application"]) as url, httpx.AsyncClient() as browser:
        answers = [await browser.post(f"{url}resend/{each}") for each in ("pedido-0", "nobody", "pedido-1")]
        wrong = await browser.get(f"{url}resend/pedido-2")
    assert [answer.status_code for answer in answers] == [200, 409, 200]
    assert [answers[0].json(), answers[2].json()] == [{"outcome": "accepted"}] * 2
    assert answers[1].json()["detail"] == "No se han encontrado comprobantes."
    assert (wrong.status_code, sandbox.queue.resent) == (405, ["pedido-0", "pedido-1"])
