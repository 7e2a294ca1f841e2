"""Samples that are kept from training where a data set has no part for that: without some that the critic never sees,
nobody knows whether it learns or remembers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from latentserve.training.data.dataset import IN_MEMORY, Dataset, Split
from latentserve.training.errors import DataError

LEAST = 64  # samples; of fewer no distance means anything
MOST = 1 / 4  # of all samples


def split_off(load: Callable[[Split], Dataset], split: Split, share: float) -> Dataset:
    """A split of what `load` reads, of which `share` is held out where it has no held-out part of its own.

    Whatever has one stays as it is, and so does what is small (LEAST would be more than MOST of it), or more than a
    GiB, which would have to be kept twice. The same data are always divided in the same way. Raises DataError as
    `load` does, of a split that there is not.
    """
    try:
        own = load("test")
    except DataError:
        dataset = load("train")
        held = rows(dataset.labels, share) if dataset.samples.nbytes <= IN_MEMORY else np.zeros(0, np.int64)
        if not len(held) and split == "train":
            return dataset
        if not len(held):
            raise
        kept = np.setdiff1d(np.arange(len(dataset)), held)
        note = (
            f"of {len(dataset):,} samples {len(held):,} are held out by chance, to see whether they are learnt or "
            "remembered; --set hold_out=0 learns all"
        )
        return dataset.subset(kept, note) if split == "train" else dataset.subset(held)
    return own if split == "test" else load("train")


def rows(labels: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Which samples are held out, ascending: of each label as large a share as of the others, by chance. None where
    there are too few."""
    count = max(LEAST, round(share * len(labels)))
    if not share > 0 or count > MOST * len(labels):
        return np.zeros(0, np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    place = np.empty(len(labels))  # in the order of their own label, in (0, 1)
    for label in np.unique(labels):
        own = order[labels[order] == label]
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
    return np.sort(order[np.argsort(place[order], kind="stable")[:count]])
