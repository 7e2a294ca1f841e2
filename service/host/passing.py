"""Between the supervisor and a worker: messages, and sockets beside them, over a pair of Unix sockets.

A message is whole or not there (SOCK_SEQPACKET), and a socket that is passed (SCM_RIGHTS) is the same connection in the
other process: what the kernel has read of it and nobody has taken yet is taken there. Neither end ever waits for the
other.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

_MESSAGE_BYTES = 64 << 10
_MOST_SOCKETS = 64  # beside one message; the kernel takes 253


@dataclass(frozen=True)
class Message:
    """What one end tells the other. A subclass is a kind; its fields are JSON."""

    kinds: ClassVar[dict[str, type[Message]]] = {}

    def __init_subclass__(cls) -> None:
        Message.kinds[cls.__name__] = cls


@dataclass(frozen=True)
class Work(Message):
    """To a worker, first: what it is to serve, as `module:attribute` of a function that makes the application of its
    `Group`; its place, how many workers there are, the limits of a connection by their names, the files of its TLS
    certificate and key, the path under which a proxy shows it, and the form of its log."""

    application: str
    index: int
    size: int
    limits: dict[str, Any]
    certificate: str | None = None
    key: str | None = None
    root_path: str = ""
    log_format: Literal["text", "json"] = "text"


@dataclass(frozen=True)
class Take(Message):
    """To a worker: the sockets beside this are clients of its own from now on."""


@dataclass(frozen=True)
class Took(Message):
    """Of a worker, before it reads anything of what it was passed: so many connections it has taken, since it started.
    Those that it has not, when it ends, are whole and can be passed to another."""

    taken: int


@dataclass(frozen=True)
class Give(Message):
    """To a worker: give up to so many idle connections back, for another worker."""

    most: int


@dataclass(frozen=True)
class Close(Message):
    """To a worker: close up to so many idle connections, the longest idle ones first."""

    most: int


@dataclass(frozen=True)
class State(Message):
    """To a worker: how the group is. See `Group`."""

    others: int
    draining: bool


@dataclass(frozen=True)
class TurnedAway(Message):
    """To a worker: the supervisor has turned so many more clients away, for somebody to count."""

    clients: int


@dataclass(frozen=True)
class Leave(Message):
    """To a worker: finish what is under way within so many seconds, give back or close what is idle, and end."""

    seconds: float
    give: bool  # the other workers go on: idle connections are for them


@dataclass(frozen=True)
class Report(Message):
    """Of a worker, four times a second from when it has started: how it is.

    Attributes:
        ready, fault: see `Health`.
        leaving: somebody wants it, and it alone, to end; it waits for `Leave`.
        taken: connections that were passed to it and that it has taken, since it started.
        connections: those that it has.
        idle: those of them that wait for a request.
        before: those of them that it had when it heard that the server drains; None: it has not.
    """

    ready: bool
    fault: str | None = None
    leaving: bool = False
    taken: int = 0
    connections: int = 0
    idle: int = 0
    before: int | None = None


@dataclass(frozen=True)
class Given(Message):
    """Of a worker: the sockets beside this are idle connections, for another worker."""


@dataclass(frozen=True)
class Failed(Message):
    """Of a worker that cannot start: why, in one line."""

    cause: str


@dataclass
class Received:
    """A message, and the sockets that came beside it, which are the receiver's."""

    message: Message
    sockets: list[socket.socket] = field(default_factory=list)


class Channel:
    """One end."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    @classmethod
    def pair(cls) -> tuple[Channel, socket.socket]:
        """A channel, and the socket that its other end is to be made of, in another process."""
        own, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(own), other

    def fileno(self) -> int:
        """Its file descriptor, to wait for."""
        return self._end.fileno()

    def send(self, message: Message, sockets: Sequence[socket.socket] = ()) -> bool:
        """Send a message, and the sockets beside it, which stay open here too; whether that was done. It is not where
        the other end has gone or does not read."""
        content = json.dumps([type(message).__name__, asdict(message)]).encode()
        try:
            socket.send_fds(self._end, [content], [one.fileno() for one in sockets])
        except OSError:  # full, gone, or too many sockets on their way
            return False
        return True

    def send_sockets(self, message: Message, sockets: Sequence[socket.socket]) -> list[socket.socket]:
        """Send sockets, as many beside a message as it has room for, and close those that went; returns the others."""
        for start in range(0, len(sockets), _MOST_SOCKETS):
            some = sockets[start : start + _MOST_SOCKETS]
            if not self.send(message, some):
                return list(sockets[start:])
            for one in some:
                one.close()
        return []

    def receive(self) -> Received | None:
        """The next message; None where there is none now. Raises EOFError: the other end has gone."""
        try:
            content, descriptors, _, _ = socket.recv_fds(
                self._end, _MESSAGE_BYTES, _MOST_SOCKETS, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            raise EOFError from None
        if not content:
            raise EOFError
        kind, values = json.loads(content)
        return Received(Message.kinds[kind](**values), [socket.socket(fileno=one) for one in descriptors])

    def close(self) -> None:
        """Let go of it; the other end is told."""
        self._end.close()
