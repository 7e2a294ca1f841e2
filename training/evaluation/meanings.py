"""What each number says, in words; whether more of it is better; and what it can be."""

import math
from typing import NamedTuple

SHARE = (0.0, 1.0)
SIZE = (0.0, math.inf)
ANY = (-math.inf, math.inf)


class Meaning(NamedTuple):
    """Of one statistic."""

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
