"""Recorded spots: a few values of thousands of samples, as they were at export; the same rows have them again.

A row of a seed is the same sample always. So what was recorded of it tells, without any statistics, whether the
generator still computes what it did, also far from the golden probes: a region of a thousandth of all latents and
conditions is met once in a thousand rows. Golden probes are few whole samples; spots are little of many rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Manifest
from latentserve.service.sampling.request import RowsRequest

SPOTS_SEED, FIRST = 1, 1 << 44  # of the rows that were recorded; labels take turns
MOST_ROWS, PLACES = 4096, 32

Singles = NDArray[np.float32]


@dataclass(frozen=True)
class Spots:
    """Values of rows FIRST, FIRST + 1, ... of SPOTS_SEED.

    Attributes:
        places: int64 [m], ascending, of a sample that is laid out flat.
        values: float32 [n, m], of each row.
        measured: the largest difference (root mean square of a row) that other batches showed at export.
    """

    places: NDArray[np.int64]
    values: Singles
    measured: float

    def __len__(self) -> int:
        return len(self.values)

    def request(self, manifest: Manifest, start: int, rows: int) -> RowsRequest:
        """For rows `start` on, as control samples."""
        labels = None
        if manifest.labels is not None:
            labels = (start + np.arange(rows, dtype=np.int64)) % len(manifest.labels)
        return RowsRequest(rows, SPOTS_SEED, FIRST + start, labels=labels, arm="control")

    def off(self, samples: Singles, start: int) -> NDArray[np.float64]:
        """How far samples float32 [k, *shape] of the rows from `start` on are from what was recorded, root mean square,
        float64 [k]; infinite where they are not finite."""
        recorded = self.values[start : start + len(samples)]
        found = samples.reshape(len(samples), -1)[:, self.places]
        with np.errstate(invalid="ignore", over="ignore"):
            off = np.sqrt(np.square(found.astype(np.float64) - recorded).mean(axis=1))
        return np.where(np.isfinite(off), off, np.inf)

    def to_arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        return {"places": self.places, "values": self.values, "measured": np.float64(self.measured)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Spots:
        """Raises KeyError and ValueError where the arrays are not such ones."""
        places, values, measured = arrays["places"].astype(np.int64), arrays["values"], float(arrays["measured"])
        if values.ndim != 2 or places.shape != values.shape[1:] or not len(values) or not np.isfinite(values).all():
            raise ValueError(f"spots of shapes {places.shape}, {values.shape}")
        if not (np.diff(places) > 0).all() or places[0] < 0 or not 0 <= measured < np.inf:
            raise ValueError("spots at no places")
        return cls(places, values.astype(np.float32), measured)


def spot_of(request: RowsRequest) -> int | None:
    """The recorded row that a request begins at; None: it is of others."""
    recorded = request.arm == "control" and request.seed == SPOTS_SEED and request.offset >= FIRST
    return request.offset - FIRST if recorded else None
