"""A small HTTP client: samples of a server, streamed into a file, and what it says of its models."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx

from latentserve.service.addresses import is_loopback, unix_socket
from latentserve.service.errors import LatentserveError, one_line

_JUDGED = ("model", "version", "cause", "sentence", "evidence")


class ServerError(LatentserveError):
    """The server could not be reached, or refused; the message is its own `detail`."""


class Client:
    """A running server at `url`, such as http://127.0.0.1:3000, or http+unix:/run/latentserve.sock."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self._url = url.rstrip("/")
        unix = unix_socket(url)
        self._base = f"{unix[0]}://localhost" if unix else self._url
        self._socket = unix and unix[1]
        self._timeout = timeout

    def samples(self, media: str, file: BinaryIO, **fields: object) -> str | None:
        """Write the answer to `POST /v1/samples` with these fields to `file`; the seed the server says it used.

        Raises ServerError.
        """
        body = {name: value for name, value in fields.items() if value is not None}
        with (
            self._connected() as client,
            client.stream("POST", f"{self._base}/v1/samples", json=body, headers={"Accept": media}) as answer,
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
            answer = client.get(f"{self._base}{path}")
        with suppress(ValueError, KeyError, TypeError):
            if answer.status_code == 200:
                return [{**{name: model[name] for name in needed}, **model} for model in answer.json()["models"]]
        said = (answer.status_code != httpx.codes.NOT_FOUND and _detail(answer)) or "no latentserve server"
        raise ServerError(f"{self._url}: {said} ({answer.status_code} to GET {path})")

    @contextmanager
    def _connected(self) -> Iterator[httpx.Client]:
        try:
            parts = urlsplit(self._base)
            # No proxy of the environment stands between this machine and itself.
            outside = not is_loopback(parts.hostname or "")
            verify = ssl.create_default_context() if parts.scheme == "https" else True
            unix = httpx.HTTPTransport(verify=verify, uds=self._socket) if self._socket else None
            with httpx.Client(timeout=self._timeout, trust_env=outside, verify=verify, transport=unix) as client:
                yield client
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:  # a SOCKS proxy needs a package
            raise ServerError(f"{self._url}: {one_line(error)}") from None


def _detail(answer: httpx.Response) -> str | None:
    """What a problem says (RFC 9457)."""
    with suppress(ValueError, KeyError, TypeError):
        return str(answer.json()["detail"])
    return None
