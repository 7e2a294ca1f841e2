"""Everything that is measured of real samples, once for all generators that are held against them: the floors."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data import Dataset
from latentserve.training.evaluation import distances
from latentserve.training.evaluation.classifier import (
    SEEDS,
    SEEN,
    Classifier,
    Regressor,
    Told,
    accuracy,
    learn,
    lessons,
)
from latentserve.training.evaluation.conditions import ConditionBaseline
from latentserve.training.evaluation.features import FeatureSpace, feature_spaces, plain_space
from latentserve.training.evaluation.memorisation import ROWS, nearest, searched
from latentserve.training.evaluation.privacy import NAMES as PRIVACY
from latentserve.training.evaluation.privacy import PrivacyBaseline, unmeasured
from latentserve.training.evaluation.progress import UNTOLD, Progress
from latentserve.training.evaluation.reals import LEAST, Reals
from latentserve.training.evaluation.resampling import Floats, Measured, Resampling
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.tables import TableBaseline
from latentserve.training.evaluation.two_sample import WIDEST, ToldApart, shown_pixels, two_sample_test
from latentserve.training.evaluation.views import Samples, View, view_of

HELD = 1 << 29  # bytes of samples of each of the three sides at the most
TAUGHT = 1 << 28  # bytes of real samples at the most that the classifier learns from

_BY_COLUMN = ("columns", "numbers", "spectra")  # feature spaces whose numbers have a meaning each


class Baseline:
    """Everything that is measured of real samples, once for all generators that are compared."""

    def __init__(
        self, reals: Reals, count: int, feature_files: Sequence[Path] = (), progress: Progress = UNTOLD
    ) -> None:
        """
        Args:
            reals: The data.
            count: Samples of each side; fewer where there are fewer real ones, or where so many would not fit.
            feature_files: Pre-trained networks to compare in, beside the others.
            progress: Told what is being done, and how far it is.

        Raises:
            FeaturesError: A file among `feature_files` is not what is needed.
        """
        self.reals = reals
        fits = max(LEAST, HELD // (4 * prod(reals.train.samples.shape[1:])))
        there = min(count, len(reals.train), len(reals.held))
        self.count = min(there, fits)
        self.split = f"{reals.splits[0]}; floor: {reals.splits[1]}"
        self.chances = (Resampling.of(self.count, 1), Resampling.of(self.count, 2))
        self.warnings = list(reals.warnings)
        if fits < there:
            self.warnings.append(f"More than {fits:,} samples of this size are not held in memory, nor compared.")
        rows, held_rows = reals.some(self.count)
        self.reference, self.reference_labels = reals.train.take(rows), reals.train.labels[rows]
        self.held, self.held_labels = reals.held.take(held_rows), reals.held.labels[held_rows]
        self.held_conditions = reals.held.conditions_of(held_rows)
        self.view, self.unlabelled = view_of(reals.train), view_of(reals.train, labelled=False)
        self.deviation = float(self.view.of(self.reference).std(axis=0).mean())
        self.names = reals.train.label_names
        self.seen_held = self.unlabelled.of(self.held)
        self.alike = bool((self.reference == self.reference[:1]).all())
        if self.alike:
            self.warnings.append("All real samples are the same: nothing can be learnt of them but that one.")

        self.classifier: Classifier | None = None
        held_accuracy = None
        self.by_task: list[Classifier] = []
        if len(self.names) == 1:
            self.warnings.append("The data have one class: there is nothing for a classifier to learn.")
        if len(self.names) > 1:
            seen, taught = _taught(self.unlabelled, reals.train)
            total = lessons(len(seen)) + len(SEEDS) * lessons(self.count)
            progress.begin("training classifiers on real samples", total, "samples")
            self.classifier = Classifier(seen, reals.train.labels[taught], len(self.names), 0, progress.add)
            reference = self.unlabelled.of(self.reference)
            self.held_taken_for = self.classifier.predict(self.seen_held)
            self.reference_taken_for = self.classifier.predict(reference)
            held_accuracy = float((self.held_taken_for == self.held_labels).mean())
            self.by_task = learn(reference, self.reference_labels, len(self.names), progress.add)
            self.task_floor = accuracy(self.by_task, self.seen_held, self.held_labels, None).value

        self.conditions: ConditionBaseline | None = None
        if reals.train.conditions is not None and self.held_conditions is not None:
            seen, taught = _taught(self.view, reals.train)
            asked = reals.train.conditions
            progress.begin("reading conditions off real samples", lessons(len(seen)), "samples")
            self.conditions = ConditionBaseline(asked, lambda of_all: Regressor(seen, of_all[taught], 0, progress.add))
            self.condition_floor = self.conditions.hold(self.view.of(self.held), self.held_conditions)

        self.spaces = feature_spaces(
            self.view, self.unlabelled, reals.train, self.classifier, held_accuracy, feature_files
        )
        self.by_space: list[SpaceBaseline] = []
        for space in self.spaces:
            progress.begin(f"measuring real samples by {space.name}", statistics_of(space), "statistics")
            conditions = reals.train.conditions_of(rows)
            features = (
                space.of(self.reference, self.reference_labels, conditions),
                space.of(self.held, self.held_labels, self.held_conditions),
            )
            self._remark_on(space, features[0].shape[1])
            self.by_space.append(SpaceBaseline(space, *features, self.chances, self.split, progress.add))

        progress.begin("looking for training samples near held-out ones", searched(reals.train), "samples")
        few = min(self.count, ROWS)
        self.near_chances = (Resampling.of(few, 3), Resampling.of(few, 2))
        self.held_nearest = nearest(self.held[:few], reals.train, self.view, progress.add)
        self.privacy: PrivacyBaseline | None = None
        if why := unmeasured(reals):
            self.warnings.append(f"Privacy was not measured: {why}.")
        else:
            progress.begin("attacking real samples", 2 * len(PRIVACY), "statistics")
            self.privacy = PrivacyBaseline(reals, plain_space(self.view, reals.train), progress.add)
        self.pixels: tuple[Floats, ToldApart] | None = None
        if reals.train.kind == "image" and self.reference[0].size <= WIDEST:
            shown = shown_pixels(self.reference)
            self.pixels = shown, two_sample_test(shown, shown_pixels(self.held))
        self.table = None
        if reals.train.kind == "table" and reals.train.columns is not None:
            self.table = TableBaseline(reals.train.columns, self.reference, self.held, self.chances)

    def _remark_on(self, space: FeatureSpace, width: int) -> None:
        if self.count <= width:
            self.warnings.append(
                f"{self.count} real samples are not more than the {width} features of `{space.name}`: their covariance "
                "is singular, and the Fréchet and Mahalanobis distances in it are finite, but mostly chance."
            )


class SpaceBaseline:
    """Reference and held-out samples of one feature space, as many of each as there will be generated ones."""

    def __init__(
        self,
        space: FeatureSpace,
        reference: Floats,
        held: Floats,
        chances: tuple[Resampling, Resampling],
        split: str,
        told: Told = lambda _: None,
    ) -> None:
        """
        Args:
            space: Where features come from.
            reference: Features [N, d] of the training part.
            held: Features [N, d] of the held-out part.
            chances: What resamples the reference, and what resamples generated samples.
            split: What the two parts are called.
            told: Of how many more statistics are known.
        """
        self.space = space
        self._reference, self._chances, self._split = reference, chances, split
        self._kernel = distances.WithinKernel(reference, chances[0])
        self._reaches = distances.real_reaches(reference)
        self.spread = float(reference.var(axis=0, ddof=1).sum())  # trace of the reference's covariance
        found, _ = self._measure(held, told, resample=False)
        self._floors = {name: measured.value for name, measured in found.items()}
        self._told_apart = two_sample_test(reference, held)
        told(1)

    def measure(self, fake: Floats, told: Told = lambda _: None) -> tuple[list[Statistic], NDArray[np.bool_]]:
        """All statistics of features [N, d] of generated samples, and which reference samples they cover, [N]; it is
        told of how many more are known."""
        found, covered = self._measure(fake, told, resample=True)
        width = fake.shape[1]
        statistics = [
            Statistic(name, self.space.name, measured, self._floors[name], len(fake), self._split, {"width": width})
            for name, measured in found.items()
        ]
        apart = two_sample(self._reference, fake, self._told_apart, self._split, "c2st", self.space.name)
        told(1)
        return [*statistics, apart], covered

    def _measure(self, fake: Floats, told: Told, *, resample: bool) -> tuple[dict[str, Measured], NDArray[np.bool_]]:
        real, (of_real, of_fake) = self._reference, self._chances
        chances = self._chances if resample else None
        frechet, mahalanobis = distances.moment_distances(real, fake, chances)
        told(2)
        between = distances.kernel_sums(real, fake, of_real, of_fake)
        kernel = distances.kernel_distance(self._kernel, distances.WithinKernel(fake, of_fake), between)
        told(1)
        within = distances.within_reach(real, fake, self._reaches, distances.reaches(fake), of_real, of_fake)
        neighbours = within.measured(of_real, of_fake)
        told(len(neighbours))
        axes = distances.directions(real.shape[1])
        sliced = distances.wasserstein_distance(real @ axes, fake @ axes, chances)
        told(1)
        found = {
            "frechet": frechet,
            "kernel": kernel,
            **neighbours,
            "mahalanobis": mahalanobis,
            "sliced_wasserstein": sliced,
        }
        if self.space.name in _BY_COLUMN:
            columns = distances.some_columns(real.shape[1])
            found["column_wasserstein"] = distances.wasserstein_distance(real @ columns, fake @ columns, chances)
            told(1)
        return found, np.logical_or.reduce(within.covered, axis=0)


def statistics_of(space: FeatureSpace) -> int:
    """How many are measured of one feature space."""
    return 10 + (space.name in _BY_COLUMN)


def two_sample(real: Floats, fake: Floats, floor: ToldApart, split: str, name: str, features: str | None) -> Statistic:
    """The classifier two-sample test of features [N, d] as a statistic, beside that of other reals."""
    told = two_sample_test(real, fake)
    more = {"auc": told.auc, "auc_floor": floor.auc}
    return Statistic(name, features, told.accuracy, floor.accuracy.value, told.n, split, more)


def _taught(view: View, train: Dataset) -> tuple[Samples, NDArray[np.int64]]:
    """What is learnt from: the training part, or as much of it as is no burden, as the view shows it, and its rows."""
    most = min(SEEN, TAUGHT // (4 * view.of(train.take(slice(0, 1))).size))
    rows = np.sort(np.random.default_rng(0).permutation(len(train))[:most])
    starts = range(0, len(rows), 1024)
    return np.concatenate([view.of(train.take(rows[start : start + 1024])) for start in starts]), rows
