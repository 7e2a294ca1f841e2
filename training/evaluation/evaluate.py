"""All that is measured of a generator, in one straight line: samples, features, statistics, tasks."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentserve.training.evaluation.baseline import Baseline, statistics_of, two_sample
from latentserve.training.evaluation.classes import ClassRow, class_rows, diversities, imbalance
from latentserve.training.evaluation.classifier import SEEDS, Labels, accuracy, learn, lessons
from latentserve.training.evaluation.conditions import ConditionRow
from latentserve.training.evaluation.memorisation import Nearest, copies, memorisation, nearest, searched
from latentserve.training.evaluation.privacy import NAMES as PRIVACY
from latentserve.training.evaluation.progress import UNTOLD, Progress
from latentserve.training.evaluation.resampling import Measured, Resampling
from latentserve.training.evaluation.statistic import Statistic
from latentserve.training.evaluation.subject import Subject
from latentserve.training.evaluation.tables import ColumnRow
from latentserve.training.evaluation.two_sample import shown_pixels
from latentserve.training.evaluation.views import Samples

_ALIKE = 1e-6  # of the reals' spread: what varies less is one sample


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
        conditions: what was asked for beside what is read off samples; None: the generator, or the data, have none.
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
    conditions: list[ConditionRow] | None
    columns: list[ColumnRow] | None
    pairs: list[ColumnRow] | None
    nearest: Nearest
    nonfinite: int
    constant: bool
    warnings: list[str]


def evaluate(subject: Subject, baseline: Baseline, seed: int = 0, progress: Progress = UNTOLD) -> Evaluation:
    """Measure a generator. Its samples are rows 0 on of `seed`, as a server would draw them; but where there are
    conditions they are asked for what held-out real samples were made for, so that what goes together is kept."""
    progress.begin(f"drawing samples of {subject.name}", baseline.count, "samples")
    made_for = _made_for(subject, baseline)
    samples, labels = subject.draw(baseline.count, seed, **made_for, told=progress.add)
    broken = ~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)
    samples[broken] = 0
    asked = None
    if labels is not None and subject.labels is not None and baseline.names:
        asked = np.array([baseline.names.index(name) for name in subject.labels], np.int64)[labels]
    view, reals, chances = baseline.view, baseline.reals, baseline.chances
    seen = baseline.unlabelled.of(samples)
    constant = float(view.of(samples).std(axis=0).mean()) <= _ALIKE * baseline.deviation
    warnings = ["All generated samples are the same: distances to them say little."] if constant else []
    statistics: list[Statistic] = []

    spreads, covered = {}, np.zeros(baseline.count, np.bool_)
    for real in reversed(baseline.by_space):  # the first is believed first, and its coverage kept
        progress.begin(f"measuring {subject.name} by {real.space.name}", statistics_of(real.space), "statistics")
        found, covered = real.measure(real.space.of(samples, asked, baseline.held_conditions), progress.add)
        statistics = found + statistics
        spreads[real.space.name] = 0.0 if baseline.alike else real.spread

    if baseline.pixels is not None:
        real_shown, told_apart = baseline.pixels
        shown = shown_pixels(samples)
        statistics.append(two_sample(real_shown, shown, told_apart, baseline.split, "c2st_pixels", None))

    def add(name: str, measured: Measured, floor: float, n: int = baseline.count) -> None:
        statistics.append(Statistic(name, None, measured, floor, n, baseline.split))

    progress.begin(f"looking for copies among samples of {subject.name}", searched(reals.train), "samples")
    few = len(baseline.held_nearest.distance)
    found_nearest = nearest(samples[:few], reals.train, view, progress.add)
    held_distance = baseline.held_nearest.distance
    halves = memorisation(held_distance[1::2], held_distance[::2], None).value
    add("memorisation", memorisation(found_nearest.distance, held_distance, baseline.near_chances), halves, n=few)
    measured, floor = copies(found_nearest.distance, held_distance, baseline.near_chances[1])
    add("copies", measured, floor, n=few)

    if baseline.privacy is not None:
        if subject.dataset_sha256 in (None, reals.sha256):
            progress.begin(f"attacking samples of {subject.name}", len(PRIVACY), "statistics")
            statistics += baseline.privacy.measure(baseline.privacy.features(samples), progress.add)
        else:
            warnings.append(f"Privacy was not measured: {subject.name} was trained on other data.")

    classes = None
    diverse = diversities(seen, None, baseline.seen_held, None, 1)
    if baseline.classifier is not None:
        taken_for = baseline.classifier.predict(seen)
        count = len(baseline.names)
        of_class = taken_for if asked is None else asked
        diverse = diversities(seen, of_class, baseline.seen_held, baseline.held_labels, count)
        floor = imbalance(baseline.held_taken_for, baseline.reference_taken_for, count, None).value
        add("class_balance", imbalance(taken_for, baseline.reference_taken_for, count, chances), floor)
        classes = class_rows(
            baseline.names,
            taken_for,
            asked,
            baseline.held_taken_for,
            baseline.held_labels,
            covered,
            baseline.reference_labels,
            diverse,
        )
        if asked is not None:
            total = len(SEEDS) * lessons(len(seen))
            progress.begin(f"training classifiers on samples of {subject.name}", total, "samples")
            learnt = learn(seen, asked, count, progress.add)
            by_held = Resampling.of(baseline.count, 3)
            right = accuracy(learnt, baseline.seen_held, baseline.held_labels, by_held)
            add("tstr", right, baseline.task_floor)
            add("trts", accuracy(baseline.by_task, seen, asked, chances[1]), baseline.task_floor)

    conditions = None
    if baseline.conditions is not None and subject.conditions is not None:
        progress.begin(f"reading conditions off samples of {subject.name}")
        by_name = dict(zip((each.name for each in subject.conditions), made_for["conditions"].T, strict=True))
        wanted = np.stack([by_name[name] for name in baseline.conditions.names], axis=1)
        measured, conditions = baseline.conditions.measure(view.of(samples), wanted, Resampling.of(baseline.count, 3))
        add("conditions", measured, baseline.condition_floor)

    columns = pairs = None
    if baseline.table is not None:
        measured, floor, columns = baseline.table.columns(samples)
        add("columns", measured, floor)
        if len(columns) > 1:
            measured, floor, pairs = baseline.table.pairs(samples)
            add("pairs", measured, floor)
    return Evaluation(
        subject,
        samples,
        asked,
        statistics,
        spreads,
        classes,
        _mean([each for each in diverse if each is not None]),
        conditions,
        columns,
        pairs,
        found_nearest,
        int(broken.sum()),
        constant,
        warnings,
    )


def _made_for(subject: Subject, baseline: Baseline) -> dict[str, Any]:
    """The labels and conditions of the held-out samples, as the subject has them; nothing where either has no
    conditions. A value beyond what the generator was shown becomes the nearest that it was."""
    if subject.conditions is None or baseline.conditions is None or baseline.held_conditions is None:
        return {}
    columns = [baseline.conditions.names.index(condition.name) for condition in subject.conditions]
    low, high = np.array([condition.range for condition in subject.conditions], np.float32).T
    told: dict[str, Any] = {"conditions": baseline.held_conditions[:, columns].clip(low, high)}
    if subject.labels is not None and set(subject.labels) == set(baseline.names):
        places = np.array([subject.labels.index(name) for name in baseline.names], np.int64)
        told["labels"] = places[baseline.held_labels]
    return told


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
