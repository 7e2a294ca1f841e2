"""A process of its own, and how large it was: `python -m benchmarks.packing.watched pack ...` is the command,
`... call BUNDLE ROWS` one call of the engine. The last line of its output is JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest


def call(path: Path, rows: int) -> None:
    """Load a bundle, and run so many rows at once, as a server does."""
    bundle = read_bundle(path)
    engine = Engine(bundle, "cpu", threads=len(os.sched_getaffinity(0)))
    engine.bound(rows)
    engine.generate(RowsRequest(n=rows).inputs(bundle.manifest, 0, rows))


def peak_bytes() -> int:
    """The largest resident size of this process so far (proc_pid_status(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kilobytes) * 1024


if __name__ == "__main__":
    if sys.argv[1] == "call":
        call(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
    print(json.dumps({"peak_bytes": peak_bytes()}))
