"""A way to PostgreSQL that can be stalled and cut."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class Proxy:
    """Forwards a folder's socket to another's; ``stall`` for a while, ``cut`` what is connected.

    ``mute``: what is connected stays so, and nothing comes through any more, as behind a lost route.
    ``mute_after``: the piece with this word is the last that comes through, as from a paused process.
    """

    def __init__(self, folder: Path) -> None:
        self._behind = folder / ".s.PGSQL.5432"
        self.folder = Path(tempfile.mkdtemp(prefix="px-", dir="/tmp"))
        self.flows = asyncio.Event()
        self.flows.set()
        self._open: set[asyncio.StreamWriter] = set()
        self._muted = 0
        self.mute_after: bytes | None = None

    async def __aenter__(self) -> Self:
        socket = self.folder / ".s.PGSQL.5432"
        self._server = await asyncio.start_unix_server(self._accept, socket)
        self.folder.chmod(0o755)  # a standby runs as another user
        socket.chmod(0o777)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.flows.set()
        self.cut()
        await asyncio.sleep(0)
        shutil.rmtree(self.folder)

    def cut(self) -> None:
        for writer in tuple(self._open):
            writer.close()

    def mute(self) -> None:
        self._muted += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self._behind)
        except OSError:
            writer.close()
            return
        self._open |= {writer, back}
        await asyncio.gather(self._pipe(reader, back), self._pipe(there, writer))
        self._open -= {writer, back}

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        born = self._muted
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self.flows.wait()
                if born != self._muted:
                    continue
                if self.mute_after is not None and self.mute_after in data:
                    self.mute_after = None
                    self.mute()
                writer.write(data)
                await writer.drain()
        writer.close()
