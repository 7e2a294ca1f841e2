"""A picture of a table: what each of its columns holds, in the data and in what is generated."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentserve.service.bundle import Column
from latentserve.training.data import Dataset

REALS = 2_500  # rows of the data, at the most
COLUMNS = 30  # at the most; the first ones
ACROSS = 5
BARS = 15  # categories at the most, the commonest in the data
TEXT = 12  # characters of one


def save(rows: NDArray[np.float32], labels: NDArray[np.int64], dataset: Dataset, path: Path) -> None:
    """Draw the columns of generated rows float32 [N, columns] beside the data set's own.

    Of the labels int64 [N] there may be as many of each as one likes: each counts as often as it is in the data.
    """
    from matplotlib.figure import Figure  # slow to import, and not needed before the first snapshot

    columns = (dataset.columns or [])[:COLUMNS]
    reals = dataset.take(slice(0, REALS))
    real_counts = np.bincount(dataset.labels, minlength=labels.max() + 1)  # of some labels there may be no row
    weights = real_counts[labels] / np.bincount(labels)[labels]
    down = -(-len(columns) // ACROSS)
    figure = Figure(figsize=(3 * ACROSS, 2.4 * down), layout="constrained")
    for at, (column, axis) in enumerate(zip(columns, figure.subplots(down, ACROSS, squeeze=False).flat, strict=False)):
        draw = _numbers if column.categories is None else _categories
        draw(axis, column, reals[:, at], np.ones(len(reals)), rows[:, at], weights)
        axis.set_title(column.name, fontsize=9)
        axis.tick_params(labelsize=6)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    figure.savefig(path)


def _categories(axis: Any, column: Column, real: Any, real_weights: Any, made: Any, made_weights: Any) -> None:
    """Shares of the commonest categories, as bars."""
    names = column.categories or []
    shares = [
        np.bincount(values.astype(np.int64), weights, len(names)) / weights.sum()
        for values, weights in ((real, real_weights), (made, made_weights))
    ]
    common = np.argsort(-shares[0], kind="stable")[:BARS]
    for share, aside, told in zip(shares, (-0.2, 0.2), ("data", "generated"), strict=True):
        axis.bar(np.arange(len(common)) + aside, share[common], width=0.4, label=told)
    axis.set_xticks(range(len(common)), [str(names[place])[:TEXT] for place in common], rotation=90)


def _numbers(axis: Any, column: Column, real: Any, real_weights: Any, made: Any, made_weights: Any) -> None:
    """The share of rows up to each number: one at the end, but for those whose number is missing."""
    for values, weights, told in ((real, real_weights, "data"), (made, made_weights, "generated")):
        order = np.argsort(values, kind="stable")
        order = order[values[order] != np.float32(column.missing)] if column.missing is not None else order
        axis.step(values[order], weights[order].cumsum() / weights.sum(), where="post", label=told)
    axis.set_ylim(0, 1.02)
