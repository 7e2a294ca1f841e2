"""Answers to sampling requests, which say when they were sent: a whole one, and one that streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from latentserve.service.encoding.documents import Piece
from latentserve.service.http.turns import PIECE_BYTES

log = logging.getLogger(__name__)

Headers = list[tuple[bytes, bytes]]


class WholeResponse(Response):
    """A whole body, with headers that are bytes already: what is needed of a Starlette response, at a third of its
    price. `sent` is called when it was sent or could not be.
    """

    def __init__(self, headers: Headers, content: bytes, sent: Callable[[], None]) -> None:
        if not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % len(content)))
        self.status_code = 200
        self.body = content
        self.background = None
        self.raw_headers = headers
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self.body})
        finally:
            self._sent()
        if self.background is not None:
            await self.background()


class StreamedResponse(StreamingResponse):
    """A body in chunks. `sent` is called when it was sent, or given up by a client that has gone, or that takes longer
    than `piece_seconds` for 256 KiB: what waits for it is memory.
    """

    def __init__(
        self, headers: Headers, chunks: AsyncGenerator[Piece], sent: Callable[[], None], piece_seconds: float
    ) -> None:
        super().__init__(_in_pieces(chunks))
        self.raw_headers = headers
        self._chunks = chunks
        self._sent = sent
        self._piece_seconds = piece_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._piece_seconds):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except* TimeoutError:
            # The server closes the connection of an answer that was not brought to its end.
            log.warning("a client took no byte for %g s and was let go", self._piece_seconds)
        finally:
            await self._chunks.aclose()
            self._sent()


async def _in_pieces(chunks: AsyncIterator[Piece]) -> AsyncIterator[memoryview]:
    async for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
