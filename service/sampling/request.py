"""A request for rows, as the sampling core understands it, and what it draws for each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.bundle import Manifest
from service.sampling.latents import draw_labels, draw_latents

Arm = Literal["server", "client", "control"]
ARMS: tuple[Arm, ...] = ("server", "client", "control")


@dataclass(frozen=True)
class RowsRequest:
    """Rows to make. `latents` float32 [n, dim] excludes what seeds them; `labels` int64 [n] or None: drawn."""

    n: int
    seed: int = 0
    offset: int = 0
    latents: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    truncation: float = 1.0
    deterministic: bool = False
    arm: Arm = "client"

    def inputs(self, manifest: Manifest, start: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """Latents float32 [rows, dim] and labels int64 [rows] (or None), from the request's row `start`."""
        first = self.offset + start
        if self.latents is not None:
            z = self.latents[start : start + rows]
        else:
            z = draw_latents(manifest.latent, self.seed, first, rows, self.truncation)
        if manifest.labels is None:
            return z, None
        if self.labels is not None:
            return z, self.labels[start : start + rows]
        prior = manifest.label_prior or len(manifest.labels)
        return z, draw_labels(manifest.latent.dim, prior, self.seed, first, rows)
