"""What the features of a sample are: the critic's where it has them, else random Fourier features of the sample itself,
for the Gaussian kernel (Rahimi & Recht 2007, Random features for large-scale kernel machines)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Condition, Latent, SampleSpec
from latentserve.service.errors import BundleError
from latentserve.service.sampling.latents import draw_latents
from latentserve.service.watching.given import GivenConditions

_RANDOM = 64  # random features
_LEAST = 8  # a critic with fewer features says too little of a sample
_WIDEST = 512  # features; more are projected to as many
_MOST_VALUES = 1024  # of a sample that random features look at
_ROUNDING = 1e-4

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]


@dataclass(frozen=True)
class FeatureSpace:
    """What the features of a sample are.

    Attributes:
        source: `critic`: the critic's output `features`; `random`: random Fourier features of the sample.
        seed: of the random matrix; it is drawn as latents are (`draw_latents`), so any release draws the same.
        inputs: values the random matrix takes, or the critic's features; 0: nothing is projected.
        bandwidth: of the Gaussian kernel, in units of the scaled values; `random` only.
        scale: float64 [inputs], by which the values are divided first; `random` only.
        given: what is expected of the values (or of the critic's features) by the conditions, and is taken off first;
            None: there are no conditions.
    """

    source: Literal["critic", "random"]
    seed: int
    inputs: int = 0
    bandwidth: float = 1.0
    scale: Floats | None = None
    given: GivenConditions | None = None

    @classmethod
    def of_critic(cls, features: Singles, relabelled: Singles) -> FeatureSpace | None:
        """For a critic that gives samples features [n, ...], and `relabelled` ones beside other labels. None where
        they are too few to say anything, or speak of the label: real samples may come without."""
        size = math.prod(features.shape[1:])
        if size < _LEAST or not np.allclose(features, relabelled, atol=_ROUNDING * float(np.abs(features).max())):
            return None
        return cls("critic", 0, size if size > _WIDEST else 0)

    @classmethod
    def of_samples(cls, samples: Singles, spec: SampleSpec) -> FeatureSpace:
        """As `of_values`, of samples float32 [n, *shape]."""
        return cls.of_values(compressed(samples, spec), spec)

    @classmethod
    def of_values(cls, values: Floats, spec: SampleSpec, given: GivenConditions | None = None) -> FeatureSpace:
        """Random features, their bandwidth the median distance between compressed samples float64 [n, m], less
        what is expected by the conditions (Gretton et al.
        2012, A kernel two-sample test). A table's columns are brought to one scale; pixels are on one already."""
        scale = np.ones(values.shape[1])
        if spec.kind == "table":
            spread = values.std(axis=0)
            scale = np.where(spread > 0, spread, 1.0)
        scaled = values / scale
        squares = (scaled**2).sum(axis=1)
        distances = np.maximum(squares[:, None] + squares - 2 * scaled @ scaled.T, 0)
        pairs = distances[np.triu_indices(len(scaled), 1)]
        bandwidth = math.sqrt(float(np.median(pairs))) if len(pairs) else 1.0
        return cls("random", 0, values.shape[1], bandwidth or 1.0, scale, given)

    def mapper(self, spec: SampleSpec, conditions: Sequence[Condition] | None = None) -> FeatureMap:
        """What computes them, its random matrix drawn."""
        return FeatureMap(self, spec, conditions or ())


class FeatureMap:
    """Features float32 [n, d] of samples and of what the critic says of them."""

    def __init__(self, space: FeatureSpace, spec: SampleSpec, conditions: Sequence[Condition]) -> None:
        self._space = space
        self._spec = spec
        self._conditions = conditions
        if space.inputs:
            width = _RANDOM if space.source == "random" else _WIDEST
            matrix = draw_latents(Latent(dim=width), space.seed, 0, space.inputs)
            if space.source == "critic":
                self._matrix = matrix / np.float32(math.sqrt(width))
            else:
                assert space.scale is not None  # noqa: S101, random features are always scaled
                self._matrix = (matrix / (space.bandwidth * space.scale[:, None])).astype(np.float32)
                turn = draw_latents(Latent(dim=width, prior="uniform"), space.seed, space.inputs, 1)
                self._phase = (np.pi * turn).astype(np.float32)

    def features(self, samples: Singles, of_critic: Singles | None, condition: Singles | None = None) -> Singles:
        """Features float32 [n, d] of samples float32 [n, *shape], and the critic's own features of them [n, ...], made
        for conditions float32 [n, k]; None: they are not known, or there are none."""
        if self._space.source == "random":
            values = self._less_expected(compressed(samples, self._spec), condition)
            angles = values.astype(np.float32) @ self._matrix + self._phase
            return np.float32(math.sqrt(2 / _RANDOM)) * np.cos(angles)
        if of_critic is None:
            raise BundleError("reference.npz: its features are the critic's, which gave none")
        flat = of_critic.reshape(len(of_critic), -1)
        if self._space.given is not None:
            flat = self._less_expected(flat.astype(np.float64), condition).astype(np.float32)
        return flat @ self._matrix if self._space.inputs else flat

    def _less_expected(self, values: Floats, condition: Singles | None) -> Floats:
        given = self._space.given
        if given is None:
            return values
        if not given.fits(values.shape[1], len(self._conditions)):
            raise BundleError("reference.npz: its features are of another sample, or of other conditions")
        return given.standardised(values, condition, self._conditions)


def compressed(samples: Singles, spec: SampleSpec) -> Floats:
    """Samples [n, *shape] as at most 1,024 values each, float64 [n, m]: means over squares of pixels of an image, over
    stretches of anything else."""
    n = len(samples)
    if spec.kind == "image":
        channels, height, width = spec.shape
        factor = 1
        while channels * -(-height // factor) * -(-width // factor) > _MOST_VALUES:
            factor += 1
        values = samples.astype(np.float64)
        for axis in (2, 3):
            values = _block_means(values, factor, axis)
        return values.reshape(n, -1)
    flat = samples.reshape(n, -1).astype(np.float64)
    return _block_means(flat, -(-flat.shape[1] // _MOST_VALUES), 1)


def _block_means(values: Floats, factor: int, axis: int) -> Floats:
    if factor == 1:
        return values
    starts = np.arange(0, values.shape[axis], factor)
    sizes = np.diff(np.append(starts, values.shape[axis]))
    shape = [1] * values.ndim
    shape[axis] = len(starts)
    return np.add.reduceat(values, starts, axis=axis) / sizes.reshape(shape)
