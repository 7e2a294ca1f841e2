"""`Client`: a server's rows, waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar, Unpack

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


class Client:
    """A running server.

    Args:
        url: such as http://127.0.0.1:3000, or http+unix:/run/latentserve.sock.
        model: that is asked; None: the only one, or the one that a call names.
        timeout: seconds for a connection, and for each part of an answer.
        retries: how often is asked again what failed and may go well later: no connection, one that broke, a full
            queue, a server that is not ready. The server says after which time.
        key: that is sent; None: what the variable LATENTSERVE_KEY holds, if anything.

    Every method raises ServerError, one line with the server's own words. To be used by one thread.
    """

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
        self._http = self._server.sync_client(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """What `GET /v1/models` says of each model: its name, and more."""
        return self._do(self._conversation.models())

    def manifest(self) -> Manifest:
        """What the model's bundle says of itself."""
        return self._do(self._conversation.manifest())

    def drift(self) -> list[dict[str, Any]]:
        """What `GET /v1/drift` says of each model: model, version, cause, sentence and evidence."""
        return self._do(self._conversation.drift())

    def sample(self, n: int | None = None, seed: int | None = None, **fields: Unpack[SampleFields]) -> Samples:
        """The rows of one request: `offset`, `label`, `labels`, `condition`, `conditions`, `truncation`, `latents`,
        `deterministic`, `where`, `balance`, `select`, ... as `POST /v1/samples` takes them; latents, labels and
        conditions may be arrays.
        """
        return self._do(self._conversation.rows(SAMPLES, {"n": n, "seed": seed, **fields}))

    def interpolate(
        self, ends: Sequence[End], frames: int | None = None, **fields: Unpack[InterpolationFields]
    ) -> Samples:
        """Rows on the way from row to row, as `POST /v1/interpolations` makes them: `ends` are each {"seed", "row"} or
        {"latent"}, with a "label" and a "condition" or not. `numbers` are those of the frames."""
        return self._do(self._conversation.rows(INTERPOLATIONS, {"ends": ends, "frames": frames, **fields}))

    def vary(
        self,
        seed: int | None = None,
        row: int | None = None,
        n: int | None = None,
        strength: float | None = None,
        **fields: Unpack[VariationFields],
    ) -> Samples:
        """Rows around row `row` of a seed, or around a `latent`, as `POST /v1/variations` makes them. `numbers` are
        those of the variations."""
        around = {"seed": seed, "row": row, "n": n, "strength": strength, **fields}
        return self._do(self._conversation.rows(VARIATIONS, around))

    def score(self, samples: Scored, **fields: Unpack[ScoreFields]) -> NDArray[np.float32]:
        """The critic's scores float32 [n] of samples, as many as there are: an array [n, *shape] of floats, or of a
        picture's bytes; pictures of Pillow's; a data frame, or rows of a table; `Samples`, which say themselves what
        they are of. `label`, `labels`, `condition` and `conditions` say so of others, where the critic judges by that.
        """
        return self._do(self._conversation.score(samples, fields))

    def rows(self, n: int | None = None, seed: int | None = None, **fields: Unpack[SampleFields]) -> Iterator[Samples]:
        """As many rows as there are to be, some megabytes at a time; None: without an end.

        A connection that breaks is made again, and no row comes twice or is left out. `offset`, or of a search the
        `next_offset` of what came last, goes on where another loop has ended.
        """
        course = self._do(self._conversation.course(n, {"seed": seed, **fields}))
        while (part := course.next()) is not None:
            some = self._do(self._conversation.rows(SAMPLES, part))
            course.took(some)
            yield some

    def download(self, media: str, file: BinaryIO, **fields: object) -> str | None:
        """Write the answer to `POST /v1/samples` with these fields to `file`; the seed the server says it used."""
        body = {name: value for name, value in fields.items() if value is not None}
        with (
            self._server.told(),
            self._http.stream("POST", "/v1/samples", json=body, headers={"Accept": media}) as answer,
        ):
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise self._server.refusal(answer)
            for chunk in answer.iter_bytes():
                file.write(chunk)
            seed: str | None = answer.headers.get("Latentserve-Seed")
        return seed

    def _do(self, talk: Talk[Made]) -> Made:
        answer: Answer = None
        try:
            while True:
                step = talk.send(answer)
                answer = None
                if isinstance(step, Ask):
                    answer = self._ask(step)
                else:
                    time.sleep(step.seconds)
        except StopIteration as done:
            made: Made = done.value
            return made

    def _ask(self, ask: Ask) -> Answer:
        with self._server.told():
            try:
                return self._http.request(
                    ask.method, ask.path, params=ask.params, content=ask.content, headers=ask.headers
                )
            except httpx.TransportError as error:
                return error
