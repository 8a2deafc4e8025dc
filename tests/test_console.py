"""The sandbox's console: who may come in, what it changes, and the page in a real browser."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx
import pytest

from tests.browser import chromium, needs_chromium
from tusfacturas_async import AsyncClient, MaintenanceError, RetryPolicy
from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Sandbox, State, StoredVoucher

CROSS_SITE = "https://evil.example"


class Served:
    """A sandbox with its console on a real socket, and what speaks HTTP to it."""

    def __init__(self, sandbox: Sandbox, url: str, http: httpx.AsyncClient) -> None:
        self.sandbox = sandbox
        self.url = url
        self.origin = url.removesuffix("/app/api/")
        self.http = http

    async def post(self, path: str = "/console/switches", **options: Any) -> httpx.Response:
        headers = {"Origin": self.origin, "Content-Type": "application/json", **options.pop("headers", {})}
        content = options.pop("content", b'{"maintenance": true}')
        return await self.http.post(self.origin + path, headers=headers, content=content)

    def client(self) -> AsyncClient:
        once = RetryPolicy(attempts=1)
        return AsyncClient(self.sandbox.credentials, base_url=self.url, min_interval=0, retry=once)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    vouchers: list[str | StoredVoucher] = ["pedido-1", "pedido-2", "<img src=x onerror=alert(1)>"]
    vouchers.append(StoredVoucher("issued", State.ISSUED))
    async with Sandbox(vouchers, time_scale=1e3) as sandbox, sandbox.serve(console=True) as url:
        async with httpx.AsyncClient() as http:
            yield Served(sandbox, url, http)


# -- who may come in ------------------------------------------------------------------------------


async def test_the_page_loads_nothing_from_elsewhere(served: Served) -> None:
    """One file, whose own script and style alone may run; nobody may frame it."""
    answer = await served.http.get(served.origin)
    policy = answer.headers["content-security-policy"]
    assert (answer.status_code, "default-src 'none'" in policy) == (200, True)
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not any(word in answer.text for word in ("http://", "https://", "//cdn", " src="))


PATHS = ["/", "/console/events", "/console/switches", "/app/api/v2/facturacion/reenviar_encolado"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:{port}"},
        {"Host": "127.0.0.1:1"},
        {"Host": "127.0.0.1.evil.example:{port}"},
        {"Host": "localhost.evil.example:{port}"},
        {"Host": ""},
        {"Host": "192.0.2.1:{port}"},
        {"Origin": CROSS_SITE},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
    ],
    ids=str,
)
async def test_another_page_gets_nowhere(served: Served, path: str, headers: dict[str, str]) -> None:
    """Neither by a name that leads here (DNS rebinding), nor across sites; nor to the sandbox itself."""
    port = served.origin.rpartition(":")[2]
    sent = {name: value.format(port=port) for name, value in headers.items()}
    secrets = {name: getattr(SANDBOX_CREDENTIALS, name) for name in ("apikey", "apitoken", "usertoken")}
    body = json.dumps({"maintenance": True, **secrets}).encode()
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        answer = await served.http.request(
            method, served.origin + path, headers={"Content-Type": "application/json", **sent}, content=body
        )
        assert answer.status_code in {400, 403}, (method, answer)
        assert "access-control-allow-origin" not in answer.headers
    assert (served.sandbox.switches.maintenance, served.sandbox.queue.billed_calls) == (False, 0)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Origin": ""}}, 403),
        ({"headers": {"Content-Type": "text/plain"}}, 415),
        ({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415),
        ({"content": b"{"}, 400),
        ({"content": b"[]"}, 400),
        ({"content": b"[" * 3000}, 400),
        ({"content": b'{"maintenance": true' + b" " * 5000 + b"}"}, 400),
        ({"content": b'{"credentials": 1}'}, 400),
        ({"content": b'{"refuse": "x"}'}, 400),
        ({"content": b'{"rate_limit": 0}'}, 400),
        ({"content": b'{"latency": "slow"}'}, 400),
        ({"content": b'{"arca": "sleeps"}'}, 400),
        ({"content": b'{"arca": []}'}, 400),
    ],
    ids=str,
)
async def test_a_wrong_post_changes_nothing(served: Served, options: dict[str, Any], status: int) -> None:
    """Without an origin, of another type, of no such switch, of no such value."""
    before = repr(served.sandbox.switches)
    assert (await served.post(**options)).status_code == status
    assert repr(served.sandbox.switches) == before


@pytest.mark.parametrize("path", ["/", "/console/switches", "/console/events"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
async def test_only_a_post_to_the_switches_changes_something(served: Served, method: str, path: str) -> None:
    """No GET does, whatever it carries."""
    if (method, path) in {("GET", "/console/events"), ("POST", "/console/switches")}:
        return
    answer = await served.http.request(
        method, served.origin + path + "?maintenance=true", headers={"Origin": served.origin}, content=b"{}"
    )
    assert answer.status_code == (200 if path == "/" and method in {"GET", "HEAD"} else 405)
    assert served.sandbox.switches.maintenance is False


async def test_both_names_of_this_machine_are_taken(served: Served) -> None:
    """``localhost`` and ``127.0.0.1``, each with itself as origin."""
    port = served.origin.rpartition(":")[2]
    for name in (f"localhost:{port}", f"127.0.0.1:{port}", f"LOCALHOST:{port}"):
        answer = await served.post(headers={"Host": name, "Origin": f"http://{name}"})
        assert answer.status_code == 204
    crossed = await served.post(headers={"Host": f"localhost:{port}", "Origin": f"http://127.0.0.1:{port}"})
    assert crossed.status_code == 403


async def test_a_backend_calls_as_ever(served: Served) -> None:
    """A client sends no origin, and names the loopback host."""
    async with served.client() as client:
        await client.reprocess("pedido-1")
        assert len(await client.lookup("pedido-1", "issued")) == 2


# -- what it shows and changes --------------------------------------------------------------------


async def pictures(served: Served) -> AsyncGenerator[dict[str, Any], None]:
    async with served.http.stream("GET", served.origin + "/console/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        async for line in answer.aiter_lines():
            if line:
                yield json.loads(line.removeprefix("data: "))


async def test_the_stream_tells_what_happens(served: Served) -> None:
    """Each call with what it was billed, each delivery, the vouchers by state; also what a test does."""
    stream = pictures(served)
    first = await anext(stream)
    assert first["calls"] == first["deliveries"] == []
    assert [(state["state"], state["count"]) for state in first["vouchers"]] == [
        ("ERRORED", 3),
        ("QUEUED", 0),
        ("ISSUED", 1),
    ]
    served.sandbox.deliver_to("http://127.0.0.1:9/")
    served.sandbox.switches.lose_next = 1
    async with served.client() as client:
        await client.reprocess("pedido-1")
    async for picture in stream:
        if len(picture["calls"]) == 2 and picture["deliveries"]:
            break
    lookup, resend = picture["calls"]
    assert (resend["name"], resend["told"], resend["billed"]) == (
        "reenviar_encolado",
        "lost after the work",
        1,
    )
    assert (lookup["name"], lookup["told"], lookup["billed"]) == ("consulta_avanzada", "N 1 found", 0)
    delivered = picture["deliveries"][-1]
    assert (delivered["evento"], delivered["reference"], delivered["try"], delivered["status"]) == (
        "encolado",
        "pedido-1",
        1,
        None,
    )
    served.sandbox.queue.issue("pedido-1")
    async for picture in stream:
        if picture["vouchers"][2]["count"] == 2:
            break
    await stream.aclose()


async def test_switches_of_the_page(served: Served) -> None:
    """Each does what it says, with the next call."""
    for wanted in (
        {"maintenance": True, "rate_limit": 1, "latency": 0.001, "lookup_lag": 2},
        {"lose_next": 1},
    ):
        assert (await served.post(content=json.dumps(wanted).encode())).status_code == 204
        assert all(getattr(served.sandbox.switches, name) == value for name, value in wanted.items())


async def test_arca_takes_what_was_queued_before(served: Served) -> None:
    """Issued, or refused with a reason."""
    for number, (arca, state) in enumerate([("issues", State.ISSUED), ("refuses", State.ERRORED)], start=1):
        await served.post(content=b'{"arca": "waits"}')
        async with served.client() as client:
            await client.reprocess(f"pedido-{number}")
        await served.sandbox.drain()
        assert served.sandbox.queue[f"pedido-{number}"].state is State.QUEUED
        await served.post(content=json.dumps({"arca": arca}).encode())
        await served.sandbox.drain()
        assert served.sandbox.queue[f"pedido-{number}"].state is state


# -- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    async with chromium() as browser:
        yield browser


@needs_chromium
async def test_a_switch_is_clicked_and_the_next_call_fails(served: Served, browser: Any) -> None:
    """As a developer does it: click, call, read the row; and nothing that a reference holds is run."""
    page = await browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    await page.goto(served.origin)
    await page.get_by_text("live", exact=True).wait_for()
    await page.get_by_label("Lose the next answer").check()
    async with asyncio.timeout(10):
        while not served.sandbox.switches.lose_next:
            await asyncio.sleep(0.01)
    async with served.client() as client:
        result = await client.reprocess("pedido-1")
    assert [attempt.status_code for attempt in result.attempts] == [524]
    row = page.locator("#calls tbody tr", has_text="reenviar_encolado")
    await row.get_by_text("lost after the work").wait_for()
    told = await row.inner_text()
    assert all(word in told for word in ("billed", "pedido-1", "524"))
    await page.locator("#billed", has_text="1").wait_for()
    assert await page.get_by_label("Lose the next answer").is_checked() is False, "it counts down"

    await page.get_by_label("Maintenance").check()
    async with asyncio.timeout(10):
        while not served.sandbox.switches.maintenance:
            await asyncio.sleep(0.01)
    async with served.client() as client:
        with pytest.raises(MaintenanceError):
            await client.reprocess("pedido-2")
    await page.get_by_text("Estaremos realizando tareas de mantenimiento").first.wait_for()

    await page.get_by_label("Requests a second, at most").fill("0")
    await page.get_by_label("Requests a second, at most").blur()
    await page.get_by_text("rate_limit must be at least 1").wait_for()
    await page.locator("summary", has_text="errored").click()
    await page.get_by_text("<img src=x onerror=alert(1)>").wait_for()
    assert complaints == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]


@needs_chromium
async def test_a_page_elsewhere_cannot_drive_it(served: Served, browser: Any) -> None:
    """A real browser on another origin: its POSTs are refused, its reads are not shown to it."""

    async def evil(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<title>evil</title>"})

    from tusfacturas_async.sandbox import LoopbackServer  # noqa: PLC0415

    async with LoopbackServer(evil) as elsewhere:
        page = await browser.new_page()
        await page.goto(elsewhere)
        script = """async (origin) => {
            const told = [];
            for (const options of [
                {method: "POST", body: '{"maintenance": true}', mode: "no-cors"},
                {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}},
                {method: "GET"},
            ]) {
                const answer = await fetch(origin + "/console/switches", options).catch(() => null);
                told.push(answer === null ? "blocked" : answer.type);
            }
            const source = new EventSource(origin + "/console/events");
            told.push(await new Promise((resolve) => {
                source.onmessage = () => resolve("read");
                source.onerror = () => resolve("blocked");
            }));
            return told;
        }"""
        told = await page.evaluate(script, served.origin)
    assert told == ["opaque", "blocked", "blocked", "blocked"]
    assert served.sandbox.switches.maintenance is False


@needs_chromium
async def test_the_page_fits(served: Served, browser: Any) -> None:
    """Nothing is cut off or scrolls sideways, and the colours follow the system's."""
    async with served.client() as client:
        await client.reprocess("pedido-1")
        await client.lookup("pedido-1", "issued", "a-rather-long-reference-" + "x" * 200)
    for width, scheme in itertools.product((390, 1400), ("light", "dark")):
        page = await browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        await page.goto(served.origin)
        await page.locator("#calls tbody tr").nth(1).wait_for()
        wide = await page.evaluate("document.documentElement.scrollWidth")
        paper = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert wide == width
        assert (paper == "rgb(16, 21, 27)") == (scheme == "dark")
        await page.close()
