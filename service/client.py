"""A small HTTP client: samples of a server, streamed into a file, and what it says of its models."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx

from latentserve.service.errors import LatentserveError, one_line
from latentserve.service.settings import is_loopback

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
                raise ServerError(f"{self._url}: {answer.status_code} {_detail(answer) or answer.text[:200]}")
            for chunk in answer.iter_bytes():
                file.write(chunk)
            seed: str | None = answer.headers.get("Latentserve-Seed")
        return seed

    def models(self) -> list[dict[str, Any]]:
        """What `GET /v1/models` says of each model: its name, and more. Raises ServerError."""
        return self._list("/v1/models", ("name",))

    def drift(self) -> list[dict[str, Any]]:
        """What `GET /v1/drift` says of each model: model, version, cause, sentence and evidence. Raises ServerError."""
        return self._list("/v1/drift", _JUDGED)

    def _list(self, path: str, needed: tuple[str, ...]) -> list[dict[str, Any]]:
        """The models of a page, each with what is needed of it."""
        with self._connected() as client:
            answer = client.get(f"{self._url}{path}")
        with suppress(ValueError, KeyError, TypeError):
            if answer.status_code == 200:
                return [{**{name: model[name] for name in needed}, **model} for model in answer.json()["models"]]
        said = (answer.status_code != httpx.codes.NOT_FOUND and _detail(answer)) or "no latentserve server"
        raise ServerError(f"{self._url}: {said} ({answer.status_code} to GET {path})")

    @contextmanager
    def _connected(self) -> Iterator[httpx.Client]:
        try:
            parts = urlsplit(self._url)
            # No proxy of the environment stands between this machine and itself.
            outside = not is_loopback(parts.hostname or "")
            verify = ssl.create_default_context() if parts.scheme == "https" else True
            with httpx.Client(timeout=self._timeout, trust_env=outside, verify=verify) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise ServerError(f"{self._url}: {one_line(error)}") from None


def _detail(answer: httpx.Response) -> str | None:
    """What a problem says (RFC 9457)."""
    with suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["detail"])
    return None
