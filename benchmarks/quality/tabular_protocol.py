"""SDGym's protocol for data sets that classifiers are trained on: which rows, which features, which classifiers.

As published with SDGym 0.2 (2020), of which the numbers in the report are: the order of its rows and their split, its
features, classifiers and scores. scikit-learn is today's, whose AdaBoost is another one (SAMME, not SAMME.R).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import AdaBoostClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from latentserve.training.data import Dataset, load

Values = NDArray[np.float64]  # [N, columns]: numbers, or places of categories; the last is the label
Model = Callable[[int], Any]  # of a seed

TEST_ROWS = 10_000
MOST_ROWS = 50_000  # that a classifier is trained on

EDUCATION = [
    *("Preschool", "1st-4th", "5th-6th", "7th-8th", "9th", "10th", "11th", "12th", "HS-grad", "Prof-school"),
    *("Assoc-voc", "Assoc-acdm", "Some-college", "Bachelors", "Masters", "Doctorate"),
]

BINARY: dict[str, Model] = {
    "decision tree": lambda seed: DecisionTreeClassifier(max_depth=15, class_weight="balanced", random_state=seed),
    "AdaBoost": lambda seed: AdaBoostClassifier(random_state=seed),
    "logistic regression": lambda seed: LogisticRegression(class_weight="balanced", max_iter=50, random_state=seed),
    "MLP": lambda seed: MLPClassifier((50,), max_iter=50, random_state=seed),
}
MULTICLASS: dict[str, Model] = {
    "decision tree": lambda seed: DecisionTreeClassifier(max_depth=30, class_weight="balanced", random_state=seed),
    "MLP": lambda seed: MLPClassifier((100,), max_iter=50, random_state=seed),
}


@dataclass(frozen=True)
class Problem:
    """A data set with its split.

    Attributes:
        train, test: what generators are trained on, and what classifiers are tested on.
        values: of samples float32 [N, ...] as `take` gives them, and labels [N], what SDGym would have.
        categories: of each column of the values but the label: how many; 0 where it is of numbers or places in order.
        scaled: of each column of the values but the label: its least and largest number, or none if it stays as it is.
        classifiers: by name.
        score: of (labels, predictions).
    """

    train: Dataset
    test: Dataset
    values: Callable[[NDArray[np.float32], NDArray[np.int64]], Values]
    categories: list[int]
    scaled: list[tuple[float, float] | None]
    classifiers: dict[str, Model]
    score: Callable[[Values, Values], float]


def adult(path: Path) -> Problem:
    """UCI Adult's 32,561 training rows: of numpy's shuffle with seed 0 the last 10,000 are tested on. F1 of >50K."""
    dataset = load("files", path, label="class")
    columns = dataset.columns or []
    order = np.arange(len(dataset))[:, None]
    np.random.RandomState(0).shuffle(order)
    train, test = (dataset.subset(part[:, 0]) for part in (order[:-TEST_ROWS], order[-TEST_ROWS:]))
    education = next(at for at, column in enumerate(columns) if column.name == "education")
    ordered = np.array([EDUCATION.index(str(name)) for name in columns[education].categories or []])

    def values(rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Values:
        found = rows.astype(np.float64)
        found[:, education] = ordered[rows[:, education].astype(np.int64)]
        return found

    numbers = [column.categories is None for column in columns[:-1]]
    categories = [len(column.categories or []) for column in columns[:-1]]
    categories[education] = 0
    spans = [(float(column.min()), float(column.max())) for column in dataset.samples.T[:-1]]
    scaled = [span if number else None for span, number in zip(spans, numbers, strict=True)]
    return Problem(train, test, values, categories, scaled, BINARY, lambda truth, told: float(f1_score(truth, told)))


def mnist28(folder: Path) -> Problem:
    """MNIST's pixels, black or white, as 784 columns; its own test images. Accuracy."""

    def values(images: NDArray[np.float32], labels: NDArray[np.int64]) -> Values:
        pixels = (images.reshape(len(images), -1) + 1) * 127.5
        return np.concatenate([pixels > 128, labels[:, None]], axis=1).astype(np.float64)

    train, test = load("mnist", folder), load("mnist", folder, "test")
    pixels = 28 * 28
    score = lambda truth, told: float(accuracy_score(truth, told))  # noqa: E731
    return Problem(train, test, values, [2] * pixels, [None] * pixels, MULTICLASS, score)


def held_out(problem: Problem) -> Problem:
    """The same with the last TEST_ROWS of the training rows to test on, which are not trained on then."""
    rows = np.arange(len(problem.train))
    train, test = (problem.train.subset(part) for part in (rows[:-TEST_ROWS], rows[-TEST_ROWS:]))
    return replace(problem, train=train, test=test)


PROBLEMS = {"adult": adult, "mnist28": mnist28}


def features(values: Values, problem: Problem) -> Values:
    """What classifiers see of values: numbers up to 1,000 and more as logarithms, others from 0 to 5; categories of
    more than two as one-hot; places in order as they are."""
    made = []
    for at, (count, scaled) in enumerate(zip(problem.categories, problem.scaled, strict=True)):
        column = values[:, at : at + 1]
        if count > 2:
            column = np.eye(count)[column[:, 0].astype(np.int64)]
        elif scaled is not None:
            low, high = scaled
            column = np.log(np.maximum(column, 1e-2)) if low >= 0 and high >= 1e3 else (column - low) / (high - low) * 5
        made.append(column)
    return np.concatenate(made, axis=1)


def utility(values: Values, problem: Problem, seed: int) -> dict[str, float]:
    """The score on the test rows of each classifier trained on these values, and their mean."""
    values = np.random.default_rng(seed).permutation(values)[:MOST_ROWS]
    test = problem.values(problem.test.take(slice(None)), problem.test.labels)
    seen, unseen = features(values, problem), features(test, problem)
    scores = {}
    for name, model in problem.classifiers.items():
        if len(np.unique(values[:, -1])) == 1:
            told = np.repeat(values[:1, -1], len(test))
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # so many iterations are the protocol
                told = model(seed).fit(seen, values[:, -1]).predict(unseen)
        scores[name] = problem.score(test[:, -1], told)
    return scores | {"mean": float(np.mean(list(scores.values())))}


def independent(problem: Problem, seed: int) -> Values:
    """As many rows as are trained on: each column drawn from its own values, whatever the others hold."""
    train = problem.values(problem.train.take(slice(None)), problem.train.labels)
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(column, len(column)) for column in train.T], axis=1)


def uniform(problem: Problem, seed: int) -> Values:
    """As many rows: each column's categories equally often, its numbers evenly between the least and the largest."""
    train = problem.values(problem.train.take(slice(None)), problem.train.labels)
    rng = np.random.default_rng(seed)
    spans = [*problem.scaled, None]
    return np.stack(
        [
            rng.integers(0, column.max() + 1, len(column)) if span is None else rng.uniform(*span, len(column))
            for column, span in zip(train.T, spans, strict=True)
        ],
        axis=1,
    ).astype(np.float64)
