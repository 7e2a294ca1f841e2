"""Signals: what numpy says of each sample."""

from __future__ import annotations

import numpy as np

from service.bundle import SampleSpec
from service.watching.signals import sample_signals, signal_names

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


def test_names() -> None:
    for spec in (IMAGE, ARRAY):
        samples = np.zeros((2, *spec.shape), np.float32)
        assert list(sample_signals(samples, spec)) == signal_names(spec, has_critic=False)
        assert signal_names(spec, has_critic=True) == [*signal_names(spec, has_critic=False), "critic_score"]
