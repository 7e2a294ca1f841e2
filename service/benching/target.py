"""What is measured over HTTP: a latentserve server somewhere, or one started for it."""

from __future__ import annotations

import io
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from latentserve.service.addresses import unix_socket
from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import RAW, SAMPLES, Address, Requests, seeded
from latentserve.service.client import Client, ServerError
from latentserve.service.client.server import key_header

_START_SECONDS = 300.0  # a large model on a slow machine takes minutes to warm up


@dataclass(frozen=True)
class Target:
    """A server at `url`; `model` is what requests name, None: nothing; `key` as `Client` has it."""

    url: str
    model: str | None = None
    key: str | None = None

    @cached_property
    def address(self) -> Address:
        """Where it listens. Raises ServerError: the URL is none, or holds what is not understood."""
        if (unix := unix_socket(self.url)) is not None:
            return Address(0, "localhost", ssl.create_default_context() if unix[0] == "https" else None, unix[1])
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ServerError(f"{self.url}: {error}") from None
        if not host or parts.scheme not in ("http", "https"):
            raise ServerError(f"{self.url}: not a URL like http://127.0.0.1:3000")
        if parts.query or parts.fragment or "@" in parts.netloc:
            raise ServerError(f"{self.url}: only a host, a port and a path are taken")
        if parts.scheme == "http":
            return Address(port or 80, host)
        return Address(port or 443, host, ssl.create_default_context())

    def requests(self, rows: int) -> Requests:
        """Requests for `rows` samples, float32, each of another seed."""
        if unix_socket(self.url) is not None:
            return seeded(rows, RAW, host="localhost", headers=key_header(self.key), model=self.model)
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/") + SAMPLES
        return seeded(rows, RAW, path, parts.netloc, key_header(self.key), model=self.model)

    def check(self, rows: int) -> None:
        """Raises ServerError, with the server's own words, unless it answers a request for so many samples."""
        Client(self.url, retries=0, key=self.key).download(RAW, io.BytesIO(), n=rows, seed=0, model=self.model)


@contextmanager
def own_server(bundle: Path) -> Iterator[Target]:
    """A server of this bundle, ready, on a free port of the loopback interface; stopped at the end, whatever that is.

    It takes its other settings from the environment. Raises ServerError: it ended, or does not become ready.
    """
    port = free_port()
    target = Target(f"http://127.0.0.1:{port}")
    # Before there is a server: this imports, and a ^C that comes while Python imports may be lost.
    client = Client(target.url, retries=0)
    with client, tempfile.TemporaryDirectory(prefix="latentserve-bench-") as home:
        log = Path(home) / "log"
        # -P: a folder `service` in the working directory is somebody else's.
        command = [sys.executable, "-P", "-m", "latentserve", "serve", str(bundle), "--host", "127.0.0.1"]
        variables = os.environ | {"BENTOML_HOME": home}
        with process_group([*command, "--port", str(port)], log, variables) as process:
            end = time.monotonic() + _START_SECONDS
            while not _ready(bundle, client):
                if process.poll() is not None:
                    raise ServerError(last_line(log).removeprefix("latentserve: "))
                if time.monotonic() > end:
                    raise ServerError(f"{bundle}: not served within {_START_SECONDS:g} s; at last: {last_line(log)}")
                time.sleep(0.1)
            yield target


def _ready(bundle: Path, client: Client) -> bool:
    """Whether the server has its model loaded, warmed and probed. Raises ServerError where the probes failed."""
    try:
        models = client.models()
    except ServerError:
        return False
    for model in models:
        if model.get("fault"):
            raise ServerError(f"{bundle}: not ready, its {model['fault']}")
    return bool(models)
