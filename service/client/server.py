"""Where a server is and how it is reached, and what it says when it does not do as asked."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx

from latentserve.service.addresses import unix_socket
from latentserve.service.client.proxies import proxy_for
from latentserve.service.errors import LatentserveError, one_line

KEY = "LATENTSERVE_KEY"  # the variable that holds what our commands and clients send, where they are not told


def key_header(key: str | None) -> dict[str, str]:
    """How a key is sent; nothing where there is none, here or in the environment. Raises ServerError: it is none."""
    text = (os.environ.get(KEY, "") if key is None else key).strip()
    if not text:
        return {}
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ServerError("the key: is to be of printable ASCII characters, without spaces")
    return {"Authorization": f"Bearer {text}"}


class ServerError(LatentserveError):
    """The server could not be reached, or refused; the message is its own `detail`.

    Attributes:
        status: of its answer; 0: there was none.
        problem: the answer, where it was a problem (RFC 9457): `type`, `field` and more.
    """

    def __init__(self, message: str, status: int = 0, problem: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = problem or {}


class Server:
    """A running server at `url`, such as http://127.0.0.1:3000, or http+unix:/run/latentserve.sock.

    `key` is sent with every request; None: what LATENTSERVE_KEY says, if it says anything.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = key_header(key)
        unix = unix_socket(url)
        with self.told():
            if unix is None and not urlsplit(url).hostname:
                raise ServerError(f"{url}: not a URL like http://127.0.0.1:3000")
        self._base = f"{unix[0]}://localhost" if unix else self.url
        self._socket = unix and unix[1]

    def sync_client(self, timeout: float) -> httpx.Client:
        """Connections to it. Raises ServerError."""
        with self.told():
            return httpx.Client(**self._options(timeout, httpx.HTTPTransport))

    def async_client(self, timeout: float) -> httpx.AsyncClient:
        """The same, to be awaited. Raises ServerError."""
        with self.told():
            return httpx.AsyncClient(**self._options(timeout, httpx.AsyncHTTPTransport))

    def _options(self, timeout: float, transport: Callable[..., object]) -> dict[str, Any]:
        verify = self._verify()
        return {
            "base_url": self._base,
            "headers": self._headers,
            "timeout": timeout,
            "trust_env": False,  # it reads NO_PROXY in a way of its own
            "proxy": proxy_for(self._base),
            "verify": verify,
            "transport": transport(verify=verify, uds=self._socket) if self._socket else None,
        }

    def _verify(self) -> ssl.SSLContext:
        """Whom the machine trusts; who asks by http:// needs no file of authorities that the environment names."""
        https = urlsplit(self._base).scheme == "https"
        return ssl.create_default_context() if https else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    @contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong on the way becomes a ServerError."""
        try:
            yield
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, ImportError) as error:  # a SOCKS proxy needs a package
            raise ServerError(f"{self.url}: {one_line(error)}") from None

    def refusal(self, answer: httpx.Response) -> ServerError:
        """What an answer that is no 200 says; it was read."""
        problem: dict[str, Any] = {}
        with suppress(ValueError):
            found = answer.json()
            problem = found if isinstance(found, dict) else {}
        said = problem.get("detail") or answer.text[:200]
        return ServerError(f"{self.url}: {answer.status_code} {said}", answer.status_code, problem)
