"""What is wrong is said in words; what is not is not said."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentserve.training.data import Dataset, load
from latentserve.training.evaluation.baseline import Baseline
from latentserve.training.evaluation.evaluate import evaluate
from latentserve.training.evaluation.findings import Assessment, assess
from latentserve.training.evaluation.reals import Reals, load_reals
from latentserve.training.evaluation.report import page
from latentserve.training.evaluation.subject import Subject, open_subject

COUNT = 400


@pytest.fixture(scope="module")
def subject(run: Path) -> Subject:
    return open_subject(run)


@pytest.fixture(scope="module")
def baseline(subject: Subject) -> Baseline:
    """Half of the digits' training half, so that the rest can play a generator."""
    reals = load_reals(subject, None)
    return Baseline(replace(reals, train=reals.train.subset(np.arange(COUNT))), COUNT)


@pytest.fixture(scope="module")
def unseen(digits: Dataset) -> Dataset:
    return digits.subset(np.arange(COUNT, 2 * COUNT))


def judged(subject: Subject, baseline: Baseline, samples: np.ndarray, labels: np.ndarray | None) -> Assessment:
    """The verdict on a generator that makes these."""

    class Recorded(Subject):
        def draw(self, count: int, seed: int, **_: Any) -> Any:
            return samples[:count].copy(), None if labels is None else labels[:count]

    given = {**vars(subject), "labels": subject.labels if labels is not None else None}
    return assess(evaluate(Recorded(**given), baseline))


def test_real_samples_in_a_generators_place_are_good(subject, baseline, unseen) -> None:
    verdict = judged(subject, baseline, unseen.samples, unseen.labels)
    assert verdict.findings == []
    assert verdict.sentence.startswith("This generator is good:")


def test_samples_that_can_be_told_from_real_ones_are_not_called_good(subject, baseline, unseen) -> None:
    # Noise that is too small for any other number to see.
    noise = 0.05 * np.random.default_rng(0).standard_normal(unseen.samples.shape).astype(np.float32)
    verdict = judged(subject, baseline, (unseen.samples + noise).clip(-1, 1), unseen.labels)
    assert [finding.name for finding in verdict.findings] == ["told_apart"]
    assert verdict.grade == "flawed"
    said = "This generator is usable: classifiers learn from it nearly as well as from real samples, "
    said += "but it can be told from them 9"
    assert verdict.sentence.startswith(said)
    assert "a classifier that has learnt to is right 9" in verdict.sentence


def test_a_missing_class_is_named(subject, baseline, unseen) -> None:
    rows = np.resize(np.flatnonzero(unseen.labels != 7), COUNT)
    verdict = judged(subject, baseline, unseen.samples[rows], None)
    assert verdict.grade == "poor"
    assert "Class 7 is missing" in verdict.sentence


def test_shuffled_labels_are_told(subject, baseline, unseen) -> None:
    verdict = judged(subject, baseline, unseen.samples, np.random.default_rng(0).permutation(unseen.labels))
    assert {"class_wrong", "task"} <= {finding.name for finding in verdict.findings}
    assert "fail to show what was asked for" in verdict.sentence


def test_little_variety_is_told(subject, baseline, unseen) -> None:
    # Three samples of each class, over and over, hardly changed.
    rows = np.concatenate([np.flatnonzero(unseen.labels == label)[:3] for label in range(10)])
    rows = np.resize(rows, COUNT)
    noise = 0.02 * np.random.default_rng(0).standard_normal((COUNT, 1, 8, 8)).astype(np.float32)
    verdict = judged(subject, baseline, unseen.samples[rows] + noise, unseen.labels[rows])
    found = {finding.name: finding for finding in verdict.findings}
    assert found["variety"].severity == "serious"
    assert "lack variety" in verdict.sentence
    assert "class_missing" not in found


@pytest.mark.parametrize(
    ("classes", "words"),
    [([3], "of class 3 are"), pytest.param(range(10), "of every class are", marks=pytest.mark.full)],
)
def test_mode_collapse_is_called_by_its_name_and_of_a_class(subject, baseline, unseen, classes, words) -> None:
    one_each = np.array([np.flatnonzero(unseen.labels == label)[0] for label in range(10)])
    samples, collapsed = unseen.samples.copy(), np.isin(unseen.labels, classes)
    samples[collapsed] = unseen.samples[one_each[unseen.labels[collapsed]]]
    verdict = judged(subject, baseline, samples, unseen.labels)
    assert verdict.grade == "poor"
    assert verdict.findings[0].name == "mode_collapse"
    assert f"Mode collapse: samples {words}" in verdict.sentence
    assert "they lie 0% as far apart" in verdict.sentence


def test_groups_that_are_never_made_are_mode_collapse(subject: Subject) -> None:
    train, held = load("ring", None), load("ring", None, "test")
    baseline = Baseline(Reals(train.subset(np.arange(1_200)), held, ("train", "test"), "", ()), 1_000)
    unlabelled = Subject(**{**vars(subject), "labels": None, "kind": "array", "shape": [2]})
    points = train.samples[5_000:9_000]
    group = np.rint(np.arctan2(points[:, 1], points[:, 0]) / (np.pi / 4)) % 8
    assert judged(unlabelled, baseline, points, None).findings == []
    for missing in (1, 4):
        verdict = judged(unlabelled, baseline, points[group >= missing], None)
        holes = next(finding for finding in verdict.findings if finding.name == "holes")
        assert holes.severity == "serious"
        assert "Mode collapse: whole groups of real samples are never made; " in verdict.sentence


def test_copies_are_told(subject, baseline) -> None:
    train = baseline.reals.train
    verdict = judged(subject, baseline, train.samples, train.labels)
    assert [finding.name for finding in verdict.findings] == ["copies", "dcr", "membership"]
    assert verdict.grade == "poor"


def test_noise_is_poor(subject, baseline) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, (COUNT, 1, 8, 8)).astype(np.float32)
    verdict = judged(subject, baseline, noise, baseline.held_labels)
    assert {"distance", "unrealistic", "variety", "task"} <= {finding.name for finding in verdict.findings}


def test_one_and_the_same_sample_and_numbers_that_are_none(subject, baseline) -> None:
    verdict = judged(subject, baseline, np.full((COUNT, 1, 8, 8), np.nan, np.float32), baseline.held_labels)
    assert [finding.name for finding in verdict.findings] == ["not_finite", "one_sample"]
    assert "100.0% of its samples hold what is not a number" in verdict.sentence


def test_real_samples_that_are_all_the_same(subject, baseline, unseen) -> None:
    alone = unseen.subset(np.zeros(60, np.int64))
    same = Baseline(replace(baseline.reals, train=alone, held=alone), 60)
    assert "All real samples are the same: nothing can be learnt of them but that one." in same.warnings
    evaluation = evaluate(subject, same)
    assert all(np.isfinite(statistic.value) for statistic in evaluation.statistics)
    assert "its samples are others" in assess(evaluation).sentence
    assert "All real samples are the same" in page([evaluation], same)


def test_one_class_and_more_features_than_samples(subject: Subject) -> None:
    reals = load_reals(subject, None)
    parts = [part.subset(np.flatnonzero(part.labels == 3)) for part in (reals.train, load("digits", None, "test"))]
    parts = [Dataset(part.name, part.samples, np.zeros(len(part), np.int64), ["3"]) for part in parts]
    baseline = Baseline(Reals(parts[0], parts[1], reals.splits, reals.sha256, ()), 60)
    assert baseline.count == 60
    assert any("one class" in warning for warning in baseline.warnings)
    assert any("covariance is singular" in warning for warning in baseline.warnings)
    without = Subject(**{**vars(subject), "labels": ["3"], "label_prior": None})
    evaluation = evaluate(without, baseline)
    assert evaluation.classes is None
    assert all(np.isfinite(statistic.value) for statistic in evaluation.statistics)
    assert {"frechet_random", "memorisation"} <= {statistic.key for statistic in evaluation.statistics}
    assert "covariance is singular" in page([evaluation], baseline)


def test_no_more_samples_are_held_than_there_is_room_for(subject, baseline, monkeypatch) -> None:
    monkeypatch.setattr("latentserve.training.evaluation.baseline.HELD", 100 * 64 * 4)
    monkeypatch.setattr("latentserve.training.evaluation.subject.BATCH_BYTES", 3 * 64 * 4)
    few = Baseline(baseline.reals, COUNT)
    assert few.count == 100
    assert "More than 100 samples of this size are not held in memory, nor compared." in few.warnings
    sizes = []
    counted = replace(subject, generate=lambda inputs: sizes.append(len(inputs.z)) or subject.generate(inputs))
    whole = subject.draw(100, 0)[0]
    np.testing.assert_allclose(evaluate(counted, few).samples, whole, atol=1e-5)
    assert set(sizes) == {3, 1}
