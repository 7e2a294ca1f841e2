"""Signals: what numpy says of each sample."""

from __future__ import annotations

import numpy as np

from latentserve.service.bundle import SampleSpec
from latentserve.service.watching.signals import sample_signals, signal_names
from tests.generators import dense_generator
from tests.service.sampling.runners import served
from tests.sessions import session

IMAGE = SampleSpec(kind="image", shape=[3, 4, 5], value_range=(-1, 1), channels="RGB")
ARRAY = SampleSpec(kind="array", shape=[7])


def test_mean_and_std_of_each_sample() -> None:
    samples = np.random.default_rng(0).normal(size=(50, 3, 4, 5)).astype(np.float32)
    signals = sample_signals(samples, IMAGE)
    np.testing.assert_allclose(signals["mean"], samples.astype(np.float64).mean(axis=(1, 2, 3)), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(signals["std"], samples.astype(np.float64).std(axis=(1, 2, 3)), rtol=1e-6)
    assert all(values.shape == (50,) and values.dtype == np.float64 for values in signals.values())


def test_saturated_is_what_is_shown_as_black_or_white() -> None:
    step = 2 / 255
    samples = np.zeros((3, 3, 4, 5), np.float32)
    samples[1, 0] = -1
    samples[1, 1] = 1 + 5
    samples[2, 0] = -1 + 0.4 * step
    samples[2, 1] = 1 - 0.6 * step
    np.testing.assert_allclose(sample_signals(samples, IMAGE)["saturated_share"], [0, 2 / 3, 1 / 3])


def test_a_sample_that_is_not_finite_has_no_signals() -> None:
    samples = np.random.default_rng(0).normal(size=(4, 3, 4, 5)).astype(np.float32)
    samples[1, 0, 0, 0], samples[2, 0, 0, 0] = np.nan, np.inf
    for values in sample_signals(samples, IMAGE).values():
        assert np.isfinite(values).tolist() == [True, False, False, True]


def test_high_frequency_is_the_difference_of_neighbours() -> None:
    chess = (np.indices((4, 5)).sum(axis=0) % 2 * 2 - 1).astype(np.float32)
    samples = np.stack([np.broadcast_to(chess, (3, 4, 5)), np.full((3, 4, 5), 0.3, np.float32)])
    ramp = np.zeros((3, 4, 5), np.float32)
    ramp[1, 2, 2] = 1  # four neighbours of one pixel of one channel
    found = sample_signals(np.stack([*samples, ramp]), IMAGE)["high_frequency"]
    pairs = 3 * (3 * 5 + 4 * 4)
    np.testing.assert_allclose(found, [1, 0, 4 / pairs / 4], atol=1e-12)
    one = SampleSpec(kind="image", shape=[1, 1, 1], value_range=(0, 1), channels="L")
    assert sample_signals(np.ones((2, 1, 1, 1), np.float32), one)["high_frequency"].tolist() == [0, 0]


def test_the_served_graph_computes_the_same() -> None:
    """Two roads to one number: the reference may be made on one and the server go the other."""
    spec = SampleSpec(kind="image", shape=[1, 8, 8], value_range=(-1, 1), channels="L")
    content, names = served(dense_generator(labels=None), spec)
    opened = session(content)
    z = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    samples, columns = opened.run([names["sample"], names["signals"]], {"z": z})
    ours = sample_signals(samples, spec)
    theirs = sample_signals(samples, spec, columns)
    assert list(theirs) == list(ours)
    for name, values in ours.items():
        np.testing.assert_allclose(theirs[name], values, rtol=1e-4, atol=1e-6)


def test_columns_of_a_table() -> None:
    spec = SampleSpec(kind="table", shape=[20], columns=[f"c{index}" for index in range(20)])
    samples = np.random.default_rng(0).normal(size=(6, 20)).astype(np.float32)
    signals = sample_signals(samples, spec)
    assert list(signals) == [f"column:c{index}" for index in range(15)]
    assert np.array_equal(signals["column:c3"], samples[:, 3].astype(np.float64))


def test_names() -> None:
    for spec in (IMAGE, ARRAY, SampleSpec(kind="table", shape=[2], columns=["mean", "std"])):
        samples = np.zeros((2, *spec.shape), np.float32)
        assert list(sample_signals(samples, spec)) == signal_names(spec, has_critic=False)
        assert signal_names(spec, has_critic=True) == [*signal_names(spec, has_critic=False), "critic_score"]
