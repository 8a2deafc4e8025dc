"""A real HTTP server on loopback, in the running event loop (uvicorn, extra ``sandbox``)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

_POLL = 0.005


class LoopbackServer:
    """Serves an ASGI app on 127.0.0.1: ``async with LoopbackServer(app) as url``.

    Args:
        app: The ASGI app.
        port: 0 for any free one.
        path: What the URL ends with.

    Raises:
        TypeError: ``app`` cannot be called.
        RuntimeError: uvicorn is not installed.
        OSError: The port is taken.
    """

    def __init__(self, app: Callable[..., Any], *, port: int = 0, path: str = "") -> None:
        if not callable(app):
            raise TypeError(f"app must be an ASGI app, not {type(app).__name__}")
        try:
            import uvicorn  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise RuntimeError(
                "the loopback server needs uvicorn: pip install 'tusfacturas-async[sandbox]'"
            ) from error

        class Server(uvicorn.Server):
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals belong to the application that embeds us

        config = uvicorn.Config(
            app,
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,  # the app's own: it has the service's clock
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = Server(config)
        self._port = port
        self._path = path
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> str:
        listener = socket.create_server(("127.0.0.1", self._port), backlog=1024)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._task.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(_POLL)
        return f"http://127.0.0.1:{listener.getsockname()[1]}/{self._path}"

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        if self._task is not None:
            await self._task
