"""Features of a real generator's samples, and their drifts: 64 fixed random combinations of its critic's features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Singles = NDArray[np.float32]
Labels = NDArray[np.int64]

SIZE = 64
DRIFTS = (
    "mean of all by 0.1",
    "mean of all by 0.25",
    "mean of one by 1",
    "covariance x1.1",
    "mode lost",
    "mode halved",
)
LOST = 3  # the label

_BATCH = 5000


class Features:
    """A pool of samples' features float32 [n, SIZE], in standard deviations around their mean, with their labels."""

    def __init__(self, bundle: Path, samples: int) -> None:
        generator, critic = (onnxruntime.InferenceSession(bundle / f"{name}.onnx") for name in ("generator", "critic"))
        rng = np.random.default_rng(0)
        dim = generator.get_inputs()[0].shape[1]
        raw, labels = [], rng.integers(0, 10, samples)
        for start in range(0, samples, _BATCH):
            own = labels[start : start + _BATCH]
            latents = rng.standard_normal((len(own), dim), np.float32)
            images = generator.run(["sample"], {"z": latents, "label": own})[0]
            raw.append(critic.run(["features"], {"sample": images, "label": own})[0])
        features = np.concatenate(raw)
        mixed = features @ rng.standard_normal((features.shape[1], SIZE), np.float32)
        self.values: Singles = (mixed - mixed.mean(axis=0)) / mixed.std(axis=0)
        self.labels: Labels = labels

    def reference(self, rows: int) -> tuple[Singles, Labels]:
        """The first of the pool."""
        return self.values[:rows], self.labels[:rows]

    def streams(self, shape: tuple[int, int], change: Labels, drift: str, seed: int) -> tuple[Singles, Labels]:
        """Features float32 [streams, rows, SIZE] from the second half of the pool, with the label asked for, int64
        [streams, rows]; drifted from the row `change` [streams] on. A lost mode's rows show another one."""
        rng = np.random.default_rng(seed)
        half = len(self.values) // 2
        rows = rng.integers(half, 2 * half, shape)
        after = np.arange(shape[1]) >= change[:, None]
        labels = self.labels[rows]
        if drift.startswith("mode"):
            others = half + np.flatnonzero(self.labels[half:] != LOST)
            lost = after & (labels == LOST) & (rng.random(shape) < (1.0 if drift == "mode lost" else 0.5))
            rows = np.where(lost, rng.choice(others, shape), rows)
        values: Singles = self.values[rows]
        moved = after[:, :, None]
        if drift.startswith("mean of all"):
            values += (moved * float(drift.rsplit(" ", 1)[1])).astype(np.float32)
        elif drift.startswith("mean of one"):
            values[:, :, 10] += after
        elif drift.startswith("covariance"):
            values *= np.where(moved, np.sqrt(1.1), 1.0).astype(np.float32)
        return values, labels
