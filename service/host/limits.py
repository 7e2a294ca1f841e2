"""What one client may take of the host, and how the application hears that it took too much."""

from __future__ import annotations

from dataclasses import dataclass

UNREAD_BYTES = 64 << 10  # of a body, or of requests behind one: reading pauses where the application has not taken them
PIECE_BYTES = 256 << 10  # of an answer: what a client must take within `answer_seconds`
URL_BYTES = 8 << 10
LINGER_SECONDS = 10.0  # what a client still sends is read, and thrown away, so that it gets to read its answer
LINGER_QUIET_SECONDS = 2.0  # without a byte of it
CLOSE_SECONDS = 0.5  # where the client owes nothing: for it to close too
DRAIN_IDLE_SECONDS = 1.0  # who asked within it learns by an answer that the connection ends, and loses no request
PROBE_SECONDS = 1.0  # an answer that is not begun so long after its client sent a FIN: is the client still there?


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of each connection, and their number."""

    header_bytes: int = 32 << 10  # of the request line and the header fields
    headers: int = 100
    header_seconds: float = 10.0  # from the first byte of a request to the end of its header
    keep_alive_seconds: float = 3660.0  # between two requests, and before the first
    body_seconds: float = 60.0  # for the client to send a body; time that nobody read it does not count
    answer_seconds: float = 30.0  # for the client to take each piece of an answer
    connections: int = 10_000  # of one worker


class RequestError(Exception):
    """The client's fault, found while its body was read; `receive` raises it. The answer's status is `status`.

    The connection cannot be kept, and is closed after the answer.
    """

    status, kind = 400, "malformed-request"


class ClientGone(OSError):  # noqa: N818 - what ASGI calls an OSError is no error of ours
    """The client has closed the connection; `send` raises it (ASGI 2.4)."""


class AnswerTimeout(ClientGone):
    """The client took nothing of the answer for `answer_seconds`, and was let go."""
