"""The real server as a process, for black-box tests: loopback, a free port, a BENTOML_HOME of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

START_SECONDS = 60
# Of clients that ask by http://, again and again: reading whom the machine trusts takes longer than an answer.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
STOP_SECONDS = 30


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Server:
    """`latentserve serve BUNDLE ...`; settings are keyword arguments (`workers=2`, `max_n=10`).

    `bentoml`: by `bentoml serve`, where nobody watches the workers. `output`: a descriptor that it writes to, and
    no file.
    """

    def __init__(
        self,
        *bundles: Path,
        wait_ready: bool = True,
        cwd: Path | None = None,
        bentoml: bool = False,
        output: int | None = None,
        **settings: object,
    ) -> None:
        self.settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        # `socket=PATH`: it is asked over that socket, and `url` is of no use.
        path = settings.get("socket")
        self.http = httpx.Client(
            base_url=self.url,
            timeout=30,
            trust_env=False,
            transport=httpx.HTTPTransport(verify=NO_TLS, uds=str(path) if path else None),
        )
        self._home = tempfile.TemporaryDirectory(prefix="latentserve-test-")
        self.home = Path(self._home.name)
        self.log = self.home / "server.log"
        environment = {
            **os.environ,
            "BENTOML_HOME": self._home.name,
            **{f"LATENTSERVE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        command = ["-m", "latentserve", "serve", *map(str, bundles)]
        if bentoml:
            environment["LATENTSERVE_BUNDLES"] = os.pathsep.join(str(bundle.resolve()) for bundle in bundles)
            service = "latentserve.service.app:Latentserve"
            command = ["-P", "-m", "bentoml", "serve", service, "--host", "127.0.0.1", "--working-dir", self._home.name]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command, *([] if path else ["--port", str(self.port)])],
                cwd=cwd,
                env=environment,
                stdout=log if output is None else output,
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

    def metrics(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        """Every series of `/metrics` that is latentserve's own: {(name, labels): value}."""
        families = text_string_to_metric_families(self.http.get("/metrics").raise_for_status().text)
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
            if sample.name.startswith("latentserve_")
        }

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of this name that carry these labels; KeyError where there is none."""
        name, wanted = f"latentserve_{name}", labels.items()
        lines = self.http.get("/metrics").raise_for_status().text.splitlines(keepends=True)
        # It is asked for again and again, and of a page with many models most lines are others.
        families = text_string_to_metric_families("".join(line for line in lines if line.startswith(name)))
        samples = [sample for family in families for sample in family.samples]
        found = [sample.value for sample in samples if sample.name == name and wanted <= sample.labels.items()]
        if not found:
            raise KeyError(f"{name} {labels}")
        return sum(found)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        """Wait until something is so; TimeoutError where it does not come to be."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {seconds} s: {self.log.read_text()}")
            time.sleep(0.05)

    def worker_pids(self) -> list[int]:
        """The processes that serve: children of the supervisor that hold the service."""
        found = []
        for folder in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == self.process.pid and b"worker" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
        return sorted(found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
