"""What each number says, in words; whether more of it is better; and whose idea it is."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """Of one statistic."""

    title: str
    better: str  # less or more
    sentence: str


MEANINGS = {
    "frechet": Meaning(
        "Fréchet distance",
        "less",
        "How far generated samples are from real ones as clouds of features, seen by their means and covariances.",
    ),
    "kernel": Meaning(
        "Kernel distance (KID)",
        "less",
        "The same for clouds of any shape. It is near 0, and as often just below, where no difference can be seen.",
    ),
    "precision": Meaning(
        "Precision", "more", "Share of generated samples that lie among real ones: whether they look real."
    ),
    "recall": Meaning(
        "Recall", "more", "Share of real samples that lie among generated ones: whether there is all the variety."
    ),
    "density": Meaning("Density", "more", "How thick real samples lie around generated ones; 1 where both are alike."),
    "coverage": Meaning("Coverage", "more", "Share of real samples that have a generated one in their neighbourhood."),
    "holes": Meaning(
        "Holes",
        "less",
        "Share of real samples with no generated one anywhere near, where chance would leave none: whole groups that "
        "are never made.",
    ),
    "mahalanobis": Meaning(
        "Mahalanobis distance", "less", "How far the average generated sample is off, in real standard deviations."
    ),
    "sliced_wasserstein": Meaning(
        "Sliced Wasserstein distance",
        "less",
        "How far feature values must be moved to become the real ones, on average over random directions.",
    ),
    "column_wasserstein": Meaning(
        "Column Wasserstein distance", "less", "The same along each number by itself, on average over them."
    ),
    "memorisation": Meaning(
        "Memorisation",
        "less",
        "Chance that a generated sample is nearer to its nearest training sample than a held-out real one is: about "
        "half where nothing was learnt by heart, 1 where all are copies.",
    ),
    "copies": Meaning(
        "Copies",
        "less",
        "Share of generated samples that are as near to a training sample as only one in a hundred held-out ones is.",
    ),
    "tstr": Meaning(
        "Train on synthetic, test on real",
        "more",
        "Accuracy on held-out real samples of a classifier that has seen generated ones only; beside it, of one that "
        "has seen as many real ones.",
    ),
    "trts": Meaning(
        "Train on real, test on synthetic",
        "more",
        "Accuracy on generated samples of a classifier that has seen real ones only: whether they show what was asked "
        "for.",
    ),
    "class_balance": Meaning(
        "Class imbalance",
        "less",
        "Share of samples that would have to be of another class for classes to be as frequent as in real data.",
    ),
    "columns": Meaning(
        "Difference of columns",
        "less",
        "Share of a column's values that are binned or named otherwise than in real data, on average over columns.",
    ),
    "pairs": Meaning(
        "Difference of pairs of columns",
        "less",
        "The same for pairs of values of two columns: whether they go together.",
    ),
}
