"""The pytest plugin, in pytest runs of its own: fixtures for every kind of test, and a guard."""

from __future__ import annotations

from pathlib import Path

from tests.ecosystem.runs import run_pytest

APP = """
    import asyncio
    import sys
    from contextlib import asynccontextmanager

    import httpx
    import pytest
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse
    from starlette.routing import Route
    from tusfacturas_async import AsyncClient, Credentials, ErrorWebhook, WebhookReceiver

    def backend():
        told = []

        async def on_event(event):
            told.append((event.evento, event.external_reference))

        @asynccontextmanager
        async def lifespan(app):
            async with AsyncClient(Credentials.from_env(), min_interval=60) as app.state.client:
                yield

        async def resend(request):
            report = await request.app.state.client.reprocess_all(await request.json())
            return JSONResponse({r.external_reference: r.outcome for r in report.results})

        import os
        receiver = WebhookReceiver(on_event, tokens=os.environ["TUSFACTURAS_WEBHOOK_TOKEN"])
        app = Starlette(
            lifespan=lifespan,
            routes=[Route("/resend", resend, methods=["POST"]), Route("/hooks/tf", receiver)],
        )
        app.state.told = told
        return app
"""


def test_the_fixtures_serve_every_kind_of_test(tmp_path: Path) -> None:
    """A client that the backend makes by itself reaches the sandbox, and the sandbox the backend.

    In a synchronous test over starlette's test client, by pytest-asyncio's strict mode and ``asyncio.run``.
    """
    run = run_pytest(
        tmp_path,
        APP
        + """
    def test_synchronous(tusfacturas_sandbox, tusfacturas_webhooks):
        from starlette.testclient import TestClient

        tusfacturas_sandbox.queue.add("pedido-1")
        tusfacturas_sandbox.queue.add("pedido-2")
        with TestClient(backend()) as browser:
            answer = browser.post("/resend", json=["pedido-1", "pedido-2", "pedido-3"])
        assert answer.json() == {"pedido-1": "accepted", "pedido-2": "accepted", "pedido-3": "not_found"}
        assert tusfacturas_sandbox.queue.billed_calls == 3

    @pytest.mark.asyncio
    async def test_with_pytest_asyncio(tusfacturas_sandbox, tusfacturas_webhooks):
        tusfacturas_sandbox.queue.add("pedido-1")
        tusfacturas_sandbox.switches.process_after = 0
        app = backend()
        tusfacturas_webhooks.connect(app, "/hooks/tf")
        async with app.router.lifespan_context(app):
            await app.state.client.reprocess("pedido-1")
            await tusfacturas_sandbox.drain()
        assert sorted(app.state.told) == [("emitido", "pedido-1"), ("encolado", "pedido-1")]

    @pytest.mark.asyncio
    async def test_what_is_delivered(tusfacturas_webhooks):
        with pytest.raises(RuntimeError, match="connect"):
            await tusfacturas_webhooks.deliver("error", "pedido-1")
        app = backend()
        tusfacturas_webhooks.connect(app, "/hooks/tf")
        assert await tusfacturas_webhooks.deliver("error", "pedido-1", msg=["Cod. Error: 10036"]) == 200
        assert await tusfacturas_webhooks.deliver("error", "pedido-1", recurso="test") == 200
        assert await tusfacturas_webhooks.deliver("error") == 400
        assert app.state.told == [("error", "pedido-1"), ("error", "pedido-1")]
        tusfacturas_webhooks.token = "another"
        tusfacturas_webhooks.connect(app, "/hooks/tf")
        assert await tusfacturas_webhooks.deliver("error", "pedido-1") == 403

        async def broken(scope, receive, send):
            raise LookupError("the app's own")

        tusfacturas_webhooks.connect(broken)
        with pytest.raises(LookupError, match="the app's own"):
            await tusfacturas_webhooks.deliver("error", "pedido-1")

    def test_what_is_left_under_way_is_left_behind(tusfacturas_sandbox, tusfacturas_webhooks):
        tusfacturas_sandbox.queue.add("pedido-1")
        tusfacturas_sandbox.switches.process_after = 3600

        async def main():
            async with AsyncClient(Credentials.from_env()) as client:
                await client.reprocess("pedido-1")

        asyncio.run(main())

    def test_everything_is_as_it_was():
        import os
        assert "TUSFACTURAS_APIKEY" not in os.environ
        assert not hasattr(AsyncClient.__init__, "__wrapped__")
    """,
        *("-o", "asyncio_mode=strict"),
    )
    assert set(run.outcomes.values()) == {"passed"}, run.printed
    assert len(run.outcomes) == 5


def test_nothing_of_ours_loads_before_it_is_used(tmp_path: Path) -> None:
    """Who has the package installed and runs other tests pays for no client and no sandbox."""
    run = run_pytest(
        tmp_path,
        """
    import sys

    def test_other(pytestconfig):
        assert pytestconfig.pluginmanager.hasplugin("tusfacturas")
        ours = {name for name in sys.modules if name.startswith("tusfacturas_async")}
        heavy = {"client", "sandbox", "webhooks", "journal", "_http", "_call", "testing.guard"}
        assert not {f"tusfacturas_async.{name}" for name in heavy} & ours, ours
    """,
    )
    assert run.outcomes == {"test_other": "passed"}, run.printed


GUARDED = """
    import asyncio
    import contextlib

    import httpx
    import pytest
    from tusfacturas_async import AsyncClient, Credentials, DirectTransport, RetryPolicy, TusFacturasError
    from tusfacturas_async.sandbox import Sandbox

    ELSEWHERE = "https://service.invalid/app/api/"
    CREDENTIALS = Credentials("1134", "an-api-token", "a-user-token")

    async def call(**options):
        async with AsyncClient(CREDENTIALS, **options) as client:
            with contextlib.suppress(TusFacturasError, Exception):
                await client.reprocess_all(["a", "b"])

    def test_leaves():
        asyncio.run(call(base_url=ELSEWHERE))

    def test_leaves_and_hides_it():
        async def main():
            with contextlib.suppress(BaseException):
                await call(base_url=ELSEWHERE)
        asyncio.run(main())

    def test_leaves_by_httpxs_own_transport():
        asyncio.run(call(base_url=ELSEWHERE, transport=httpx.AsyncHTTPTransport()))

    def test_leaves_by_a_client_of_the_users():
        async def main():
            async with httpx.AsyncClient() as users:
                await call(base_url=ELSEWHERE, http_client=users)
        asyncio.run(main())

    def test_leaves_by_a_connection_of_our_own():
        asyncio.run(call(base_url=ELSEWHERE, transport=DirectTransport))

    def test_leaves_by_a_transport_that_tells_nothing():
        class Foreign(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request):
                await asyncio.open_connection("192.0.2.1", 443)
        asyncio.run(call(base_url=ELSEWHERE, transport=Foreign()))

    def test_leaves_unseen_by_python():
        from pyreqwest.client import ClientBuilder
        from pyreqwest.compatibility.httpx import HttpxTransport
        async def main():
            async with ClientBuilder().build() as client:
                await call(base_url=ELSEWHERE, transport=HttpxTransport(client))
        asyncio.run(main())

    @pytest.mark.parametrize("way", ["slots", "client"])
    def test_leaves_unseen_behind_something(way):
        from pyreqwest.client import ClientBuilder
        from pyreqwest.compatibility.httpx import HttpxTransport
        async def main():
            async with ClientBuilder().build() as client:
                new = lambda: HttpxTransport(client)
                async with httpx.AsyncClient(transport=new()) as users:
                    told = {"transport": new} if way == "slots" else {"http_client": users}
                    await call(base_url=ELSEWHERE, **told)
        asyncio.run(main())

    def test_leaves_for_loopback_by_a_proxy():
        async def main():
            async with httpx.AsyncClient(proxy="http://192.0.2.1:3128") as users:
                await call(base_url="http://127.0.0.1:9/", http_client=users)
        asyncio.run(main())

    @pytest.fixture
    def leaving():
        asyncio.run(call(base_url=ELSEWHERE))

    def test_leaves_in_a_fixture(leaving):
        pass

    @pytest.fixture
    def leaving_late():
        yield
        asyncio.run(call(base_url=ELSEWHERE))

    def test_leaves_in_the_end(leaving_late):
        pass

    @pytest.mark.tusfacturas_network
    def test_may_leave():
        asyncio.run(call(base_url=ELSEWHERE, retry=RetryPolicy(attempts=1)))

    def test_stays_in_process(tusfacturas_sandbox):
        asyncio.run(call())
        assert len(tusfacturas_sandbox.calls) == 0  # other credentials: it came, and was refused

    def test_the_app_that_is_told_may_leave(tusfacturas_sandbox, tusfacturas_webhooks):
        left = []
        async def app(scope, receive, send):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(0.2):
                    left.append(scope["type"])
                    await asyncio.open_connection("192.0.2.1", 5432)  # its database
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        async def main():
            tusfacturas_webhooks.connect(app)
            tusfacturas_sandbox.queue.add("a")
            async with AsyncClient(Credentials.from_env()) as client:
                await client.reprocess("a")
            await tusfacturas_sandbox.drain()
        asyncio.run(main())
        assert left

    def test_stays_on_loopback():
        async def main():
            async with Sandbox() as sandbox, sandbox.serve() as url:
                await call(base_url=url)
                assert len(sandbox.calls) == 0  # other credentials
                async with AsyncClient(sandbox.credentials, base_url=url) as client:
                    assert await client.lookup("a") == []
        asyncio.run(main())

    def test_stays_with_a_mock():
        def answer(request):
            return httpx.Response(200, json={"error": "N", "errores": []})
        asyncio.run(call(base_url=ELSEWHERE, transport=httpx.MockTransport(answer)))

    def test_others_may_leave():
        async def main():
            with contextlib.suppress(OSError):
                async with asyncio.timeout(0.2):
                    await asyncio.open_connection("192.0.2.1", 443)
        asyncio.run(main())
"""


def test_the_guard_fails_what_leaves_and_nothing_else(tmp_path: Path) -> None:
    """By whatever transport, also where the app swallows the failure; in fixtures; by the ini option, too."""
    run = run_pytest(tmp_path, GUARDED, "--tusfacturas-no-network")
    left = {name for name, outcome in run.outcomes.items() if outcome in {"failed", "error"}}
    assert left == {name for name in run.outcomes if name.startswith("test_leaves")}, run.printed
    assert len(run.outcomes) == 18
    assert run.printed.count("would have connected to service.invalid") >= 9
    assert "an-api-token" not in run.printed
    by_ini = run_pytest(
        tmp_path, GUARDED, *("-o", "tusfacturas_no_network=true", "-k", "test_leaves_and_hides_it")
    )
    assert by_ini.outcomes == {"test_leaves_and_hides_it": "failed"}, by_ini.printed


def test_without_the_option_nothing_is_guarded(tmp_path: Path) -> None:
    """What leaves passes, or fails, by itself."""
    run = run_pytest(tmp_path, GUARDED, "-k", "test_leaves_and_hides_it")
    assert run.outcomes == {"test_leaves_and_hides_it": "passed"}, run.printed
