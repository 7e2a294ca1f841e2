"""What is measured over HTTP: a latentserve server somewhere, or one started for it."""

from __future__ import annotations

import json
import os
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import RAW, SAMPLES, Address, Requests, ask, get, seeded
from latentserve.service.client import ServerError
from latentserve.service.errors import one_line

_ANSWER_SECONDS = 60.0
_START_SECONDS = 300.0  # a large model on a slow machine takes minutes to warm up
_JSON = "application/json"


@dataclass(frozen=True)
class Target:
    """A server at `url`; `model` is what requests name, None: nothing."""

    url: str
    model: str | None = None

    @cached_property
    def address(self) -> Address:
        """Where it listens. Raises ServerError: the URL is none, or holds what is not understood."""
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
        parts = urlsplit(self.url)
        return seeded(rows, RAW, parts.path.rstrip("/") + SAMPLES, parts.netloc, model=self.model)

    def models(self) -> list[dict[str, object]]:
        """What `/v1/models` says of each model. Raises ServerError."""
        parts = urlsplit(self.url)
        status, body = self._ask(get(f"{parts.path.rstrip('/')}/v1/models", _JSON, parts.netloc))
        if status == 200:
            with suppress(ValueError, KeyError, TypeError):
                return [{"name": model["name"], **model} for model in json.loads(body)["models"]]
        raise ServerError(f"{self.url}: {_detail(body) or 'no latentserve server'} ({status} to GET /v1/models)")

    def check(self, rows: int) -> None:
        """Raises ServerError, with the server's own words, unless it answers a request for so many samples."""
        status, body = self._ask(self.requests(rows)(0))
        if status != 200:
            raise ServerError(f"{self.url}: {status} {_detail(body) or 'to POST /v1/samples'}")

    def _ask(self, request: bytes) -> tuple[int, bytes]:
        try:
            return ask(self.address, request, _ANSWER_SECONDS)
        except (OSError, HTTPException) as error:
            raise ServerError(f"{self.url}: {one_line(error)}") from None


@contextmanager
def own_server(bundle: Path) -> Iterator[Target]:
    """A server of this bundle, ready, on a free port of the loopback interface; stopped at the end, whatever that is.

    It takes its other settings from the environment. Raises ServerError: it ended, or does not become ready.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="latentserve-bench-") as home:
        log = Path(home) / "log"
        # -P: a folder `service` in the working directory is somebody else's.
        command = [sys.executable, "-P", "-m", "latentserve", "serve", str(bundle), "--host", "127.0.0.1"]
        variables = os.environ | {"BENTOML_HOME": home}
        with process_group([*command, "--port", str(port)], log, variables) as process:
            target = Target(f"http://127.0.0.1:{port}")
            end = time.monotonic() + _START_SECONDS
            while not _ready(bundle, target):
                if process.poll() is not None:
                    raise ServerError(last_line(log).removeprefix("latentserve: "))
                if time.monotonic() > end:
                    raise ServerError(f"{bundle}: not served within {_START_SECONDS:g} s; at last: {last_line(log)}")
                time.sleep(0.1)
            yield target


def _ready(bundle: Path, target: Target) -> bool:
    """Whether the server has its model loaded, warmed and probed. Raises ServerError where the probes failed."""
    try:
        models = target.models()
    except ServerError:
        return False
    for model in models:
        if model.get("fault"):
            raise ServerError(f"{bundle}: not ready, its {model['fault']}")
    return bool(models)


def _detail(body: bytes) -> str | None:
    """What a problem says (RFC 9457)."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["detail"])
    return None
