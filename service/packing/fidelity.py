"""What a variant of a generator costs in quality, and gains in speed: measured against the float32 original.

Three views, each beside what chance alone would give. Golden samples: value by value. Critic: how far the mean score
moves, in standard deviations of the original's scores. Frechet distance between Gaussians fitted to features
(Dowson & Landau 1982; Heusel et al. 2017, https://arxiv.org/abs/1706.08500): the variant's samples against samples of
the original from other latents, beside the original against the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Bundle, Inputs
from latentserve.service.cores import whole_cores
from latentserve.service.sampling.engine import Engine
from latentserve.service.sampling.request import RowsRequest

BATCH = 64  # rows of a batch, of the speed that is stated too

_SEED, _OTHER_SEED = 3, 4  # the reference has 1, the calibration 2
_ROWS, _LEAST_ROWS = 4096, 1024
_SECONDS = 60.0  # for one set of samples; a slow generator gets fewer
_FEATURES = 64  # of the random space, where there is no critic
_RESAMPLINGS = 100
_NORMAL_95 = 1.96
_ROUNDS = 30

Floats = NDArray[np.float32]
Floats64 = NDArray[np.float64]
Generate = Callable[[Inputs], Floats]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Fidelity:
    """The figures; intervals hold 95 %.

    Attributes:
        golden_max, golden_mean: largest and mean absolute difference on the golden latents, in the sample's units.
        golden_psnr: peak signal-to-noise ratio on them in dB, the peak being the span of the sample's values.
        rows: N, of each set of samples.
        critic_shift, critic_interval: of the mean score over the same latents, in standard deviations; None: no critic.
        features: the feature space, in words.
        frechet, frechet_interval: the variant against the original from other latents.
        floor, floor_interval: the original against the same, that is, chance at this N.
        excess, excess_interval: frechet - floor, over the same rows, so that what they share falls out.
        speed, speed_interval: samples/s over the original's: median and quartiles of the rounds; BATCH rows, 1 thread.
    """

    golden_max: float
    golden_mean: float
    golden_psnr: float
    rows: int
    critic_shift: float | None
    critic_interval: Interval | None
    features: str
    frechet: float
    frechet_interval: Interval
    floor: float
    floor_interval: Interval
    excess: float
    excess_interval: Interval
    speed: float
    speed_interval: Interval


def measure_fidelity(original: Bundle, generate: Generate, variant: Generate) -> Fidelity:
    """Compare two ways of making a bundle's samples: `generate` the float32 one, `variant` the other, one thread each.

    Both give samples float32 [n, *shape] of n rows' inputs.
    """
    manifest, golden = original.manifest, original.golden
    expected = generate(golden.inputs)
    difference = np.abs(variant(golden.inputs).astype(np.float64) - expected)
    low, high = manifest.sample.value_range or (float(expected.min()), float(expected.max()))
    mean_square = float((difference**2).mean())

    seconds, speed, speed_interval = _race(original, generate, variant)
    rows = int(np.clip(_SECONDS / seconds * BATCH, _LEAST_ROWS, _ROWS)) // BATCH * BATCH
    judge = _Judge(original)
    same, other = RowsRequest(n=rows, seed=_SEED), RowsRequest(n=rows, seed=_OTHER_SEED)
    ours, ours_score = judge.look(same, variant)
    theirs, theirs_score = judge.look(same, generate)
    others, _ = judge.look(other, generate)

    shift = interval = None
    if ours_score is not None and theirs_score is not None:
        moved = (ours_score - theirs_score) / (theirs_score.std() or 1.0)
        shift = float(moved.mean())
        interval = _around(shift, float(moved.std()) / np.sqrt(rows))
    distance, floor = _distances(ours, theirs, others)
    rng = np.random.default_rng(0)
    resampled = []
    for _ in range(_RESAMPLINGS):
        first, second = rng.integers(0, rows, (2, rows))
        resampled.append(_distances(ours[first], theirs[first], others[second]))
    # Resampled rows repeat, which adds to every distance: their spread is used, not their level.
    pairs = np.array(resampled)
    spread = pairs.std(axis=0)
    return Fidelity(
        golden_max=float(difference.max()),
        golden_mean=float(difference.mean()),
        golden_psnr=float(20 * np.log10(high - low) - 10 * np.log10(max(mean_square, 1e-20))),
        rows=rows,
        critic_shift=shift,
        critic_interval=interval,
        features=judge.space,
        frechet=distance,
        frechet_interval=_around(distance, spread[0]),
        floor=floor,
        floor_interval=_around(floor, spread[1]),
        excess=distance - floor,
        excess_interval=_around(distance - floor, float((pairs[:, 0] - pairs[:, 1]).std())),
        speed=speed,
        speed_interval=speed_interval,
    )


@dataclass(frozen=True)
class Moments:
    """Mean float64 [d] and covariance float64 [d, d] of features float64 [n, d]."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.float64]) -> Moments:
        return cls(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet(first: Moments, second: Moments) -> float:
    """Frechet distance between two Gaussians: |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Heusel et al. 2017,
    equation 6). Finite where a covariance is singular, and not negative by rounding.

    The trace of the root is taken from the eigenvalues of the symmetric S1^(1/2) S2 S1^(1/2), which are those of S1 S2.
    """
    means = first.mean - second.mean
    values, vectors = np.linalg.eigh(second.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ first.covariance @ root).clip(0)).sum()
    return float(max(means @ means + np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross, 0.0))


def _distances(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], others: NDArray[np.float64]
) -> tuple[float, float]:
    """Frechet distances from `others`, of ours and of theirs."""
    target = Moments.of(others)
    return frechet(Moments.of(ours), target), frechet(Moments.of(theirs), target)


class _Judge:
    """Looks at the samples of a request: the critic's features and scores, or what stands in for them."""

    def __init__(self, bundle: Bundle) -> None:
        self._manifest = bundle.manifest
        self._engine = Engine(bundle, "cpu", threads=whole_cores())
        critic = bundle.manifest.onnx.critic
        self._weights = None
        self.space = "the critic's features"
        if critic is None or all(tensor.name != "features" for tensor in critic.outputs):
            size = math.prod(bundle.manifest.sample.shape)
            self._weights = np.random.default_rng(0).normal(size=(size, _FEATURES)) / np.sqrt(size)
            self.space = f"{_FEATURES} rectified random projections"

    def look(self, request: RowsRequest, generate: Generate) -> tuple[Floats64, Floats64 | None]:
        """Features float64 [n, d] and, of a critic, scores float64 [n]."""
        features, scores = [], []
        for start in range(0, request.n, BATCH):
            inputs = request.inputs(self._manifest, start, min(BATCH, request.n - start))
            sample = generate(inputs)
            score, seen = self._engine.criticise(sample, inputs) if self._engine.has_critic else (None, None)
            if self._weights is not None:  # one layer, which sees more of a distribution than its values' own moments
                seen = np.maximum(sample.reshape(len(sample), -1) @ self._weights, 0)
            assert seen is not None  # noqa: S101, for mypy
            features.append(seen.reshape(len(sample), -1).astype(np.float64))
            if score is not None:
                scores.append(score.astype(np.float64))
        return np.concatenate(features), np.concatenate(scores) if scores else None


def _race(bundle: Bundle, generate: Generate, variant: Generate) -> tuple[float, float, Interval]:
    """Seconds of the original for a batch; how many times as fast the variant is. In turns: others use the machine."""
    inputs = RowsRequest(n=BATCH, seed=_SEED).inputs(bundle.manifest, 0, BATCH)
    seconds = []
    for _ in range(_ROUNDS + 1):
        began = time.perf_counter()
        generate(inputs)
        between = time.perf_counter()
        variant(inputs)
        seconds.append((between - began, time.perf_counter() - between))
    measured = np.array(seconds[1:])  # the first warms up
    ratios = measured[:, 0] / measured[:, 1]
    low, median, high = (float(value) for value in np.quantile(ratios, [0.25, 0.5, 0.75]))
    return float(np.median(measured[:, 0])), median, (low, high)


def _around(value: float, deviation: float) -> Interval:
    return value - _NORMAL_95 * float(deviation), value + _NORMAL_95 * float(deviation)
