"""What the supervisor answers itself: 503, to connections that no worker can take."""

from __future__ import annotations

import asyncio
import socket
from email.utils import formatdate

from latentserve.service.host.refusal import NOT_READY, Refused

_LINGER_SECONDS = 1.0
_MOST = 256  # at the same time; more are closed without a word

_TASKS: set[asyncio.Task[None]] = set()


def refuse(connection: socket.socket, secure: bool) -> Refused:
    """Answer 503 and close; returns the answer. `secure`: the client would take nothing but TLS: it is told nothing."""
    refused = Refused(503, NOT_READY, "the server takes no connections for now")
    if secure or len(_TASKS) >= _MOST:
        connection.close()
        return refused
    task = asyncio.get_running_loop().create_task(_answer(connection, refused))
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
    return refused


async def _answer(connection: socket.socket, refused: Refused) -> None:
    """Answer, and read on for a moment: closing over bytes that nobody has read would reset what was answered."""
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    with connection:
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await loop.sock_sendall(connection, refused.answer(b"date: %b" % formatdate(usegmt=True).encode()))
                connection.shutdown(socket.SHUT_WR)
                while await loop.sock_recv(connection, 1 << 16):
                    pass
        except (OSError, TimeoutError):
            pass
