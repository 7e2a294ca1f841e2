"""A server as a group of processes that is looked at from outside: which of them are workers, who holds which
connection, what memory they take; and that is killed, stopped and started again."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from latentserve.service.benching.process import free_port, last_line, process_group
from latentserve.service.benching.requests import Address, ask, get

_START_SECONDS = 90.0
_STOP_SECONDS = 60.0
_ESTABLISHED = ("01", "08")  # and those that the client has closed one side of


class Group:
    """`latentserve serve BUNDLES`, of this tree or of another checkout, on a free port, once it is ready.

    Raises AbsentError: it did not become ready.
    """

    def __init__(
        self, bundles: list[Path], workers: int, settings: Mapping[str, object], checkout: Path | None = None
    ) -> None:
        self.port = free_port()
        self._command = [*program(checkout), "serve", *map(str, bundles), "--port", str(self.port)]
        self._command += ["--workers", str(workers)]
        self._variables = {
            **os.environ,
            "LATENTSERVE_THREADS": "1",
            "BENTOML_DO_NOT_TRACK": "True",
            **{f"LATENTSERVE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        self._stack = ExitStack()
        self._home = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="edges-")))
        self._starts = 0
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def log(self) -> Path:
        """What the server said since it was started last."""
        return self._home / f"log{self._starts}"

    def start(self, wait: bool = True) -> float:
        """Start it, at first and after `terminate`; seconds until it was ready."""
        self._starts += 1
        began = time.monotonic()
        home = self._home / "home"
        variables = self._variables | {"LATENTSERVE_HOME": str(home), "BENTOML_HOME": str(home)}
        self._process = self._stack.enter_context(process_group(self._command, self.log, variables, self._home))
        if wait:
            self.wait_ready()
        return time.monotonic() - began

    def wait_ready(self) -> None:
        """Until /readyz is 200. Raises AbsentError."""
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError, http.client.HTTPException):
                if ask(Address(self.port), get("/readyz", "*/*"), 5)[0] == 200:
                    return
            time.sleep(0.02)
        raise AbsentError(f"the server did not become ready; its last line: {last_line(self.log)}")

    def terminate(self) -> int | None:
        """SIGTERM; the exit status, None where it had to be killed."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            return None

    def pids(self) -> list[int]:
        """The command and all below it."""
        parents = {}
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError, IndexError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        found = [self._process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def workers(self) -> list[int]:
        """The processes that serve."""
        found = []
        for pid in self.pids()[1:]:
            with suppress(OSError):
                if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return sorted(found)

    def connections(self) -> dict[int, set[int]]:
        """Ports of the clients whose connections each worker holds."""
        clients = _clients(self.port)
        return {pid: {clients[inode] for inode in _sockets(pid) if inode in clients} for pid in self.workers()}

    def open_connections(self) -> int:
        """Those that the kernel has, whoever holds them."""
        return len(_clients(self.port))

    def megabytes(self) -> float:
        """Memory of their own that all of them have now."""
        return sum(_status(pid, "RssAnon") for pid in self.pids()) / 1e3

    def cpu_seconds(self) -> float:
        """Time on processors that all of them took so far."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def threads(self) -> int:
        """Of all processes."""
        return int(sum(_status(pid, "Threads") for pid in self.pids()))

    def kill(self, worker: int) -> set[int]:
        """kill -9; ports of the clients whose connections it held at that moment."""
        os.kill(worker, signal.SIGSTOP)
        clients = _clients(self.port)
        held = {clients[inode] for inode in _sockets(worker) if inode in clients}
        os.kill(worker, signal.SIGKILL)
        return held


def _clients(port: int) -> dict[int, int]:
    """Established connections to a port of ours, the server's side: {inode: port of the client}."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        if state in _ESTABLISHED and int(local.rsplit(":", 1)[1], 16) == port:
            found[int(rest[5])] = int(remote.rsplit(":", 1)[1], 16)
    return found


def _sockets(pid: int) -> set[int]:
    """Inodes of the sockets that a process holds."""
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                name = str(entry.readlink())
                if name.startswith("socket:["):
                    found.add(int(name[8:-1]))
    return found


def _cpu_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _status(pid: int, name: str) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{name}:"):
                return float(line.split()[1])
    return 0.0
