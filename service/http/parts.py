"""Answers that are read a part at a time: lengths and ranges of what is known once it is made."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from starlette.responses import Response

from latentserve.service.encoding.document import Piece
from latentserve.service.http.call import Call
from latentserve.service.http.mounted import content_of
from latentserve.service.http.responses import Headers, StreamedResponse, WholeResponse
from latentserve.service.http.turns import PIECE_BYTES

PARTED_BYTES = 64 << 20  # of an answer that is given in parts, and of all that are kept for their readers

_SECONDS = 10.0  # since a part of it was asked for


@dataclass(slots=True)
class Made:
    """An answer: its headers, without its length, and its bytes."""

    headers: Headers
    content: bytes


class Parts:
    """The answers that parts were asked for of, made once for all of these.

    Readers ask for a length, then for the end, then for what that says is where; each of it the rows would be made for
    again.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[bytes, tuple[Made, asyncio.TimerHandle]] = OrderedDict()
        self._bytes = 0
        self._making: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    async def find(self, tag: bytes, call: Call, make: Callable[[], Awaitable[Response]]) -> Made | Response:
        """The answer of a tag, made if nobody has it made; or the refusal that came instead. Raises what making it
        does."""
        lock = self._making.setdefault(tag, asyncio.Lock())
        async with lock:
            if (known := self._made.pop(tag, None)) is not None:
                made, timer = known
                timer.cancel()
                self._bytes -= len(made.content)
            else:
                response = await make()
                if response.status_code != 200:
                    return response
                headers = [pair for pair in response.raw_headers if pair[0] != b"content-length"]
                made = Made(headers, await content_of(response, call))
            self._keep(tag, made)
        return made

    def _keep(self, tag: bytes, made: Made) -> None:
        timer = asyncio.get_running_loop().call_later(_SECONDS, self._forget, tag)
        self._made[tag] = made, timer
        self._bytes += len(made.content)
        while self._bytes > PARTED_BYTES:
            self._forget(next(iter(self._made)))

    def _forget(self, tag: bytes) -> None:
        made, timer = self._made.pop(tag)
        timer.cancel()
        self._bytes -= len(made.content)


def part_response(
    made: Made, part: slice | None, told: Headers, sent: Callable[[], None], piece_seconds: float
) -> Response:
    """A part of an answer (206); None: all of it (200). `sent` is called when it was sent, or given up."""
    length = len(made.content)
    start, stop = (0, length) if part is None else (part.start, part.stop)
    content = memoryview(made.content)[start:stop]
    headers = [*made.headers, *told, (b"content-length", b"%d" % (stop - start))]
    if part is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, stop - 1, length)))
    response: Response
    if len(content) <= PIECE_BYTES:
        response = WholeResponse(headers, bytes(content), sent)
    else:
        # A slow reader of a small part does not keep the whole.
        piece = bytes(content) if len(content) < length // 2 else content
        response = StreamedResponse(headers, _piece(piece), sent, piece_seconds)
    if part is not None:
        response.status_code = 206
    return response


async def _piece(content: Piece) -> AsyncGenerator[Piece]:
    yield content
