"""What the processes of a server take together: `process_...`, by the names and units that Prometheus clients have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

_TICKS = os.sysconf("SC_CLK_TCK")  # in a second
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
_MOST_OPEN = re.compile(r"^Max open files +(\d+)", re.M)


@dataclass(frozen=True)
class _Process:
    """What /proc says of a process (proc(5)): seconds of its own and of children that ended, bytes, descriptors."""

    cpu: float
    cpu_of_ended: float
    started: float
    virtual: int
    resident: int

    @classmethod
    def read(cls, pid: int) -> _Process:
        """Raises OSError: it has ended."""
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        own, ended = (sum(map(int, stat[at : at + 2])) / _TICKS for at in (11, 13))
        return cls(own, ended, int(stat[19]) / _TICKS, int(stat[20]), int(stat[21]) * _PAGE)


def process_metrics(parent: int, workers: Sequence[int]) -> Iterator[Metric]:
    """Of a server's first process and its workers, by their numbers: sums, and since when the first one runs."""
    while True:
        first = _Process.read(parent)
        others = list(_each(workers))
        # One that ended in between would count in neither, or in both, and the time of all would go back.
        if _Process.read(parent).cpu_of_ended == first.cpu_of_ended:
            break
    all_of_them = [first, *others]
    cpu = first.cpu_of_ended + sum(process.cpu for process in all_of_them)
    counted = [_descriptors(pid) for pid in (parent, *workers)]
    yield CounterMetricFamily("process_cpu_seconds", "CPU time of all processes, ended ones included.", value=cpu)
    for name, about, value in (
        ("virtual_memory_bytes", "Virtual memory of all processes.", sum(process.virtual for process in all_of_them)),
        (
            "resident_memory_bytes",
            "Resident memory of all processes.",
            sum(process.resident for process in all_of_them),
        ),
        ("open_fds", "Open file descriptors of all processes.", sum(opened for opened, _ in counted)),
        ("max_fds", "Open file descriptors that they may have.", sum(most for _, most in counted)),
        ("start_time_seconds", "When the first process started.", _booted() + first.started),
    ):
        yield GaugeMetricFamily(f"process_{name}", about, value=value)


def _each(pids: Sequence[int]) -> Iterator[_Process]:
    for pid in pids:
        with suppress(OSError):
            yield _Process.read(pid)


def _descriptors(pid: int) -> tuple[int, int]:
    """How many a process has, and may have."""
    try:
        most = _MOST_OPEN.search(Path(f"/proc/{pid}/limits").read_text())
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), int(most[1]) if most else 0
    except OSError:
        return 0, 0


def _booted() -> float:
    """When the machine did, in Unix time."""
    with suppress(OSError):
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0
