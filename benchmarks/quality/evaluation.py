"""What an evaluation takes, in time and memory, and how long others take over the same distances.

    python -m benchmarks.quality.evaluation RUN|BUNDLE --data FOLDER --out results.json

The command is run as a process of its own, and its peak memory is the system's. The distances are taken once more of
random features, 10,000 rows of 64 a side, in this process: ours with their bootstrap, torchmetrics' and prdc's without
one, which they do not have. The processor time is of all threads together.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prdc import compute_prdc
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance

from benchmarks.machine import describe_machine
from latentserve.training.evaluation import distances
from latentserve.training.evaluation.distances import moment_distances
from latentserve.training.evaluation.resampling import Resampling

ROWS, WIDTH = 10_000, 64
LATENTSERVE = [sys.executable, "-c", "from latentserve.service.cli import main; main()"]


class Identity(torch.nn.Module):
    """Features as they are."""

    num_features = WIDTH

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


def command(subject: Path, data: Path | None, samples: int) -> dict[str, Any]:
    """Seconds, processor seconds and peak memory in GB of `latentserve evaluate`, and what it found."""
    with tempfile.TemporaryDirectory() as out:
        words = ["evaluate", str(subject), *(["--data", str(data)] if data else []), "--samples", str(samples)]
        started = time.monotonic()
        process = os.posix_spawn(sys.executable, [*LATENTSERVE, *words, "--out", out], os.environ)
        _, status, used = os.wait4(process, 0)
        seconds = time.monotonic() - started
        assert status == 0, f"latentserve {' '.join(words)} failed"
        report = json.loads((Path(out) / "report.json").read_text())
        return {
            "seconds": round(seconds, 1),
            "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_memory_gb": round(used.ru_maxrss / 1e6, 2),
            "page_mb": round((Path(out) / "report.html").stat().st_size / 1e6, 2),
            **{key: report[key] for key in ("n", "data", "subject", "verdict", "statistics")},
        }


def ours(real: np.ndarray, fake: np.ndarray) -> dict[str, Callable[[], object]]:
    chances = Resampling.of(ROWS, 1), Resampling.of(ROWS, 2)

    def kernels() -> object:
        within = [distances.WithinKernel(part, chance) for part, chance in zip((real, fake), chances, strict=True)]
        return distances.kernel_distance(within[0], within[1], distances.kernel_sums(real, fake, *chances))

    return {
        "frechet": lambda: moment_distances(real, fake, chances),
        "kernel": kernels,
        "prdc": lambda: distances.within_reach(
            real, fake, distances.real_reaches(real), distances.reaches(fake), *chances
        ).measured(*chances),
    }


def theirs(real: np.ndarray, fake: np.ndarray) -> dict[str, Callable[[], object]]:
    def metric(of: Any) -> object:
        of.update(torch.from_numpy(real), real=True)
        of.update(torch.from_numpy(fake), real=False)
        return of.compute()

    return {
        "frechet": lambda: metric(FrechetInceptionDistance(feature=Identity())),
        "kernel": lambda: metric(KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=ROWS)),
        "prdc": lambda: compute_prdc(real, fake, distances.K),
    }


def timed(run: Callable[[], object]) -> dict[str, float]:
    started, used = time.monotonic(), time.process_time()
    run()
    return {
        "seconds": round(time.monotonic() - started, 2),
        "processor_seconds": round(time.process_time() - used, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--samples", type=int, default=ROWS)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    real, fake = rng.standard_normal((ROWS, WIDTH)), 1.05 * rng.standard_normal((ROWS, WIDTH))
    results = {
        "machine": describe_machine(),
        "torch_threads": torch.get_num_threads(),
        "command": command(arguments.subject, arguments.data, arguments.samples),
        "features": {"rows": ROWS, "width": WIDTH, "seed": 0},
        "ours": {name: timed(run) for name, run in ours(real, fake).items()},
        "theirs": {name: timed(run) for name, run in theirs(real, fake).items()},
    }
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps({key: results[key] for key in ("ours", "theirs")}, indent=1))
    print({key: results["command"][key] for key in ("seconds", "processor_seconds", "peak_memory_gb")})


if __name__ == "__main__":
    main()
