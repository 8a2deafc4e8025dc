"""A lean loopback server: httptools on uvloop, one fixed answer, an optional latency. Its own process."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = b'{"error": "N", "errores": []}'
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


class Connection(asyncio.Protocol):
    """Answers each request, at once or after ``latency`` seconds."""

    latency = 0.0

    def connection_made(self, transport: Any) -> None:
        import httptools  # noqa: PLC0415 - only in the server's process

        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self.latency:
            asyncio.get_running_loop().call_later(self.latency, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(ANSWER)


async def serve(latency: float) -> None:
    Connection.latency = latency
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def serving(latency: float) -> Iterator[int]:
    """The port of a server process."""
    command = [sys.executable, "-m", "tests.benchmarks.server", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(float(sys.argv[1])))
