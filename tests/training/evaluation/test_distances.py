"""The distances are those that others compute on the same features, within 1e-6 of the scale."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import mahalanobis
from scipy.stats import wasserstein_distance as scipy_wasserstein

from latentserve.service.packing.fidelity import Moments, frechet
from latentserve.training.evaluation import distances
from latentserve.training.evaluation.distances import mahalanobis_distance, wasserstein_distance
from latentserve.training.evaluation.resampling import Resampling

SCALE = 1e-6


class Identity(torch.nn.Module):
    """Features as they are, for libraries that want a network."""

    num_features = 12

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features


@pytest.fixture(scope="module")
def features() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Real [400, 12] and generated [300, 12], as ReLU features are: correlated, some always 0."""
    rng = np.random.default_rng(3)
    mixing = rng.standard_normal((12, 12))
    real = np.maximum(rng.standard_normal((400, 12)) @ mixing, 0)
    fake = np.maximum(1.1 * rng.standard_normal((300, 12)) @ mixing + 0.2, 0)
    real[:, 0] = fake[:, 0] = 0
    return 5 * real, 5 * fake


def test_frechet_is_that_of_torchmetrics(features) -> None:
    image = pytest.importorskip("torchmetrics.image.fid")
    metric = image.FrechetInceptionDistance(feature=Identity())
    for part, real in zip(features, (True, False), strict=True):
        metric.update(torch.from_numpy(part), real=real)
    theirs = float(metric.compute())
    real, fake = (Moments.of(part) for part in features)
    scale = np.trace(real.covariance) + np.trace(fake.covariance)
    assert abs(frechet(real, fake) - theirs) < SCALE * scale
    assert frechet(real, real) < SCALE * scale


def test_frechet_of_one_dimension_by_hand() -> None:
    first, second = Moments(np.array([1.0]), np.array([[4.0]])), Moments(np.array([3.0]), np.array([[9.0]]))
    assert frechet(first, second) == pytest.approx(2**2 + (3 - 2) ** 2)


def test_kernel_distance_is_that_of_torchmetrics(features) -> None:
    image = pytest.importorskip("torchmetrics.image.kid")
    count = 300
    metric = image.KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=count)
    for part, real in zip(features, (True, False), strict=True):
        metric.update(torch.from_numpy(part[:count]), real=real)
    theirs = float(metric.compute()[0])
    parts = [part[:count] for part in features]
    chances = [Resampling.of(count, seed) for seed in (1, 2)]
    within = [distances.WithinKernel(*each) for each in zip(parts, chances, strict=True)]
    ours = distances.kernel_distance(*within, distances.kernel_sums(*parts, *chances))
    assert ours.value == pytest.approx(theirs, rel=SCALE)


def test_precision_recall_density_and_coverage_are_those_of_prdc(features) -> None:
    prdc = pytest.importorskip("prdc")
    theirs = prdc.compute_prdc(*features, nearest_k=distances.K)
    real, fake = features
    chances = Resampling.of(len(real), 1), Resampling.of(len(fake), 2)
    found = distances.within_reach(real, fake, distances.real_reaches(real), distances.reaches(fake), *chances)
    measured = found.measured(*chances)
    ours = {name: measured[name].value for name in theirs}
    assert all(measured[name].interval()[0] < ours[name] < measured[name].interval()[1] for name in theirs)
    assert ours == pytest.approx(theirs, abs=SCALE)
    assert 0 < ours["recall"] < 1


def test_wasserstein_is_that_of_scipy(features) -> None:
    real, fake = features
    theirs = np.mean([scipy_wasserstein(x, y) for x, y in zip(real.T, fake.T, strict=True)])
    assert wasserstein_distance(real, fake, None).value == pytest.approx(theirs, rel=SCALE)


def test_mahalanobis_is_that_of_scipy(features) -> None:
    real, fake = (Moments.of(part[:, 1:]) for part in features)
    theirs = mahalanobis(real.mean, fake.mean, np.linalg.inv(real.covariance))
    assert mahalanobis_distance(real, fake) == pytest.approx(theirs, rel=SCALE)
    # A direction in which nothing varies has no say.
    assert mahalanobis_distance(*(Moments.of(part) for part in features)) == pytest.approx(theirs, rel=SCALE)


def test_a_singular_covariance_gives_a_finite_distance(features) -> None:
    few = [Moments.of(part[:5]) for part in features]
    assert np.isfinite(frechet(*few))
    assert np.isfinite(mahalanobis_distance(*few))
