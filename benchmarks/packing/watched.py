"""A process of its own, and how large it was: `python -m benchmarks.packing.watched pack ...` is the command,
`... call BUNDLE ROWS` one call of the engine, `... stylegan2 BUNDLE` one export. The last line of its output is JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.environments import AbsentError
from latentserve.service.bundle import read_bundle
from latentserve.service.cli import main
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest

_SECONDS = 3600


def watched(*words: object) -> int:
    """The peak of a process of its own, in bytes."""
    command = [sys.executable, "-P", "-m", "benchmarks.packing.watched", *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=Path(__file__).parents[2]
    )
    if done.returncode:
        raise AbsentError(f"{words[0]}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return int(json.loads(done.stdout.splitlines()[-1])["peak_bytes"])


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
    elif sys.argv[1] == "stylegan2":
        from benchmarks.packing.stylegan2 import export  # torch would count for the others too

        export(Path(sys.argv[2]))
    else:
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
    print(json.dumps({"peak_bytes": peak_bytes()}))
