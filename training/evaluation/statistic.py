"""One number of a report, with everything that is needed to read it; and which differences of two are real."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import ndtri

from latentserve.training.evaluation.resampling import Measured

LEVEL = 0.95  # of all intervals of a comparison together
NEGLIGIBLE = 1e-3  # of the numbers themselves: rounding in torch and ONNX Runtime moves both sides of a draw alike


SHARE = (0.0, 1.0)
SIZE = (0.0, math.inf)
ANY = (-math.inf, math.inf)


class Meaning(NamedTuple):
    """What a statistic says, in words; whether more of it is better; and what it can be."""

    title: str
    better: str  # less or more
    sentence: str
    bounds: tuple[float, float]  # what it can be


MEANINGS = {
    "frechet": Meaning(
        "Fréchet distance",
        "less",
        "How far generated samples are from real ones as clouds of features, seen by their means and covariances.",
        SIZE,
    ),
    "kernel": Meaning(
        "Kernel distance (KID)",
        "less",
        "The same for clouds of any shape. It is near 0, and as often just below, where no difference can be seen.",
        ANY,
    ),
    "precision": Meaning(
        "Precision", "more", "Share of generated samples that lie among real ones: whether they look real.", SHARE
    ),
    "recall": Meaning(
        "Recall",
        "more",
        "Share of real samples that lie among generated ones: whether there is all the variety.",
        SHARE,
    ),
    "density": Meaning(
        "Density", "more", "How thick real samples lie around generated ones; 1 where both are alike.", SIZE
    ),
    "coverage": Meaning(
        "Coverage", "more", "Share of real samples that have a generated one in their neighbourhood.", SHARE
    ),
    "holes": Meaning(
        "Holes",
        "less",
        "Share of real samples with no generated one anywhere near, where chance would leave none: whole groups that "
        "are never made.",
        SHARE,
    ),
    "mahalanobis": Meaning(
        "Mahalanobis distance",
        "less",
        "How far the average generated sample is off, in real standard deviations.",
        SIZE,
    ),
    "sliced_wasserstein": Meaning(
        "Sliced Wasserstein distance",
        "less",
        "How far feature values must be moved to become the real ones, on average over random directions.",
        SIZE,
    ),
    "column_wasserstein": Meaning(
        "Column Wasserstein distance", "less", "The same along each number by itself, on average over them.", SIZE
    ),
    "c2st": Meaning(
        "Told apart (C2ST)",
        "less",
        "Share of samples, half of them real, that a classifier which has learnt to tell generated from real ones is "
        "right on; half where nothing tells them apart.",
        SHARE,
    ),
    "c2st_pixels": Meaning(
        "Told apart by pixels (C2ST)", "less", "The same by the pixels themselves, as eight bits show them.", SHARE
    ),
    "memorisation": Meaning(
        "Memorisation",
        "less",
        "Chance that a generated sample is nearer to its nearest training sample than a held-out real one is: about "
        "half where nothing was learnt by heart, 1 where all are copies.",
        SHARE,
    ),
    "copies": Meaning(
        "Copies",
        "less",
        "Share of generated samples that are as near to a training sample as only one in a hundred held-out ones is.",
        SHARE,
    ),
    "dcr": Meaning(
        "Closest to training data (DCR)",
        "less",
        "Share of generated samples whose closest record is one that was trained on, among as many of these as "
        "held-out ones: half where nothing was learnt by heart.",
        SHARE,
    ),
    "membership": Meaning(
        "Membership inference (DOMIAS)",
        "less",
        "Chance that an attacker, who has these samples and other real ones, tells which of two records was trained on "
        "and which was not: half where samples do not give it away.",
        SHARE,
    ),
    "tstr": Meaning(
        "Train on synthetic, test on real",
        "more",
        "Accuracy on held-out real samples of a classifier that has seen generated ones only; beside it, of one that "
        "has seen as many real ones.",
        SHARE,
    ),
    "trts": Meaning(
        "Train on real, test on synthetic",
        "more",
        "Accuracy on generated samples of a classifier that has seen real ones only: whether they show what was asked "
        "for.",
        SHARE,
    ),
    "class_balance": Meaning(
        "Class imbalance",
        "less",
        "Share of samples that would have to be of another class for classes to be as frequent as in real data.",
        SHARE,
    ),
    "conditions": Meaning(
        "Conditions missed",
        "less",
        "How far samples are from the conditions that were asked for, as a regressor that has learnt from real ones "
        "reads them off: 0 where they keep to them, 1 for what is always in the middle, on average over conditions.",
        SIZE,
    ),
    "columns": Meaning(
        "Difference of columns",
        "less",
        "Share of a column's values that are binned or named otherwise than in real data, on average over columns.",
        SHARE,
    ),
    "pairs": Meaning(
        "Difference of pairs of columns",
        "less",
        "The same for pairs of values of two columns: whether they go together.",
        SHARE,
    ),
}


@dataclass(frozen=True)
class Statistic:
    """A number about generated samples, and the same number about real ones in their place.

    Attributes:
        name: what is measured: a key of `MEANINGS`.
        features: name of the feature space; None: it needs none.
        measured: of generated samples.
        floor: of held-out real samples in their place, as many; None: there are none.
        n: samples on each side.
        split: parts of the data that samples were held against, and that the floor is of.
    """

    name: str
    features: str | None
    measured: Measured
    floor: float | None
    n: int
    split: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Its name in report.json."""
        return self.name if self.features is None else f"{self.name}_{self.features}"

    @property
    def value(self) -> float:
        return self.measured.value

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of 95 %, as far as the number can be; None where nothing was resampled."""
        interval = self.measured.interval()
        if interval is None:
            return None
        least, most = MEANINGS[self.name].bounds
        return max(least, interval[0]), min(most, interval[1])

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {
            "value": self.value,
            "floor": self.floor,
            "interval": self.interval,
            "n": self.n,
            "features": self.features,
            "split": self.split,
            **self.more,
        }


@dataclass(frozen=True)
class Difference:
    """One statistic of two generators.

    Attributes:
        key: its name in report.json.
        first, second: of either generator.
        floor: of real samples in their place.
        interval: of second - first; None where it could not be resampled.
        better: who is, if the interval leaves out 0.
    """

    key: str
    first: float
    second: float
    floor: float | None
    interval: tuple[float, float] | None
    better: Literal["first", "second"] | None

    @property
    def real(self) -> bool:
        """Whether there is a difference beyond chance."""
        return self.better is not None

    def to_json(self) -> dict[str, Any]:
        """What report.json says of it."""
        return {
            "first": self.first,
            "second": self.second,
            "floor": self.floor,
            "difference": self.second - self.first,
            "interval": self.interval,
            "real": self.real,
            "better": self.better,
        }


def compare(first: Sequence[Statistic], second: Sequence[Statistic]) -> list[Difference]:
    """All statistics that both have.

    Both were measured with the same draws of the same real rows, and of samples of the same labels; the deviation of
    their difference over draws gives the interval. It is widened so that 95 % of such comparisons hold no wrong one
    (Bonferroni's bound): with twenty numbers, one would differ by chance alone.
    """
    others = {statistic.key: statistic for statistic in second}
    pairs = [(one, others[one.key]) for one in first if one.key in others]
    beyond = float(ndtri(1 - (1 - LEVEL) / (2 * max(len(pairs), 1))))
    found = []
    for one, other in pairs:
        difference = other.value - one.value
        interval: tuple[float, float] | None = None
        better: Literal["first", "second"] | None = None
        if one.measured.drawn is not None and other.measured.drawn is not None:
            reach = beyond * float(np.std(other.measured.drawn - one.measured.drawn, ddof=1))
            interval = (difference - reach, difference + reach)
            told_apart = abs(difference) > NEGLIGIBLE * max(abs(one.value), abs(other.value), abs(one.floor or 0))
            if told_apart and not interval[0] <= 0 <= interval[1]:
                more = MEANINGS[one.name].better == "more"
                better = "second" if (difference > 0) == more else "first"
        found.append(Difference(one.key, one.value, other.value, one.floor, interval, better))
    return found


def summary(differences: Sequence[Difference], first: str, second: str) -> str:
    """Who is better, in a sentence."""
    wins = {
        name: sum(each.better == side for each in differences) for side, name in (("first", first), ("second", second))
    }
    told = [f"{name} is better in {count} of {len(differences)} numbers" for name, count in wins.items() if count]
    if not told:
        return f"No difference between {first} and {second} is beyond chance."
    return "; ".join(told) + ". The other differences may be chance."
