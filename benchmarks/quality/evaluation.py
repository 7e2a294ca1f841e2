"""What an evaluation takes, in time and memory.

    python -m benchmarks evaluation RUN|BUNDLE [--data FOLDER]

The command is run as a process of its own, and its peak memory is the system's. The processor time is of all threads
together.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.commands import program
from benchmarks.environments import AbsentError
from benchmarks.runner import Results, table

TITLE = "What an evaluation takes"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("subject", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--samples", type=int, default=10_000)


def measure(given: argparse.Namespace, results: Results) -> None:
    """Seconds, processor seconds and peak memory in GB of `latentserve evaluate`, and what it found."""
    with tempfile.TemporaryDirectory() as out:
        data = ["--data", str(given.data)] if given.data else []
        command = [*program(), "evaluate", str(given.subject), *data, "--samples", str(given.samples), "--out", out]
        started = time.monotonic()
        process = os.posix_spawn(command[0], command, os.environ)
        _, status, used = os.wait4(process, 0)
        seconds = time.monotonic() - started
        if status:
            raise AbsentError(f"{' '.join(command)} failed")
        report = json.loads((Path(out) / "report.json").read_text())
        results["found"] = {
            "seconds": round(seconds, 1),
            "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_memory_gb": round(used.ru_maxrss / 1e6, 2),
            "page_mb": round((Path(out) / "report.html").stat().st_size / 1e6, 2),
            **{key: report[key] for key in ("n", "data", "subject", "verdict", "statistics") if key in report},
        }


def report(results: dict[str, Any]) -> Iterator[str]:
    """The lines of the page."""
    head = ("samples", "s", "CPU s", "peak memory, GB", "page, MB")
    keys = ("n", "seconds", "processor_seconds", "peak_memory_gb", "page_mb")
    yield from table(head, [[results["found"][key] for key in keys]])
