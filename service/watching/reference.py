"""The reference: the distribution of each signal over samples of the frozen generator, as equal-mass bins.

A value x is mapped through the reference's distribution, u = F(x), so that without drift each of the BINS bins gets
the same share for every model, signal and unit. Where F jumps (a signal with atoms, such as a saturated share of
exactly 0), u is drawn uniformly from the jump, which keeps the shares exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle.golden import pack_arrays, unpack_arrays
from service.errors import BundleError

BINS = 20

_FILE = "reference.npz"


@dataclass(frozen=True)
class Distribution:
    """A signal's distribution F, known at m <= BINS - 1 different values (the quantiles at i / BINS), ascending.

    `edges`, `below` = P(x < edge) and `at_most` = P(x <= edge) are float64 [m].
    """

    edges: NDArray[np.float64]
    below: NDArray[np.float64]
    at_most: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Distribution:
        """Measured on reference values float64 [n], all finite."""
        ordered = np.sort(values)
        cuts = np.arange(1, BINS) * len(ordered) // BINS
        edges = np.unique(ordered[cuts])
        return cls(
            edges,
            np.searchsorted(ordered, edges, side="left") / len(ordered),
            np.searchsorted(ordered, edges, side="right") / len(ordered),
        )

    def bins(self, values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
        """The bin of each value, int64 [n] in 0 .. BINS - 1."""
        right = np.searchsorted(self.edges, values, side="left")  # the first edge >= x
        below = np.append(self.below, 1.0)
        at_most = np.append(self.at_most, 1.0)
        on_edge = np.append(self.edges, np.nan)[right] == values
        low = np.where(on_edge, below[right], np.where(right > 0, at_most[right - 1], 0.0))
        high = np.where(on_edge, at_most[right], below[right])
        u = low + generator.random(len(values)) * (high - low)
        return np.minimum((u * BINS).astype(np.int64), BINS - 1)


@dataclass(frozen=True)
class Reference:
    """Every signal's distribution, from `samples` samples."""

    samples: int
    signals: Mapping[str, Distribution]

    def to_bytes(self) -> bytes:
        """The content of `reference.npz`."""
        arrays: dict[str, NDArray[np.generic]] = {"samples": np.int64(self.samples)}  # type: ignore[dict-item]
        for name, distribution in self.signals.items():
            arrays[f"{name}.edges"] = distribution.edges
            arrays[f"{name}.below"] = distribution.below
            arrays[f"{name}.at_most"] = distribution.at_most
        return pack_arrays(arrays)

    @classmethod
    def from_bytes(cls, content: bytes, names: list[str]) -> Reference:
        """Read `reference.npz`. Raises BundleError where a signal of `names` is missing or malformed."""
        arrays = unpack_arrays(content, _FILE)
        signals = {}
        for name in names:
            try:
                parts = [arrays[f"{name}.{part}"].astype(np.float64) for part in ("edges", "below", "at_most")]
            except (KeyError, ValueError):
                raise BundleError(f"{_FILE}: has no distribution of the signal {name}") from None
            if len({part.shape for part in parts}) != 1 or parts[0].ndim != 1 or not 0 < len(parts[0]) < BINS:
                raise BundleError(f"{_FILE}: the distribution of {name} has the wrong shape")
            signals[name] = Distribution(*parts)
        return cls(int(arrays["samples"]) if "samples" in arrays else 0, signals)
