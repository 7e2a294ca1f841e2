"""An application that is made when it is asked first: once, and it lives and ends as others do."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from latentserve.service.host.lifespan import StartError, lifespan
from latentserve.service.http.deferred import Deferred


class Behind:
    """Makes an application, and writes down what befalls it; the first `failures` times it cannot."""

    def __init__(self, failures: int = 0, starts: bool = True) -> None:
        self.told: list[str] = []
        self._failures = failures
        self._starts = starts

    def make(self) -> ASGIApp:
        assert threading.current_thread() is not threading.main_thread()
        if self._failures:
            self._failures -= 1
            raise ImportError("a part of it is missing")
        self.told.append("made")
        return self._app

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await PlainTextResponse("here")(scope, receive, send)
            return
        for message in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{message}"
            self.told.append(message)
            await send({"type": f"lifespan.{message}.{'complete' if self._starts else 'failed'}"})


def get(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x")


def test_it_is_made_and_started_once_for_all_who_ask_and_ended_at_the_end() -> None:
    behind = Behind()

    async def live() -> None:
        app = Deferred(behind.make)
        async with lifespan(app), get(app) as client:
            assert behind.told == []
            answers = await asyncio.gather(*(client.get("/") for _ in range(10)))
            assert {answer.text for answer in answers} == {"here"}
            assert behind.told == ["made", "startup"]

    asyncio.run(live())
    assert behind.told == ["made", "startup", "shutdown"]


def test_it_is_never_made_where_nobody_asks() -> None:
    behind = Behind()

    async def live() -> None:
        async with lifespan(Deferred(behind.make)):
            pass

    asyncio.run(live())
    assert behind.told == []


def test_where_it_cannot_be_made_the_request_fails_and_the_next_one_tries_again() -> None:
    async def live() -> None:
        app = Deferred(Behind(failures=1).make)
        async with lifespan(app), get(app) as client:
            with pytest.raises(ImportError):
                await client.get("/")
            assert (await client.get("/")).text == "here"
        with pytest.raises(StartError):
            async with get(Deferred(Behind(starts=False).make)) as client:
                await client.get("/")

    asyncio.run(live())
