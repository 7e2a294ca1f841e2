"""Answers that stream: what becomes of them when their client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from latentserve.service.http.responses import StreamedResponse


class Client:
    """What a server tells an answer of its client, who goes when it is told to."""

    def __init__(self) -> None:
        self.gone, self.begun = asyncio.Event(), asyncio.Event()
        self.came: list[bytes] = []
        self.ended: list[str] = []

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.came.append(bytes(message.get("body", b"")))
        if self.came[-1]:
            self.begun.set()

    async def chunks(self, *waits: float) -> AsyncGenerator[bytes]:
        try:
            for wait in waits:
                yield b"a"
                await asyncio.sleep(wait)
        finally:
            self.ended.append("chunks")

    def answer(self, *waits: float) -> StreamedResponse:
        return StreamedResponse([], self.chunks(*waits), lambda: self.ended.append("sent"), 30)


def test_a_client_that_goes_is_noticed_while_a_chunk_is_made() -> None:
    async def leave() -> None:
        client = Client()
        sending = asyncio.create_task(client.answer(3600)({}, client.receive, client.send))
        await client.begun.wait()
        client.gone.set()
        with pytest.raises(ClientDisconnect):
            await sending
        assert client.ended == ["chunks", "sent"]
        assert not sending.cancelling()

    asyncio.run(asyncio.wait_for(leave(), 30))


def test_an_answer_that_is_cancelled_is_cancelled() -> None:
    async def cancel() -> None:
        client = Client()
        sending = asyncio.create_task(client.answer(3600)({}, client.receive, client.send))
        await client.begun.wait()
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert client.ended == ["chunks", "sent"]

    asyncio.run(asyncio.wait_for(cancel(), 30))


def test_a_client_that_goes_afterwards_takes_nobody_along() -> None:
    async def end() -> None:
        client = Client()
        await client.answer(0, 0)({}, client.receive, client.send)
        client.gone.set()
        await asyncio.sleep(0.01)
        assert client.came == [b"", b"a", b"a", b""]
        assert client.ended == ["chunks", "sent"]

    asyncio.run(asyncio.wait_for(end(), 30))
