"""What a user may pass to send by: their client, their transport, what makes one; of httpx or httpx2."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
from typing import Any

import httpx
import httpx2
import pytest
from pyreqwest.compatibility.httpx import HttpxTransport

from tests.helpers import ended, spoken
from tests.loopback import Fault, Loopback
from tests.loopback.faults import LOST
from tests.loopback.server import CREDENTIALS
from tusfacturas_async import AsyncClient, DirectTransport, Evidence, Outcome, RetryPolicy, SlotsTransport
from tusfacturas_async._http.evidence import Leave
from tusfacturas_async._http.transport import Transport, TransportFailure
from tusfacturas_async._wire.codec import REPROCESS
from tusfacturas_async.sandbox import Queue

ONCE = RetryPolicy(attempts=1, backoff=0)
LIBRARIES = pytest.mark.parametrize("module", [httpx, httpx2], ids=["httpx", "httpx2"])


def nobodys_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/"


# -- what is taken --------------------------------------------------------------------------------


@LIBRARIES
@pytest.mark.parametrize(
    "made",
    [
        lambda module: {"http_client": module.AsyncClient()},
        lambda module: {"transport": module.AsyncHTTPTransport()},
        lambda module: {"transport": module.AsyncHTTPTransport},
        lambda module: {"transport": lambda: module.AsyncHTTPTransport(retries=1)},
        lambda module: {"transport": SlotsTransport(module.AsyncHTTPTransport)},
        lambda module: {
            "http_client": module.AsyncClient(transport=SlotsTransport(module.AsyncHTTPTransport))
        },
        lambda module: {"http_client": module.AsyncClient(transport=DirectTransport())},
    ],
    ids=["client", "transport", "class", "callable", "slots", "client over slots", "client over direct"],
)
async def test_what_is_taken(made: Any, module: Any, hasty: RetryPolicy) -> None:
    """It carries the requests; an answer that it loses is settled by lookup."""
    passed = made(module)
    lost = LOST[0].after_processing()
    async with Loopback(Queue(["a", "b", "c"]), [lost]) as server:
        async with AsyncClient(
            CREDENTIALS, base_url=server.url, min_interval=0, retry=hasty, **passed
        ) as client:
            report = await client.reprocess_all(["a", "b", "c"])
        assert report.counts == {Outcome.ACCEPTED: 3}
        assert sorted(server.resends) == ["a", "b", "c"]
    if theirs := passed.get("http_client"):
        assert not theirs.is_closed, "it is not ours to close"
        await theirs.aclose()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda: {"transport": httpx.AsyncClient()}, "httpx.AsyncClient"),
        (lambda: {"transport": httpx.AsyncClient}, "the class httpx.AsyncClient"),
        (lambda: {"transport": httpx2.AsyncClient()}, "httpx2.AsyncClient"),
        (lambda: {"transport": httpx.HTTPTransport()}, "HTTPTransport"),
        (lambda: {"transport": httpx.HTTPTransport}, "HTTPTransport"),
        (lambda: {"transport": lambda: httpx.HTTPTransport(retries=1)}, "HTTPTransport"),
        (lambda: {"transport": lambda: None}, "NoneType"),
        (lambda: {"transport": "https://proxy"}, "str"),
        (lambda: {"transport": Queue}, "the class"),
        (lambda: {"transport": _app}, "function"),
        (lambda: {"transport": _coroutine}, "function"),
        (lambda: {"transport": DirectTransport()}, "pass the class"),
        (lambda: {"http_client": httpx.Client()}, "httpx.Client"),
        (lambda: {"http_client": httpx.AsyncClient}, "the class httpx.AsyncClient"),
        (lambda: {"http_client": httpx.AsyncHTTPTransport()}, "AsyncHTTPTransport"),
        (lambda: {"http_client": "https://proxy"}, "str"),
        (lambda: {"http_client": httpx.AsyncClient(), "transport": DirectTransport}, "both"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_taken(wrong: Any, named: str) -> None:
    """Told where it is given, by a ``TypeError`` that names it and what is taken."""
    with pytest.raises(TypeError, match=named) as raised:
        AsyncClient(CREDENTIALS, **wrong())
    assert "httpx.AsyncBaseTransport" in str(raised.value)


async def _app(scope: Any, receive: Any, send: Any) -> None: ...


async def _coroutine() -> httpx.AsyncHTTPTransport:
    return httpx.AsyncHTTPTransport()


# -- a client of the user's -----------------------------------------------------------------------


@LIBRARIES
async def test_a_users_client_adds_what_is_theirs_and_nothing_more(module: Any) -> None:
    """Hooks, mounts and default headers apply; auth, redirects, base URL and time limits do not."""
    seen: list[Any] = []

    def handler(request: Any) -> Any:
        seen.append(request)
        return module.Response(302, headers={"Location": "https://elsewhere/"})

    async def hook(request: Any) -> None:
        request.headers["X-Hook"] = "was here"

    theirs = module.AsyncClient(
        base_url="https://elsewhere/",
        auth=("user", "password"),
        follow_redirects=True,
        timeout=0.000001,
        headers={"X-Gateway": "key", "User-Agent": "theirs", "Accept-Encoding": "br"},
        event_hooks={"request": [hook]},
        mounts={"https://www.tusfacturas.app": module.MockTransport(handler)},
    )
    async with theirs, AsyncClient(CREDENTIALS, http_client=theirs, retry=ONCE) as client:
        result = await ended(client)
    assert result.outcome is Outcome.UNKNOWN  # nobody documents a redirect
    (first, *_) = seen
    assert str(first.url) == "https://www.tusfacturas.app/app/api/v2/facturacion/reenviar_encolado"
    assert {request.url.host for request in seen} == {"www.tusfacturas.app"}
    told = {name: first.headers.get(name) for name in ("X-Gateway", "X-Hook", "User-Agent", "Authorization")}
    assert told == {
        "X-Gateway": "key",
        "X-Hook": "was here",
        "User-Agent": "tusfacturas-async",
        "Authorization": None,
    }
    assert first.headers["Accept-Encoding"] == "gzip, deflate", "we unpack no other"
    assert first.extensions["timeout"]["read"] == 30.0


@LIBRARIES
async def test_a_users_client_proves_by_its_trace_alone(module: Any) -> None:
    """A refused connection is told by httpcore's trace; an exception's class proves nothing."""
    async with module.AsyncClient() as theirs:
        async with AsyncClient(CREDENTIALS, base_url=nobodys_url(), http_client=theirs, retry=ONCE) as client:
            assert (await ended(client)).outcome is Outcome.NOT_SENT

    def refuse(request: Any) -> Any:
        raise module.ConnectError("a reply lost, as some transports call it")

    async with module.AsyncClient(transport=module.MockTransport(refuse)) as theirs:
        async with AsyncClient(CREDENTIALS, http_client=theirs, retry=ONCE) as client:
            assert (await ended(client)).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("by", ["slots", "direct", "transport", "client"])
async def test_what_forbids_a_late_request_keeps_it_from_leaving(by: str) -> None:
    """Nothing of it arrives, and that is what is told, by whatever it would have been sent."""

    class Forbidding(Leave):
        def begin(self) -> None:
            raise TransportFailure("the lease is gone", Evidence.NOT_SENT)

    async with Loopback(Queue(["ref"])) as server, httpx.AsyncClient() as theirs:
        passed: dict[str, dict[str, Any]] = {
            "slots": {},
            "direct": {"transport": DirectTransport},
            "transport": {"transport": httpx.AsyncHTTPTransport()},
            "client": {"http_client": theirs},
        }
        transport = Transport(server.url, **passed[by])
        with pytest.raises(TransportFailure, match="the lease is gone") as raised:
            await transport.post(REPROCESS, b"{}", timeout=5, leave=Forbidding())
        await transport.aclose()
    assert (raised.value.evidence, server.resends) == (Evidence.NOT_SENT, [])


async def test_a_users_client_that_was_closed() -> None:
    """Nothing was sent, and it says why."""
    theirs = httpx.AsyncClient()
    async with AsyncClient(CREDENTIALS, http_client=theirs, retry=ONCE) as client:
        await theirs.aclose()
        result = await ended(client)
    assert (result.outcome, "http_client was closed" in str(result.error)) == (Outcome.NOT_SENT, True)


async def retrying(send: Any, request: Any) -> Any:
    """As transports do that are made to: what failed, and what answers 5xx, is sent again."""
    for _ in range(2):
        try:
            response = await send(request)
        except Exception:  # noqa: BLE001, S112
            continue
        if response.status_code < 500:
            return response
        await response.aclose()
    return await send(request)


@LIBRARIES
@pytest.mark.parametrize("inner", ["httpx's", "direct"])
@pytest.mark.parametrize("given", ["http_client", "transport", "slots"])
@pytest.mark.parametrize("fault", [LOST[0], LOST[8]], ids=lambda fault: fault.name)
async def test_what_retries_by_itself_is_kept_from_billing_twice(
    fault: Fault, given: str, inner: str, module: Any, hasty: RetryPolicy
) -> None:
    """It would be told "not found" of what its first try had queued, and nobody would know what it cost."""

    class Retrying(module.AsyncBaseTransport):  # type: ignore[misc]
        def __init__(self) -> None:
            self._inner = DirectTransport() if inner == "direct" else module.AsyncHTTPTransport()

        async def handle_async_request(self, request: Any) -> Any:
            return await retrying(self._inner.handle_async_request, request)

        async def aclose(self) -> None:
            await self._inner.aclose()

    made: Any = Retrying
    options: dict[str, Any] = {
        "http_client": lambda: {"http_client": module.AsyncClient(transport=made())},
        "transport": lambda: {"transport": made()},
        "slots": lambda: {"transport": made},
    }[given]()
    async with Loopback(Queue(["ref"]), [fault.after_processing()]) as server:
        async with AsyncClient(
            CREDENTIALS, base_url=server.url, min_interval=0, retry=hasty, **options
        ) as client:
            result = await ended(client)
        assert (result.outcome, result.billed_calls) == (Outcome.ACCEPTED, 1)
        assert len(server.resends) == 1
    if "http_client" in options:
        await options["http_client"].aclose()


async def test_a_detour_that_tells_nothing_proves_nothing() -> None:
    """A transport that falls back on another way after a refused connection may have sent by that one."""

    class Fallback(httpx.AsyncBaseTransport):
        def __init__(self) -> None:
            self._first, self._second = httpx.AsyncHTTPTransport(), HttpxTransport()

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            url = request.url
            request.url = httpx.URL(nobodys_url())
            try:
                return await self._first.handle_async_request(request)
            except httpx.ConnectError:
                request.url = url
                raise httpx.ReadError("the second way lost its reply") from None

        async def aclose(self) -> None:
            await self._first.aclose()
            await self._second.aclose()

    async with AsyncClient(CREDENTIALS, transport=Fallback(), retry=ONCE) as client:
        result = await ended(client)
    assert [attempt.evidence for attempt in result.attempts] == [Evidence.MAYBE_SENT]


async def test_no_cookie_is_kept() -> None:
    """An answer that sets some changes no later request."""
    seen: list[str | None] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("Cookie"))
        return httpx.Response(200, json={"error": "N", "errores": []}, headers={"Set-Cookie": "a=b"})

    async with AsyncClient(CREDENTIALS, transport=httpx.MockTransport(handler), min_interval=0) as client:
        await client.reprocess_all(["a", "b"])
    assert seen == [None, None]


# -- httpx, httpx2, or both -----------------------------------------------------------------------

ALONE = """
    import sys
    for name in {blocked!r}:
        sys.modules[name] = None
    import asyncio
    from tusfacturas_async import AsyncClient, DirectTransport, NotSentError, RetryPolicy
    from tusfacturas_async.sandbox import Sandbox

    async def main():
        async with Sandbox(["a", "b", "c"], process_after=0) as sandbox, sandbox.serve() as url:
            for reference, options in {{"a": {{}}, "b": {{"transport": DirectTransport}}}}.items():
                async with AsyncClient(sandbox.credentials, base_url=url, **options) as client:
                    assert (await client.reprocess(reference)).settled_by == "response"
            async with sandbox.client() as client:
                await client.reprocess("c")
        async with AsyncClient(sandbox.credentials, base_url=url, retry=RetryPolicy(attempts=1)) as client:
            try:
                await client.reprocess("a")
            except NotSentError:
                print(*sorted({{"httpx", "httpx2"}} & {{n for n, m in sys.modules.items() if m}}))

    asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("blocked", "loaded"),
    [
        (["httpx", "httpcore"], "httpx2"),
        (["httpx2", "httpcore2"], "httpx"),
        ([], "httpx"),
    ],
    ids=["httpx2 alone", "httpx alone", "both"],
)
def test_with_either_installed(blocked: list[str], loaded: str) -> None:
    """One is enough; with both it is httpx, and nothing loads the other."""
    code = textwrap.dedent(ALONE.format(blocked=blocked))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), spoken(done.stderr)) == (loaded, "")


def test_direct_without_a_parser_says_what_to_install() -> None:
    """Where it is constructed."""
    code = """
        import sys
        sys.modules["httptools"] = sys.modules["h11"] = None
        from tusfacturas_async import DirectTransport
        DirectTransport()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert "pip install 'tusfacturas-async[speed]'" in done.stderr.splitlines()[-1]


def test_direct_without_the_extra_uses_h11() -> None:
    """httpx brings it along."""
    code = """
        import sys
        sys.modules["httptools"] = sys.modules["aiohappyeyeballs"] = None
        from tusfacturas_async import DirectTransport
        DirectTransport()
        print("h11" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


async def test_slots_follow_concurrency() -> None:
    """As many connections as requests in flight, whichever way."""
    for transport in (None, DirectTransport, httpx2.AsyncHTTPTransport):
        async with Loopback(Queue([f"r{n}" for n in range(30)])) as server:
            server.latency = 0.01
            async with AsyncClient(
                CREDENTIALS, base_url=server.url, min_interval=0, max_concurrency=7, transport=transport
            ) as client:
                await asyncio.gather(*(client.reprocess(f"r{n}") for n in range(30)))
            assert server.most_open == 7
