"""`AsyncClient`: a server's rows, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack

import httpx
import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest
from latentserve.service.client.conversation import (
    INTERPOLATIONS,
    SAMPLES,
    VARIATIONS,
    Answer,
    Ask,
    Conversation,
    Talk,
)
from latentserve.service.client.fields import End, InterpolationFields, SampleFields, ScoreFields, VariationFields
from latentserve.service.client.rows import Samples
from latentserve.service.client.server import Server

if TYPE_CHECKING:
    from latentserve.service.client.scored import Scored

Made = TypeVar("Made")


class AsyncClient:
    """As `Client`, with the same methods and arguments, to be awaited. Requests may be under way side by side."""

    def __init__(
        self,
        url: str,
        model: str | None = None,
        timeout: float = 60.0,
        retries: int = 5,
        key: str | None = None,
    ) -> None:
        self._server = Server(url, key)
        self._conversation = Conversation(self._server, model, retries)
        self._http = self._server.async_client(timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def models(self) -> list[dict[str, Any]]:
        """See `Client.models`."""
        return await self._do(self._conversation.models())

    async def manifest(self) -> Manifest:
        """See `Client.manifest`."""
        return await self._do(self._conversation.manifest())

    async def drift(self) -> list[dict[str, Any]]:
        """See `Client.drift`."""
        return await self._do(self._conversation.drift())

    async def sample(self, n: int | None = None, seed: int | None = None, **fields: Unpack[SampleFields]) -> Samples:
        """See `Client.sample`."""
        return await self._do(self._conversation.rows(SAMPLES, {"n": n, "seed": seed, **fields}))

    async def interpolate(
        self, ends: Sequence[End], frames: int | None = None, **fields: Unpack[InterpolationFields]
    ) -> Samples:
        """See `Client.interpolate`."""
        return await self._do(self._conversation.rows(INTERPOLATIONS, {"ends": ends, "frames": frames, **fields}))

    async def vary(
        self,
        seed: int | None = None,
        row: int | None = None,
        n: int | None = None,
        strength: float | None = None,
        **fields: Unpack[VariationFields],
    ) -> Samples:
        """See `Client.vary`."""
        around = {"seed": seed, "row": row, "n": n, "strength": strength, **fields}
        return await self._do(self._conversation.rows(VARIATIONS, around))

    async def score(self, samples: Scored, **fields: Unpack[ScoreFields]) -> NDArray[np.float32]:
        """See `Client.score`."""
        return await self._do(self._conversation.score(samples, fields))

    async def rows(
        self, n: int | None = None, seed: int | None = None, **fields: Unpack[SampleFields]
    ) -> AsyncIterator[Samples]:
        """See `Client.rows`."""
        course = await self._do(self._conversation.course(n, {"seed": seed, **fields}))
        while (part := course.next()) is not None:
            some = await self._do(self._conversation.rows(SAMPLES, part))
            course.took(some)
            yield some

    async def _do(self, talk: Talk[Made]) -> Made:
        answer: Answer = None
        try:
            while True:
                step = talk.send(answer)
                answer = None
                if isinstance(step, Ask):
                    answer = await self._ask(step)
                else:
                    await asyncio.sleep(step.seconds)
        except StopIteration as done:
            made: Made = done.value
            return made

    async def _ask(self, ask: Ask) -> Answer:
        with self._server.told():
            try:
                return await self._http.request(
                    ask.method, ask.path, params=ask.params, content=ask.content, headers=ask.headers
                )
            except httpx.TransportError as error:
                return error
