"""A small HTTP client: samples of a server, streamed into a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

import httpx

from latentserve.service.errors import LatentserveError

_JUDGED = ("model", "version", "cause", "sentence", "evidence")


class ServerError(LatentserveError):
    """The server could not be reached, or refused; the message is its own `detail`."""


class Client:
    """A running server at `url`, such as http://127.0.0.1:3000."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout

    def samples(self, media: str, file: BinaryIO, **fields: object) -> str | None:
        """Write the answer to `POST /v1/samples` with these fields to `file`; the seed the server says it used.

        Raises ServerError.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        with (
            self._connected() as client,
            client.stream("POST", f"{self._url}/v1/samples", json=body, headers={"Accept": media}) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise ServerError(f"{self._url}: {answer.status_code} {_detail(answer)}")
            for chunk in answer.iter_bytes():
                file.write(chunk)
            seed: str | None = answer.headers.get("Latentserve-Seed")
        return seed

    def drift(self) -> list[dict[str, Any]]:
        """What `GET /v1/drift` says of each model: model, version, cause, sentence and evidence. Raises ServerError."""
        with self._connected() as client:
            answer = client.get(f"{self._url}/v1/drift")
        with suppress(ValueError, KeyError, TypeError):
            if answer.status_code == 200:
                return [{**model, **{name: model[name] for name in _JUDGED}} for model in answer.json()["models"]]
        raise ServerError(f"{self._url}: no latentserve server ({answer.status_code} to GET /v1/drift)")

    @contextmanager
    def _connected(self) -> Iterator[httpx.Client]:
        try:
            with httpx.Client(timeout=self._timeout) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ServerError(f"{self._url}: {str(error) or type(error).__name__}") from None


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
