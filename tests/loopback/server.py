"""A raw asyncio HTTP server over the sandbox's pure queue: it can break wherever a byte can go missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

from tusfacturas_async.sandbox import SANDBOX_CREDENTIALS, Queue

if TYPE_CHECKING:
    from types import TracebackType

    from .faults import Fault

CREDENTIALS = SANDBOX_CREDENTIALS


class Loopback:
    """Serves re-sends and lookups; each takes the next fault of its own script, and is honest after the last.

    Attributes:
        resends: References of the re-send requests whose body arrived, in order.
        lookups: How many lookup requests arrived.
        answered: How many requests were answered, or came to the end of their fault.
        heads: The headers of each request, by name in lower case.
        log: Both in order of arrival, with the state of each voucher that a lookup showed.
        open_connections: Connections that are open now.
    """

    def __init__(
        self, queue: Queue, resend_faults: Iterable[Fault] = (), lookup_faults: Iterable[Fault] = ()
    ) -> None:
        self.queue = queue
        self._faults = {"reenviar_encolado": list(resend_faults), "consulta_avanzada": list(lookup_faults)}
        self.resends: list[str] = []
        self.lookups = 0
        self.answered = 0
        self.heads: list[dict[str, str]] = []
        self.open_connections = 0
        self.most_open = 0
        self._handlers: set[asyncio.Task[None]] = set()
        self.latency = 0.0
        self.think: Callable[[], float] = lambda: 0.0  # seconds before the work is done
        self.abandon: Callable[[], bool] = lambda: False  # drop the work of a client that is gone?
        self.log: list[tuple[str, str]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/app/api/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        self.open_connections += 1
        self.most_open = max(self.most_open, self.open_connections)
        try:
            resend = self._faults["reenviar_encolado"]
            if resend and resend[0].before_reading:
                await resend.pop(0).act(reader, writer, b"")
            while not writer.is_closing():
                await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left; that is its right
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            self.open_connections -= 1
            self._handlers.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.partition(":") for line in head.split("\r\n")[1:-2]]
        headers = {name.lower(): value.strip() for name, _, value in lines}
        payload = json.loads(await reader.readexactly(int(headers["content-length"])))
        self.heads.append(headers)
        call = head.split(" ")[1].rpartition("/")[2]
        assert payload["apitoken"] == CREDENTIALS.apitoken
        faults = self._faults[call]
        fault = faults.pop(0) if faults else None
        if call == "reenviar_encolado":
            self.resends.append(payload["external_reference"])
        else:
            self.lookups += 1
        answer = b""
        self.log.append((call, payload.get("external_reference", "")))
        await asyncio.sleep(self.think())
        if reader.at_eof() and self.abandon():
            raise ConnectionAbortedError
        if fault is None or fault.processed:
            answer = json.dumps(self._process(call, payload)).encode()
        await asyncio.sleep(self.latency)
        if fault is None:
            writer.write(ok(answer))
            await writer.drain()
        else:
            await fault.act(reader, writer, answer)
        self.answered += 1

    def _process(self, call: str, payload: dict[str, Any]) -> dict[str, Any]:
        if call == "reenviar_encolado":
            return self.queue.reprocess(payload["external_reference"])
        wanted = payload["comprobante"]
        references = wanted.get("external_reference_list") or [wanted["external_reference"]]
        self.log += [
            (voucher.state.name, voucher.external_reference) for voucher in self.queue.find(references)
        ]
        found = [voucher.as_wire() for voucher in self.queue.find(references)]
        return {"error": "N", "errores": [], "rta": "OK", "total": len(found), "comprobantes": found}


def ok(body: bytes, kind: str = "application/json") -> bytes:
    return http("200 OK", body, f"Content-Type: {kind}")


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
