import numpy as np
import pytest

from latentserve.training.evaluation.resampling import DRAWS, Measured
from latentserve.training.evaluation.statistic import Statistic, compare, summary


def statistics(**values: tuple[float, np.ndarray | None]) -> list[Statistic]:
    return [Statistic(name, "classifier", Measured(*found), 0.9, 100, "train") for name, found in values.items()]


def test_what_moves_together_is_told_apart_more_finely() -> None:
    noise = np.random.default_rng(0).standard_normal(DRAWS)
    first = statistics(recall=(0.80, 0.80 + 0.05 * noise), frechet=(3.0, 3 + noise))
    second = statistics(recall=(0.83, 0.83 + 0.05 * noise + 0.001 * noise**2), frechet=(2.9, 2.9 - noise))
    recall, frechet = compare(first, second)
    assert (recall.key, recall.better) == ("recall_classifier", "second")
    assert recall.interval[0] == pytest.approx(0.03, abs=0.01)
    assert frechet.better is None
    assert frechet.interval[0] < 0 < frechet.interval[1]
    assert "b is better in 1 of 2 numbers" in summary([recall, frechet], "a", "b")


def test_less_of_a_distance_is_better() -> None:
    noise = 1e-3 * np.random.default_rng(0).standard_normal(DRAWS)
    (found,) = compare(statistics(frechet=(1.0, 1 + noise)), statistics(frechet=(2.0, 2 - noise)))
    assert found.better == "first"


def test_the_same_is_no_difference() -> None:
    same = statistics(recall=(0.8, np.linspace(0.7, 0.9, DRAWS)), kernel=(0.1, None))
    differences = compare(same, same)
    assert [each.real for each in differences] == [False, False]
    assert differences[1].interval is None
    assert summary(differences, "a", "b") == "No difference between a and b is beyond chance."
