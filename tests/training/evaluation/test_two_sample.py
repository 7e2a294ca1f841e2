"""The classifier two-sample test."""

import numpy as np
import pytest

from latentserve.training.evaluation.baseline import two_sample
from latentserve.training.evaluation.two_sample import ROWS, shown_pixels, two_sample_test


def gaussian(seed: int, rows: int, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, width))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_alike_is_guessed_and_the_interval_says_so(seed: int) -> None:
    told = two_sample_test(gaussian(seed, 1_000), gaussian(100 + seed, 1_000))
    low, high = told.accuracy.interval()
    assert low < 0.51
    assert high > 0.49
    assert told.auc == pytest.approx(0.5, abs=0.06)


def test_a_shift_is_told_about_as_well_as_can_be() -> None:
    told = two_sample_test(gaussian(0, 2_000), gaussian(1, 2_000) + 0.5)
    best = 0.7602  # Phi(0.5 sqrt(8) / 2)
    assert told.accuracy.value == pytest.approx(best, abs=0.05)
    assert told.auc > told.accuracy.value


def test_spread_alone_is_told_which_no_straight_line_could() -> None:
    assert two_sample_test(gaussian(0, 2_000), 0.5 * gaussian(1, 2_000)).accuracy.value > 0.85


def test_sides_of_other_sizes_are_cut_to_the_smaller_and_the_largest_are_bounded() -> None:
    few = gaussian(1, 21)
    assert two_sample_test(gaussian(0, 500), few).auc == two_sample_test(gaussian(0, 21), few).auc
    assert len(shown_pixels(np.zeros((ROWS + 1, 1, 2, 2), np.float32))) == ROWS


def test_the_report_says_how_many_samples_were_used() -> None:
    real, fake = gaussian(0, ROWS + 100, width=2), gaussian(1, ROWS + 100, width=2)
    floor = two_sample_test(real[:40], fake[:40])
    assert two_sample(real, fake, floor, "train", "c2st", "numbers").n == ROWS
    assert two_sample(real, fake[:40], floor, "train", "c2st", "numbers").n == 40


def test_pixels_are_as_eight_bits_show_them() -> None:
    images = np.full((3, 1, 2, 2), 0.5001, np.float32)
    assert np.array_equal(shown_pixels(images), shown_pixels(images + np.float32(1e-4)))
