"""What the comparisons of benchmarks/drift/detection.py share: their size, their records, and running a peer."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.drift.detectors.run_lengths import Integers, mean_run_length, median_delay, ratio_of_medians
from benchmarks.environments import AbsentError

Record = dict[str, Any]

REFERENCE_ROWS = 100_000

_PEER_SECONDS = 7200


@dataclass(frozen=True)
class Plan:
    """Streams a cell, of ours alone and beside slow peers; MMD's windows, reference rows and bootstraps."""

    streams: int = 400
    beside: int = 200
    long: bool = True  # run lengths of a million too
    windows: tuple[int, ...] = (20, 50, 100)
    mmd_rows: int = 1000
    bootstraps: int = 10_000


def kept(
    signal: str, signals: int, reference_rows: int, run_length: float, rows: int, block: int, first: Integers
) -> Record:
    """The record of first alarms of streams of so many rows without drift."""
    return {
        "part": "run length",
        "signal": signal,
        "signals": signals,
        "reference_rows": reference_rows,
        "promised": run_length,
        "streams": len(first),
        "rows": rows,
        "block": block,
        "alarms": int((first <= rows).sum()),
        "realised": asdict(mean_run_length(first, rows)),
    }


def compared(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> Record:
    """The figures of two detectors' delays on the same streams."""
    return {
        "ours": asdict(median_delay(mine)),
        "theirs": asdict(median_delay(theirs)),
        "ratio": asdict(ratio_of_medians(mine, theirs)),
        "missed": [float(np.isinf(found).sum() / (~np.isnan(found)).sum()) for found in (mine, theirs)],
    }


def answer(python: Path, script: str, given: Mapping[str, Any], scratch: Path) -> dict[str, Any]:
    """What a peer's script answers. Raises AbsentError."""
    streams, alarms = scratch / f"{script}.npz", scratch / f"{script}-alarms.npz"
    np.savez(streams, **given)
    command = [str(python), str(Path(__file__).with_name(f"{script}.py")), str(streams), str(alarms)]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=_PEER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise AbsentError(f"{script}: not done within {_PEER_SECONDS} s") from None
    if done.returncode:
        raise AbsentError((done.stderr.strip() or "no message").splitlines()[-1])
    with np.load(alarms) as found:
        return dict(found)
