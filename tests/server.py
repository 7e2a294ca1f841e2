"""The real server as a process, for black-box tests: loopback, a free port, a BENTOML_HOME of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

START_SECONDS = 60
STOP_SECONDS = 30


class Server:
    """`latentserve serve BUNDLE ...`; settings are keyword arguments (`workers=2`, `max_n=10`)."""

    def __init__(self, *bundles: Path, wait_ready: bool = True, **settings: object) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self._home = tempfile.TemporaryDirectory(prefix="latentserve-test-")
        self.log = Path(self._home.name) / "server.log"
        environment = {
            **os.environ,
            "BENTOML_HOME": self._home.name,
            **{f"LATENTSERVE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service", "serve", *map(str, bundles), "--port", str(self.port)],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait(ready=wait_ready)
        except BaseException:
            self.stop()
            raise

    def _wait(self, *, ready: bool) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.log.read_text()}")
            try:
                if self.http.get("/readyz" if ready else "/livez").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"the server did not answer in {START_SECONDS} s: {self.log.read_text()}")

    def stop(self) -> int:
        """Stop it as an orchestrator would, and harder where that does not help; its exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        self._home.cleanup()
        return status

    def samples(self, *, accept: str | None = None, **body: object) -> httpx.Response:
        """POST /v1/samples."""
        headers = {} if accept is None else {"Accept": accept}
        return self.http.post("/v1/samples", json=body, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
