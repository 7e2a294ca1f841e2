"""The listening sockets: connections are accepted while somebody can take them, and at the end none is left behind."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import socket
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from latentserve.service import logs
from latentserve.service.host.listening import is_listening

_BACKLOG = 4096
_AT_ONCE = 64  # then others have a turn
_OUT_OF_ROOM_SECONDS = 0.5
_CLOSING_SECONDS = 0.05  # for handshakes under way to end; a client that begins one is told nothing until it is over

# What a socket's filter (classic BPF) is shown begins at the TCP header, of which byte 13 has the flags: a packet that
# opens a connection is dropped, and all others pass.
_SO_ATTACH_FILTER = 26
_NO_NEW_CONNECTIONS = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in [
        (0x30, 0, 0, 13),  # ldb [13]
        (0x45, 0, 1, 0x02),  # jset #SYN, next, the one after
        (0x06, 0, 0, 0),  # ret #0
        (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1
    ]
)


class Acceptor:
    """Accepts connections of sockets that are bound already."""

    def __init__(self, listeners: Sequence[socket.socket], take: Callable[[socket.socket], None]) -> None:
        """`take` is handed every connection."""
        self._listeners = list(listeners)
        self._lent = [one for one in listeners if is_listening(one)]  # by who listens on when this process has ended
        self._take = take
        self._accepting = False
        self._out_of_room_until = 0.0

    def listen(self) -> None:
        """From now on clients can connect; they wait until they are accepted. Raises OSError: somebody else listens."""
        for listener in self._listeners:
            listener.setblocking(False)
            listener.listen(_BACKLOG)

    def accept(self, wanted: bool) -> None:
        """Accept from now on, or let clients wait. To be called now and then: it ends a pause for want of room."""
        wanted = wanted and time.monotonic() >= self._out_of_room_until
        if wanted == self._accepting:
            return
        loop = asyncio.get_running_loop()
        for listener in self._listeners:
            if wanted:
                loop.add_reader(listener, self._accept, listener)
            else:
                loop.remove_reader(listener)
        self._accepting = wanted

    def _accept(self, listener: socket.socket) -> int:
        """Accept some; how many."""
        for count in range(_AT_ONCE):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                return count
            except ConnectionError:  # it went while it waited
                continue
            except OSError as error:
                self._pause(error)
                return count
            self._take(connection)
        return _AT_ONCE

    def _pause(self, error: OSError) -> None:
        """No file descriptor, or no memory, is left: clients wait, and the loop does not spin."""
        self._out_of_room_until = time.monotonic() + _OUT_OF_ROOM_SECONDS
        logs.event("no-room", logging.WARNING, kind="no-room", reason=error.strerror)
        self.accept(False)

    def give_back(self) -> None:
        """Accept no more from sockets that are another's: who connects from now on waits for the next server."""
        for listener in self._lent:
            asyncio.get_running_loop().remove_reader(listener)
            self._listeners.remove(listener)
            listener.close()
        self._lent.clear()

    async def close(self, *, empty: bool) -> None:
        """Listen no more. If `empty`, who has connected is accepted first, so that nobody is reset."""
        self.accept(False)
        for listener in self._listeners:
            _turn_away(listener)
        if empty:
            await asyncio.sleep(_CLOSING_SECONDS)
        for listener in self._listeners:
            for _ in range(_BACKLOG // _AT_ONCE if empty else 0):
                if self._accept(listener) < _AT_ONCE:
                    break
                await asyncio.sleep(0)
            listener.close()
        self._listeners.clear()


def _turn_away(listener: socket.socket) -> None:
    """Let nobody begin to connect, where the system can do that."""
    if listener.family == socket.AF_UNIX:
        with suppress(OSError):
            Path(listener.getsockname()).unlink()
        return
    program = ctypes.create_string_buffer(_NO_NEW_CONNECTIONS)
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("HL", len(_NO_NEW_CONNECTIONS) // 8, ctypes.addressof(program)),
        )
