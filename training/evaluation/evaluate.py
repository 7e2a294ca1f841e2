"""All that is measured of a generator, in one straight line: samples, features, statistics, tasks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentserve.training.data import Dataset
from latentserve.training.evaluation import tasks
from latentserve.training.evaluation.classes import ClassRow, class_rows, diversities, imbalance
from latentserve.training.evaluation.classifier import SEEN, Classifier, Labels
from latentserve.training.evaluation.features import FeatureSpace, feature_spaces
from latentserve.training.evaluation.memorisation import ROWS, Nearest, copies, memorisation, nearest
from latentserve.training.evaluation.reals import Reals
from latentserve.training.evaluation.resampling import Measured, Resampling
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.subject import Subject
from latentserve.training.evaluation.tables import ColumnRow, TableYardstick
from latentserve.training.evaluation.views import Samples, View, view_of
from latentserve.training.evaluation.yardstick import Yardstick

SAMPLES = 10_000  # of each side, unless there are fewer real ones
TAUGHT = 1 << 28  # bytes of real samples at the most that the classifier learns from
_ALIKE = 1e-6  # of the reals' spread: what varies less is one sample

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Evaluation:
    """What was measured of one subject.

    Attributes:
        subject: the generator.
        samples: [N, *shape] float32.
        asked: their labels [N], as the data number them; None: none could be asked for.
        statistics: all of them.
        spreads: of each feature space, the trace of the reals' covariance, which Frechet distances are compared with.
        classes: None where the data have no classes.
        diversity: mean distance between two samples of a class, over that of real ones, on average over classes; None:
            there are no two.
        columns, pairs: of tables.
        nearest: of the first samples, the nearest training samples.
        nonfinite: samples that held what is no number, and were taken for 0.
        constant: whether all samples are the same.
        warnings: what a reader must know.
    """

    subject: Subject
    samples: Samples
    asked: Labels | None
    statistics: list[Statistic]
    spreads: dict[str, float]
    classes: list[ClassRow] | None
    diversity: float | None
    columns: list[ColumnRow] | None
    pairs: list[ColumnRow] | None
    nearest: Nearest
    nonfinite: int
    constant: bool
    warnings: list[str]


class Standard:
    """Everything that is measured of real samples, once for all generators that are compared."""

    def __init__(
        self, reals: Reals, count: int, feature_files: Sequence[Path] = (), tell: Tell = lambda step: None
    ) -> None:
        """
        Args:
            reals: The data.
            count: Samples of each side; fewer where there are fewer real ones.
            feature_files: Pre-trained networks to compare in, beside the others.
            tell: Told what is being done.

        Raises:
            FeaturesError: A file among `feature_files` is not what is needed.
        """
        self.reals = reals
        self.count = min(count, len(reals.train), len(reals.held))
        self.split = f"{reals.splits[0]}; floor: {reals.splits[1]}"
        self.chances = (Resampling.of(self.count, 1), Resampling.of(self.count, 2))
        self.warnings = list(reals.warnings)
        rows, held_rows = reals.some(self.count)
        self.reference, self.reference_labels = reals.train.take(rows), reals.train.labels[rows]
        self.held, self.held_labels = reals.held.take(held_rows), reals.held.labels[held_rows]
        self.view, self.unlabelled = view_of(reals.train), view_of(reals.train, labelled=False)
        self.deviation = float(self.view.of(self.reference).std(axis=0).mean())
        self.names = reals.train.label_names
        self.seen_held = self.unlabelled.of(self.held)
        self.alike = bool((self.reference == self.reference[:1]).all())
        if self.alike:
            self.warnings.append("All real samples are the same: nothing can be learnt of them but that one.")

        self.classifier: Classifier | None = None
        accuracy = None
        self.by_task: list[Classifier] = []
        if len(self.names) == 1:
            self.warnings.append("The data have one class: there is nothing for a classifier to learn.")
        if len(self.names) > 1:
            tell("training classifiers on real samples")
            self.classifier = _taught(self.unlabelled, reals.train)
            reference = self.unlabelled.of(self.reference)
            self.held_taken_for = self.classifier.predict(self.seen_held)
            self.reference_taken_for = self.classifier.predict(reference)
            accuracy = float((self.held_taken_for == self.held_labels).mean())
            self.by_task = tasks.learn(reference, self.reference_labels, len(self.names))
            self.task_floor = tasks.accuracy(self.by_task, self.seen_held, self.held_labels, None).value

        self.spaces = feature_spaces(self.view, self.unlabelled, reals.train, self.classifier, accuracy, feature_files)
        self.yardsticks = []
        for space in self.spaces:
            tell(f"measuring real samples by {space.name}")
            features = space.of(self.reference, self.reference_labels), space.of(self.held, self.held_labels)
            self._remark_on(space, features[0].shape[1])
            self.yardsticks.append(Yardstick(space, *features, self.chances, self.split))

        tell("looking for training samples near held-out ones")
        few = min(self.count, ROWS)
        self.near_chances = (Resampling.of(few, 3), Resampling.of(few, 2))
        self.held_nearest = nearest(self.held[:few], reals.train, self.view)
        self.table = None
        if reals.train.kind == "table" and reals.train.columns is not None:
            self.table = TableYardstick(reals.train.columns, self.reference, self.held, self.chances)

    def _remark_on(self, space: FeatureSpace, width: int) -> None:
        if self.count <= width:
            self.warnings.append(
                f"{self.count} real samples are not more than the {width} features of `{space.name}`: their covariance "
                "is singular, and the Fréchet and Mahalanobis distances in it are finite, but mostly chance."
            )


def evaluate(subject: Subject, standard: Standard, seed: int = 0, tell: Tell = lambda step: None) -> Evaluation:
    """Measure a generator. Its samples are rows 0 on of `seed`, as a server would draw them."""
    tell(f"drawing {standard.count:,} samples of {subject.name}")
    samples, labels = subject.draw(standard.count, seed)
    broken = ~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    samples[broken] = 0
    asked = None
    if labels is not None and subject.labels is not None and standard.names:
        asked = np.array([standard.names.index(name) for name in subject.labels], np.int64)[labels]
    view, reals, chances = standard.view, standard.reals, standard.chances
    seen = standard.unlabelled.of(samples)
    constant = float(view.of(samples).std(axis=0).mean()) <= _ALIKE * standard.deviation
    warnings = ["All generated samples are the same: distances to them say little."] if constant else []
    statistics: list[Statistic] = []

    spreads, covered = {}, np.zeros(standard.count, np.bool_)
    for yardstick in reversed(standard.yardsticks):  # the first is believed first, and its coverage kept
        tell(f"measuring {subject.name} by {yardstick.space.name}")
        found, covered = yardstick.measure(yardstick.space.of(samples, asked))
        statistics = found + statistics
        spreads[yardstick.space.name] = 0.0 if standard.alike else yardstick.spread

    def add(name: str, measured: Measured, floor: float, n: int = standard.count) -> None:
        statistics.append(Statistic(name, None, measured, floor, n, standard.split))

    tell(f"looking for copies among samples of {subject.name}")
    few = len(standard.held_nearest.distance)
    found_nearest = nearest(samples[:few], reals.train, view)
    held_distance = standard.held_nearest.distance
    halves = memorisation(held_distance[1::2], held_distance[::2], None).value
    add("memorisation", memorisation(found_nearest.distance, held_distance, standard.near_chances), halves, n=few)
    measured, floor = copies(found_nearest.distance, held_distance, standard.near_chances[1])
    add("copies", measured, floor, n=few)

    classes = None
    diverse = diversities(seen, None, standard.seen_held, None, 1)
    if standard.classifier is not None:
        taken_for = standard.classifier.predict(seen)
        count = len(standard.names)
        of_class = taken_for if asked is None else asked
        diverse = diversities(seen, of_class, standard.seen_held, standard.held_labels, count)
        floor = imbalance(standard.held_taken_for, standard.reference_taken_for, count, None).value
        add("class_balance", imbalance(taken_for, standard.reference_taken_for, count, chances), floor)
        classes = class_rows(
            standard.names,
            taken_for,
            asked,
            standard.held_taken_for,
            standard.held_labels,
            covered,
            standard.reference_labels,
            diverse,
        )
        if asked is not None:
            tell(f"training classifiers on samples of {subject.name}")
            learnt = tasks.learn(seen, asked, count)
            by_held = Resampling.of(standard.count, 3)
            right = tasks.accuracy(learnt, standard.seen_held, standard.held_labels, by_held)
            add("tstr", right, standard.task_floor)
            add("trts", tasks.accuracy(standard.by_task, seen, asked, chances[1]), standard.task_floor)

    columns = pairs = None
    if standard.table is not None:
        measured, floor, columns = standard.table.columns(samples)
        add("columns", measured, floor)
        if len(columns) > 1:
            measured, floor, pairs = standard.table.pairs(samples)
            add("pairs", measured, floor)
    return Evaluation(
        subject,
        samples,
        asked,
        statistics,
        spreads,
        classes,
        _mean([each for each in diverse if each is not None]),
        columns,
        pairs,
        found_nearest,
        int(broken.sum()),
        constant,
        warnings,
    )


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _taught(view: View, train: Dataset) -> Classifier:
    """A classifier that has learnt from the training part, or from as much of it as is no burden."""
    most = min(SEEN, TAUGHT // (4 * view.of(train.take(slice(0, 1))).size))
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:most])
    seen = np.concatenate([view.of(train.take(rows[start : start + 1024])) for start in range(0, len(rows), 1024)])
    return Classifier(seen, train.labels[rows], len(train.label_names), seed=0)
