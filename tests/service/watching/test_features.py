"""Feature spaces and the head: whatever was asked for, components have mean 0 and variance 1 without drift."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from latentserve.service.bundle import SampleSpec
from latentserve.service.watching.feature_space import FeatureSpace, compressed
from latentserve.service.watching.features import COMPONENT_LIMIT, FeatureHead
from tests.windows import effective_reference, t_squared

IMAGE = SampleSpec(kind="image", shape=[3, 50, 41], value_range=(-1, 1), channels="RGB")
TABLE = SampleSpec(kind="table", shape=[3], columns=["a", "b", "c"])
ARRAY = SampleSpec(kind="array", shape=[6])
SPACE = FeatureSpace("critic", 0)


def drawn(cell: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
    """Features of 12 dimensions, one of them constant; each cell has a mean and a spread of its own."""
    mix = np.random.default_rng(9).normal(size=(12, 12))
    rows = rng.normal(size=(len(cell), 12)) * np.array([1.0, 2.0, 0.5])[cell][:, None] + 3 * cell[:, None]
    features = rows @ mix
    features[:, 5] = 4
    return features.astype(np.float32)


@pytest.fixture(scope="module")
def head() -> FeatureHead:
    cells = np.repeat([0, 1, 2], [8000, 8000, 4000])
    return FeatureHead.of(SPACE, drawn(cells, np.random.default_rng(0)), cells, 3, 2)


@pytest.mark.parametrize("mixture", [[1, 0, 0], [0.1, 0.9, 0], [0.3, 0.3, 0.4], [0, 0, 1]], ids=str)
def test_no_mixture_of_cells_is_a_drift(head: FeatureHead, mixture: list[float]) -> None:
    rng = np.random.default_rng(1)
    cells = rng.choice(3, 60_000, p=mixture)
    components = head.components(drawn(cells, rng), cells)
    assert head.size == 11
    np.testing.assert_allclose(np.cov(components, rowvar=False), np.eye(11), atol=0.2)
    windows = components.reshape(120, 500, 11)
    reference = effective_reference(np.bincount(cells, minlength=3), head.samples)
    values = t_squared(windows.sum(axis=1), np.full(120, 500), reference)
    assert stats.kstest(values, stats.chi2(11).cdf).pvalue > 1e-3


def test_a_shift_of_one_cell_is_a_drift(head: FeatureHead) -> None:
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 2, 1000)
    features = drawn(cells, rng)
    features[:, 0] += 0.3 * features[:, 0].std()
    value = t_squared(head.components(features, cells).sum(axis=0), np.array(1000), 16_000)
    assert value > stats.chi2(11).ppf(1 - 1e-6)


def test_components_are_bounded_and_rows_without_a_cell_have_none(head: FeatureHead) -> None:
    features = drawn(np.zeros(4, np.int64), np.random.default_rng(1))
    features[1] *= 1e6
    features[2, 3] = np.nan
    components = head.components(features, np.array([0, 0, 0, -1]))
    assert np.abs(components[1]).max() == COMPONENT_LIMIT
    assert np.isfinite(components).all(axis=1).tolist() == [True, True, False, False]


def test_features_that_do_not_vary_have_no_components() -> None:
    head = FeatureHead.of(SPACE, np.ones((500, 9), np.float32), np.zeros(500, np.int64), 1, 1)
    assert head.size == 0
    assert head.components(np.ones((3, 9), np.float32), np.zeros(3, np.int64)).shape == (3, 0)


def test_a_critic_is_used_where_its_features_say_something_of_the_sample_alone() -> None:
    features = np.random.default_rng(0).normal(size=(10, 40)).astype(np.float32)
    assert FeatureSpace.of_critic(features, features + np.float32(1e-6)) == FeatureSpace("critic", 0)
    assert FeatureSpace.of_critic(features, features[::-1]) is None
    assert FeatureSpace.of_critic(features[:, :1], features[:, :1]) is None


def test_wide_features_are_projected_and_keep_their_distances() -> None:
    features = np.random.default_rng(0).normal(size=(40, 20, 100)).astype(np.float32)
    space = FeatureSpace.of_critic(features, features)
    assert space is not None
    assert space.inputs == 2000
    projected = space.mapper(ARRAY).features(np.zeros((40, 6), np.float32), features)
    assert projected.shape == (40, 512)
    before = np.linalg.norm(features[1:].reshape(39, -1) - features[0].ravel(), axis=1)
    after = np.linalg.norm(projected[1:] - projected[0], axis=1)
    np.testing.assert_allclose(after, before, rtol=0.15)


def test_random_features_approximate_the_gaussian_kernel() -> None:
    samples = np.random.default_rng(0).normal(size=(300, 6)).astype(np.float32)
    space = FeatureSpace.of_samples(samples, ARRAY)
    features = space.mapper(ARRAY).features(samples, None).astype(np.float64)
    assert np.array_equal(features, space.mapper(ARRAY).features(samples, None))
    squares = ((samples[:, None] - samples) ** 2).sum(axis=-1)
    assert np.median(squares[np.triu_indices(300, 1)]) == pytest.approx(space.bandwidth**2)
    kernel = np.exp(-squares / (2 * space.bandwidth**2))
    assert np.abs(features @ features.T - kernel).mean() < 0.15


def test_the_columns_of_a_table_count_alike() -> None:
    rng = np.random.default_rng(0)
    samples = (rng.normal(size=(500, 3)) * [1, 1000, 0.001]).astype(np.float32)
    features = FeatureSpace.of_samples(samples, TABLE).mapper(TABLE).features
    for column in range(3):
        moved = samples.copy()
        moved[:, column] += 2 * moved[:, column].std()
        assert np.abs(features(moved, None).mean(axis=0) - features(samples, None).mean(axis=0)).max() > 0.02


def test_large_samples_are_looked_at_through_means_over_blocks() -> None:
    images = np.random.default_rng(0).normal(size=(2, 3, 50, 41)).astype(np.float32)
    values = compressed(images, IMAGE)
    assert values.shape == (2, 3 * 17 * 14)
    assert values[1, 0] == pytest.approx(images[1, 0, :3, :3].mean(), abs=1e-6)
    assert values[1, -1] == pytest.approx(images[1, 2, 48:, 39:].mean(), abs=1e-6)
    sound = np.arange(2500, dtype=np.float32).reshape(1, 1, 2500)
    assert compressed(sound, SampleSpec(kind="audio", shape=[1, 2500], sample_rate=8000))[0, :2].tolist() == [1, 4]
    assert np.array_equal(
        compressed(images[:, :, :8, :8], SampleSpec(kind="array", shape=[3, 8, 8])).ravel(),
        images[:, :, :8, :8].ravel(),
    )
