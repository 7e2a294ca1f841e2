"""A replica: a real server of several workers on a port that it keeps, whatever bundle it is started with."""

from __future__ import annotations

import http.client
import os
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import Address, ask, get

_START_SECONDS = 120.0


class Replica:
    """`folder` is its own: BENTOML_HOME, logs."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.port = free_port()
        self.instance = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._workers = workers
        self._variables = os.environ | {
            "BENTOML_HOME": str(folder),
            "LATENTSERVE_WORKERS": str(workers),
            "LATENTSERVE_THREADS": "1",
        }
        self._running = ExitStack()
        folder.mkdir(parents=True)

    def start(self, bundle: Path) -> None:
        """Start it; it answers later, see `wait`."""
        log = self._folder / "log"
        # -P: a folder `service` in the working directory is somebody else's.
        command = [sys.executable, "-P", "-m", "latentserve", "serve", str(bundle), "--port", str(self.port)]
        self._process = self._running.enter_context(process_group(command, log, self._variables))

    def wait(self, *, ready: bool = True) -> None:
        """Until it answers, and is ready. Raises TimeoutError, RuntimeError."""
        end = time.monotonic() + _START_SECONDS
        request = get("/readyz" if ready else "/livez", "*/*")
        while time.monotonic() < end:
            if self._process.poll() is not None:
                raise RuntimeError(f"a replica ended: {last_line(self._folder / 'log')}")
            with suppress(OSError, http.client.HTTPException):
                if ask(Address(self.port), request, 5)[0] == 200:
                    return
            time.sleep(0.1)
        raise TimeoutError(f"a replica did not answer: {last_line(self._folder / 'log')}")

    @property
    def pid(self) -> int:
        """Of the server, which leads a process group."""
        return self._process.pid

    def stop(self) -> None:
        """Stop it, as an orchestrator would."""
        self._running.close()

    def restart(self, bundle: Path, *, ready: bool = True) -> None:
        """With this bundle, on the same port."""
        self.stop()
        self.start(bundle)
        self.wait(ready=ready)

    def successor(self) -> Replica:
        """Another one like it, on a port of its own."""
        return Replica(self._folder.with_name(f"{self._folder.name}-{self.port}"), self._workers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()
