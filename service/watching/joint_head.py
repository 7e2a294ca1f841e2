"""From white components to the vector that `multivariate` adds up: clipped components, norm bins, clusters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy  # it loads `scipy.cluster` where that is named, which a server need not wait for
from numpy.typing import NDArray

from latentserve.service.watching.distribution import (
    BINS,
    BinTable,
    Distribution,
    distributions_from_arrays,
    distributions_to_arrays,
)
from latentserve.service.watching.features import halves, inverse_root, multiplied, rows_of

CLUSTERS = 20

_ROUNDS = 20  # of k-means
_ROWS_PER_CLUSTER = 10  # on average, to have clusters at all
_ROWS_APART = 20_000  # of a cell that is measured on the rows it was fitted to, as older releases did

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class JointHead:
    """What turns white components float64 [n, k] into the vector that is summed: k clipped ones, norm bins, clusters.

    Labels and truncations do not vary alike, and what mix of them is asked for is no drift: each cell has its own.

    Attributes:
        radius: to which components are clipped.
        offsets, roots: float64 [cells, k] and [cells, k, k], the mean of the clipped, and what makes them white again.
        norms: [cells], the distribution of the norm before clipping, measured on rows that nothing was fitted to.
        centroids: float64 [CLUSTERS, k], of rows of the first cell, at truncation 1; [0, k] where each label has a cell
            there, whose mix would move the clusters, or rows are few.
        shares: float64 [clusters], of the first cell's rows, those of its norms.
        unions: bool [u, clusters], of close ones.
        rows: reference samples of the smallest cell, behind its mean and root.
        apart: norms and shares are of other rows than centres, axes and clusters were fitted to. Bundles of older
            releases have them of the same: next to rows to come the norms are too short then, by a share of k / 2N.
    """

    radius: float
    offsets: Floats
    roots: Floats
    norms: tuple[Distribution, ...]
    centroids: Floats
    shares: Floats
    unions: NDArray[np.bool_]
    rows: int
    apart: bool = True

    @property
    def measured(self) -> bool:
        """Whether norms and shares tell how rows to come are: within what their own error is taken for."""
        return self.apart or self.rows >= _ROWS_APART

    @property
    def size(self) -> int:
        """Components, k."""
        return int(self.offsets.shape[1])

    @property
    def width(self) -> int:
        """The length of the summed vector."""
        return self.size + BINS + len(self.centroids)

    @classmethod
    def of(cls, components: Floats, cells: NDArray[np.int64], count: int, axes: int | None = None) -> JointHead:
        """Fit to a reference: finite components float64 [n, k], centred by cell, and the cell of each row, int64 [n],
        of `count`, each with more than k rows; the first `axes` of them (None: all) are those at truncation 1.

        The first of `halves` give radius and clusters, the others norms and shares, all rows means and roots.
        """
        norms = np.linalg.norm(components, axis=1)
        rows = rows_of(cells, count)
        fits, rest = zip(*map(halves, rows), strict=True)
        radius = _radius(norms[np.concatenate(fits)], components.shape[1])
        clipped = _clip(components, norms, radius)
        offsets = np.stack([clipped[own].mean(axis=0) for own in rows])
        centroids, shares, unions = np.empty((0, components.shape[1])), np.empty(0), np.empty((0, 0), np.bool_)
        if (axes or count) == 1 and len(fits[0]) >= _ROWS_PER_CLUSTER * CLUSTERS:
            centroids = _centroids(components[fits[0]])
            unions = _unions(centroids, _shares(components[fits[0]], centroids))
            shares = _shares(components[rest[0]], centroids)
            inside = unions @ shares
            unions = unions[(inside > 0) & (inside < 1)]
        return cls(
            radius,
            offsets,
            np.stack([inverse_root(clipped[own] - offset) for own, offset in zip(rows, offsets, strict=True)]),
            tuple(Distribution.of(norms[own]) for own in rest),
            centroids,
            shares,
            unions,
            min(map(len, rows)),
        )

    def vectors(self, components: Floats, cells: NDArray[np.int64], generator: np.random.Generator) -> Floats:
        """The vector of each row, float64 [n, width], to be summed; NaN where the components are not finite. Rows of
        other cells than the first are in no cluster, and so no evidence on them."""
        vectors = np.full((len(components), self.width), np.nan)
        rows = np.flatnonzero((cells >= 0) & np.isfinite(components).all(axis=1))
        own, where = components[rows], cells[rows]
        norms = np.linalg.norm(own, axis=1)
        centred = _clip(own, norms, self.radius) - self.offsets[where]
        parts = [multiplied(centred, where, self.roots), np.eye(BINS)[self._table.bins(norms, where, generator)]]
        if len(self.centroids):
            parts.append(np.eye(CLUSTERS)[_nearest(own, self.centroids)] * (where == 0)[:, None])
        vectors[rows] = np.concatenate(parts, axis=1)
        return vectors

    @cached_property
    def _table(self) -> BinTable:
        return BinTable(self.norms)

    def to_arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        return {
            "radius": np.float64(self.radius),
            "offsets": self.offsets,
            "roots": self.roots.astype(np.float32),
            "centroids": self.centroids,
            "shares": self.shares,
            "unions": self.unions,
            "rows": np.int64(self.rows),
            "apart": np.bool_(self.apart),
            **{f"norms.{name}": array for name, array in distributions_to_arrays(self.norms).items()},
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], cells: int, components: int) -> JointHead:
        """Raises KeyError and ValueError where the arrays are not such a head's, for so many cells and components."""
        offsets, roots, centroids, shares = (
            arrays[name].astype(np.float64) for name in ("offsets", "roots", "centroids", "shares")
        )
        unions, rows, radius = arrays["unions"].astype(np.bool_), int(arrays["rows"]), float(arrays["radius"])
        clusters = len(shares)
        fits = offsets.shape == (cells, components) and roots.shape == (cells, components, components)
        fits = fits and shares.shape in ((0,), (CLUSTERS,)) and centroids.shape == (clusters, components)
        if not fits or unions.shape != (len(unions), clusters) or rows < 1 or not 0 <= radius < np.inf:
            raise ValueError(f"joint features of shapes {offsets.shape}, {roots.shape}, {centroids.shape}")
        norms = {name.removeprefix("norms."): array for name, array in arrays.items() if name.startswith("norms.")}
        norm_bins = tuple(distributions_from_arrays(norms, cells))
        return cls(radius, offsets, roots, norm_bins, centroids, shares, unions, rows, "apart" in arrays)


def _clip(components: Floats, norms: Floats, radius: float) -> Floats:
    clipped: Floats = components * np.minimum(1, radius / np.maximum(norms, radius))[:, None]
    return clipped


def _radius(norms: Floats, components: int) -> float:
    """The largest radius at which the clipped square norm varies no more, relatively, than a normal vector's."""
    for radius in np.quantile(norms, np.linspace(1, 0.3, 36)):
        squares = np.square(np.minimum(norms, radius))
        if squares.var() <= 2 / components * squares.mean() ** 2:
            break
    return float(radius)


def _nearest(components: Floats, centroids: Floats) -> NDArray[np.int64]:
    distances = np.square(centroids).sum(axis=1) - 2 * components @ centroids.T
    return np.asarray(distances.argmin(axis=1), np.int64)


def _shares(components: Floats, centroids: Floats) -> Floats:
    return np.bincount(_nearest(components, centroids), minlength=CLUSTERS) / len(components)


def _centroids(components: Floats) -> Floats:
    """k-means by Lloyd's algorithm, from rows far from each other (k-means++)."""
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a cluster without rows: of rows that are all alike
        centroids: Floats = scipy.cluster.vq.kmeans2(
            components, CLUSTERS, _ROUNDS, minit="++", seed=np.random.default_rng(0)
        )[0]
    return centroids


def _unions(centroids: Floats, shares: Floats) -> NDArray[np.bool_]:
    """Each cluster, and the unions on the way to two, joining by Ward's rule: bool [unions, clusters]."""
    groups = [
        (np.arange(len(shares)) == c, share, centre)
        for c, (share, centre) in enumerate(zip(shares, centroids, strict=True))
    ]
    groups = [group for group in groups if 0 < group[1] < 1]
    found = [members for members, _, _ in groups]
    while len(groups) > 2:
        costs = {
            (i, j): a[1] * b[1] / (a[1] + b[1]) * np.square(a[2] - b[2]).sum()
            for i, a in enumerate(groups)
            for j, b in enumerate(groups[:i])
        }
        i, j = min(costs, key=costs.__getitem__)
        (one, p, x), (other, q, y) = groups[i], groups[j]
        groups = [group for k, group in enumerate(groups) if k not in (i, j)]
        groups.append((one | other, p + q, (p * x + q * y) / (p + q)))
        found.append(one | other)
    return np.array(found, np.bool_).reshape(len(found), len(centroids))
