"""The feature head: the few numbers in which drift of all features together is measured.

It centres features at the mean of the row's cell and turns them into principal components, whitened in each cell:
without drift they are uncorrelated, of mean 0 and variance 1, whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.watching.feature_space import FeatureSpace, Floats, Singles
from latentserve.service.watching.given import GivenConditions

COMPONENTS = 32  # at the most
COMPONENT_LIMIT = 8.0  # a component beyond it counts as it: sums shifted by as much never fall

_RANK = 1e-6  # of the largest variance: what varies less is rounding
_ROWS_PER_COMPONENT = 20
_FITTED_ROWS = 10_000  # of a cell settle its covariance to a few percent
_SHRINKAGE = 2  # rows that count for the identity, for each component
_LEAST_VARIANCE = 0.05  # of a component in a cell, as a share of its variance over all


@dataclass(frozen=True)
class FeatureHead:
    """From features [n, d] to k whitened components, centred by cell.

    Attributes:
        space: what the features are.
        center, scale: float64 [d], mean and standard deviation of the reference's features at truncation 1.
        whitening: float64 [d, k], of features standardised by them: principal axes of the covariance within cells,
            each divided by its standard deviation.
        offsets: float64 [cells, k], the components of each cell's mean.
        roots: float64 [cells, k, k], by which the centred components of each cell are multiplied: the inverse root of
            their covariance in it, for labels and truncations do not vary alike.
        samples: int64 [cells], reference rows behind each mean.
    """

    space: FeatureSpace
    center: Floats
    scale: Floats
    whitening: Floats
    offsets: Floats
    roots: Floats
    samples: NDArray[np.int64]

    @classmethod
    def of(cls, space: FeatureSpace, features: Singles, cells: NDArray[np.int64], count: int, axes: int) -> FeatureHead:
        """Measured on reference features float32 [n, d] of rows in cells int64 [n] (of `count`; each has rows): means
        on all of them, covariances on the first of `halves`, axes at the first `axes` cells, of truncation 1."""
        rows = rows_of(cells, count)
        samples = np.array([len(own) for own in rows])
        means = np.stack([features[own].mean(axis=0, dtype=np.float64) for own in rows])
        center = samples[:axes] @ means[:axes] / samples[:axes].sum()
        fits = [halves(own)[0] for own in rows]
        some = [features[own] - means[cell] for cell, own in enumerate(fits[:axes])]
        within = np.concatenate(some)
        between = samples[:axes] @ (means[:axes] - center) ** 2 / samples[:axes].sum()
        scale = np.sqrt((within**2).mean(axis=0) + between)
        scale = np.where(scale > _RANK * np.abs(center).max(initial=_RANK), scale, 1.0)
        within /= scale
        means = (means - center) / scale
        values, vectors = np.linalg.eigh(within.T @ within / len(within))
        values, vectors = values[::-1], vectors[:, ::-1]
        most = min(COMPONENTS, len(within) // _ROWS_PER_COMPONENT)
        kept = int((values[:most] > _RANK * max(values[0], _RANK)).sum())
        whitening = vectors[:, :kept] / np.sqrt(values[:kept])
        # An axis has no sign of its own: the largest entry is made positive.
        if kept:
            whitening *= np.sign(whitening[np.abs(whitening).argmax(axis=0), np.arange(kept)])
        offsets = means @ whitening
        roots = [
            inverse_root((features[own] - center) / scale @ whitening - offset, _SHRINKAGE * kept)
            for own, offset in zip(fits, offsets, strict=True)
        ]
        return cls(space, center, scale, whitening, offsets, np.stack(roots), samples)

    @property
    def size(self) -> int:
        """Components, k."""
        return self.whitening.shape[1]

    def standardised(self, features: Singles) -> Floats:
        """Features float64 [n, d] with the reference's mean taken off, over its standard deviation."""
        return (features - self.center) / self.scale

    def components(self, features: Singles, cells: NDArray[np.int64]) -> Floats:
        """Components float64 [n, k] of features float32 [n, d] of rows in `cells` [n], within +-COMPONENT_LIMIT; NaN
        where the row has no cell (-1) or its features are not finite."""
        with np.errstate(invalid="ignore", over="ignore"):
            components = multiplied(
                self.standardised(features) @ self.whitening - self.offsets[cells], cells, self.roots
            )
        components[(cells < 0) | ~np.isfinite(components).all(axis=1)] = np.nan
        return components.clip(-COMPONENT_LIMIT, COMPONENT_LIMIT)

    def to_arrays(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        space = self.space
        scale = np.zeros(0) if space.scale is None else space.scale
        return {
            "source": np.array(space.source),
            "seed": np.int64(space.seed),
            "inputs": np.int64(space.inputs),
            "bandwidth": np.float64(space.bandwidth),
            "input_scale": scale,
            "center": self.center,
            "scale": self.scale,
            "whitening": self.whitening,
            "offsets": self.offsets,
            "roots": self.roots.astype(np.float32),
            "samples": self.samples,
            **({} if space.given is None else space.given.to_arrays()),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], cells: int) -> FeatureHead:
        """Raises KeyError and ValueError where the arrays are not such a head's, for that many cells."""
        inputs, scale = int(arrays["inputs"]), arrays["input_scale"].astype(np.float64)
        source = str(arrays["source"])
        if source not in ("critic", "random") or scale.shape != ((inputs,) if source == "random" else (0,)):
            raise ValueError(f"features from {source!r}")
        space = FeatureSpace(
            "critic" if source == "critic" else "random",
            int(arrays["seed"]),
            inputs,
            float(arrays["bandwidth"]),
            scale if source == "random" else None,
            GivenConditions.from_arrays(arrays),
        )
        center, scale, whitening, offsets, roots = (
            arrays[name].astype(np.float64) for name in ("center", "scale", "whitening", "offsets", "roots")
        )
        d, k = whitening.shape
        fits = center.shape == scale.shape == (d,) and offsets.shape == (cells, k) and roots.shape == (cells, k, k)
        if not fits:
            raise ValueError(f"features of shapes {center.shape}, {whitening.shape}, {offsets.shape}, {roots.shape}")
        return cls(space, center, scale, whitening, offsets, roots, arrays["samples"].astype(np.int64))


def rows_of(cells: NDArray[np.int64], count: int) -> list[NDArray[np.intp]]:
    """The places of each of `count` cells' rows in `cells` [n], in order."""
    order = np.argsort(cells, kind="stable")
    return [order[start:stop] for start, stop in pairwise(np.searchsorted(cells[order], np.arange(count + 1)))]


def halves(rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of the reference rows of a cell, those that its covariance is fitted to, every other one at the most; and the
    rest, on which is measured what a fit makes look better than it is: the rows that it was fitted to have lesser norms
    than rows to come, and are nearer to their cluster."""
    chosen = np.zeros(len(rows), np.bool_)
    chosen[1 :: max(2, len(rows) // _FITTED_ROWS)] = True
    return rows[chosen], rows[~chosen]


def multiplied(rows: Floats, cells: NDArray[np.int64], roots: Floats) -> Floats:
    """Rows float64 [n, k], each times the matrix of its cell, of roots float64 [cells, k, k]; NaN without one (-1)."""
    found = np.full(rows.shape, np.nan)
    for own, root in zip(rows_of(cells, len(roots)), roots, strict=True):
        if len(own):
            found[own] = rows[own] @ root
    return found


def inverse_root(components: Floats, identity: float = 0.0) -> Floats:
    """C^(-1/2) of the covariance C of centred components [n, k], beside rows that count for the identity, and never
    more than a few times as large: where a cell hardly varies, a rounding would count as drift."""
    n, k = components.shape
    values, vectors = np.linalg.eigh((components.T @ components + identity * np.eye(k)) / (n + identity))
    root: Floats = (vectors / np.sqrt(np.maximum(values, _LEAST_VARIANCE))) @ vectors.T
    return root
