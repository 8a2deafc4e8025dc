"""A TCP connection to a host, whichever of its addresses answers.

Not by CPython's own race (``happy_eyeballs_delay``): under an eager task factory it ends in an
``AssertionError``, and it loses the sockets of cancelled callers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

_race: Callable[..., Awaitable[socket.socket]] | None
try:
    from aiohappyeyeballs import start_connection as _race
except ImportError:
    _race = None  # one address after another

_HEAD_START: Final = 0.25
"""Seconds after which the next address is tried beside the one before (RFC 8305)."""

_PATIENCE: Final = 2.0
"""Seconds for each address but the last, where they are tried one after another."""

_Address = tuple[int, int, int, str, "tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]"]


async def dial(host: str, port: int) -> socket.socket:
    """Connect to the first address of a host that answers.

    Raises:
        OSError: The name is unknown, or no address answers.
    """
    loop = asyncio.get_running_loop()
    addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    if _race is not None and len(addresses) > 1:
        return await _race(addresses, happy_eyeballs_delay=_HEAD_START)
    return await _one_after_another(loop, addresses)


async def _one_after_another(loop: asyncio.AbstractEventLoop, addresses: Sequence[_Address]) -> socket.socket:
    *others, last = addresses
    for address in others:
        try:
            async with asyncio.timeout(_PATIENCE):
                return await _connect(loop, address)
        except OSError:  # also when the time is up; what the last one raises is told
            continue
    return await _connect(loop, last)


async def _connect(loop: asyncio.AbstractEventLoop, address: _Address) -> socket.socket:
    family, kind, protocol, _, where = address
    connection = socket.socket(family, kind, protocol)
    try:
        connection.settimeout(0)
        await loop.sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection
