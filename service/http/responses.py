"""Answers to sampling requests, which say when they were sent: a whole one, and one that streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from latentserve.service.encoding.document import Piece
from latentserve.service.http.presence import until_gone
from latentserve.service.http.turns import PIECE_BYTES

Headers = list[tuple[bytes, bytes]]


class WholeResponse(Response):
    """A whole body, with headers that are bytes already: what is needed of a Starlette response, at a third of its
    price. `sent` is called when it was sent or could not be.
    """

    def __init__(self, headers: Headers, content: bytes, sent: Callable[[], None]) -> None:
        for name, _ in headers:
            if name == b"content-length":
                break
        else:
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


class BodilessResponse(Response):
    """Headers alone: the answer to HEAD, whose body may be of unknown length, or 304."""

    def __init__(self, status: int, headers: Headers) -> None:
        self.status_code = status
        self.background = None
        self.raw_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        # In two parts: an empty body in one would be said to have a length of 0.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        if self.background is not None:
            await self.background()


class StreamedResponse(Response):
    """A body in chunks. `sent` is called when it was sent, or given up.

    Sending it raises ClientDisconnect: the client has gone, or takes longer than `piece_seconds` for 256 KiB, and what
    waits for it is memory; and what goes wrong while chunks are made.
    """

    def __init__(
        self, headers: Headers, chunks: AsyncGenerator[Piece], sent: Callable[[], None], piece_seconds: float
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = headers
        self._chunks = chunks
        self._sent = sent
        self._piece_seconds = piece_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        task, over = asyncio.current_task(), False
        gone = asyncio.create_task(until_gone(receive))  # some servers take what is sent to nobody without a word

        def give_up(_gone: asyncio.Task[None]) -> None:
            """What is waited for, a chunk perhaps, is waited for in vain."""
            if task is not None and not over:
                task.cancel()

        gone.add_done_callback(give_up)

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._piece_seconds):
                    await send(message)
            except TimeoutError:
                raise ClientDisconnect from None

        try:
            await send_in_time({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            async for piece in _in_pieces(self._chunks):
                await send_in_time({"type": "http.response.body", "body": piece, "more_body": True})
            await send_in_time({"type": "http.response.body", "body": b""})
        except asyncio.CancelledError:
            if task is None or not gone.done() or task.uncancel():
                raise
            raise ClientDisconnect from None
        finally:
            over = True
            gone.cancel()
            await self._chunks.aclose()
            self._sent()
        if self.background is not None:
            await self.background()


async def _in_pieces(chunks: AsyncIterator[Piece]) -> AsyncIterator[memoryview]:
    async for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), PIECE_BYTES):
            yield view[start : start + PIECE_BYTES]
