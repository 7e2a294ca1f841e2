"""The engine alone: ONNX Runtime's CPU provider in a loop, which no server over it can beat."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import onnxruntime

from benchmarks.generators import DIM

BATCHES = (1, 4, 16, 64, 128)


def best_batch(model: Path, threads: int, seconds: float) -> int:
    """The batch size with the most samples a second, each tried three times for `seconds`, in turn."""
    rates: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    for _ in range(3):
        for batch, measured in rates.items():
            measured.append(samples_per_second(model, threads, batch, seconds))
    return max(rates, key=lambda batch: sorted(rates[batch])[1])


def samples_per_second(model: Path, threads: int, batch: int, seconds: float) -> float:
    """Of a session of its own, so that no thread of it spins while servers are measured."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    z = np.random.default_rng(0).normal(size=(batch, DIM)).astype(np.float32)
    session.run(None, {"z": z})
    began, rows = time.perf_counter(), 0
    while (spent := time.perf_counter() - began) < seconds:
        session.run(None, {"z": z})
        rows += batch
    return rows / spent
